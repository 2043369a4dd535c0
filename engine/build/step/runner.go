package step

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"

	"berth/engine/shim/resolver"
	"berth/engine/spec"
)

// cleanLimit is how long it may take to take one thing away that a step had.
const cleanLimit = 10 * time.Second

// Config says what steps run with.
type Config struct {
	// State has a folder for each step that runs, and the runtime's records. It need not outlive a boot.
	State string
	// Runc is the path of the runtime.
	Runc string
	// Host is what the kernel and the engine's rights allow, as for services.
	Host spec.Host
	// Networks makes the network of steps.
	Networks Networks
	// ReleaseBridge takes the shared bridge away if nobody is on it.
	ReleaseBridge func(context.Context) error
	// DNS reads the host's resolver configuration.
	DNS func() spec.DNS
	// Log takes what is of no use to who builds; nil: nobody.
	Log *slog.Logger
}

// Runner runs steps. All methods may be called at the same time.
type Runner struct {
	cfg   Config
	runc  *runc.Runc
	names *resolver.Resolver

	mu        sync.Mutex
	running   map[string]*running
	holders   int
	bridged   bool // a step has wanted the bridge since there were holders
	upstreams []netip.AddrPort
	zoned     bool // the zone has upstreams
	steps     sync.WaitGroup
}

// New makes a Runner. It touches nothing on the host until the first step.
func New(cfg Config) *Runner {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Runner{
		cfg: cfg, names: resolver.New(cfg.Log), running: map[string]*running{},
		// The runtime ends with the engine, the step's processes when the next engine cleans up.
		runc: &runc.Runc{Command: cfg.Runc, Root: cfg.records(), Setpgid: true, PdeathSignal: unix.SIGKILL},
	}
}

// Hold keeps the network between steps; with the last release it goes.
func (r *Runner) Hold(ctx context.Context) (release func()) {
	r.mu.Lock()
	r.holders++
	r.mu.Unlock()
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
		defer cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.holders--
		if r.holders > 0 || !r.bridged {
			return
		}
		r.bridged = false
		if err := r.cfg.ReleaseBridge(ctx); err != nil {
			r.cfg.Log.WarnContext(ctx, "take the network of build steps away", "error", err)
		}
	}
}

// Close waits for steps to end, whose contexts the caller has ended, and ends the name server.
func (r *Runner) Close() error {
	ended := make(chan struct{})
	go func() {
		r.steps.Wait()
		close(ended)
	}()
	defer r.names.Close()
	select {
	case <-ended:
		return nil
	case <-time.After(cleanLimit):
		return errors.New("wait for build steps to end: some still run")
	}
}

// dir has a folder for each step.
func (c Config) dir() string { return filepath.Join(c.State, "steps") }

// records is where the runtime keeps its own.
func (c Config) records() string { return filepath.Join(c.State, "runc") }

// zone is what the name server of steps knows.
func (c Config) zone() string { return filepath.Join(c.State, "zone.json") }

// makeDirs makes the folders that all steps share.
func (c Config) makeDirs() error {
	for _, dir := range []string{c.dir(), c.records()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}
