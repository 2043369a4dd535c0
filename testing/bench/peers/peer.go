package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Peer is a program that runs compose files, and the engine behind it.
type Peer struct {
	// Name heads a column: "berth", "compose 5.5.1". Version says all parts.
	Name, Version string
	// Load brings an image into the engine's store, from an archive of docker save.
	Load func(ctx context.Context, archive string) error
	// Start and Stop are the engine's: containers outlive a stop. nil where there is none.
	Start, Stop func(ctx context.Context) error
	// Socket is where containerd's clients can talk to the engine, "" if that is not for everybody.
	Socket string
	// Shared says that the engine is also another peer's, which stands before it: what is the engine's is measured there.
	Shared bool

	argv  []string // what takes compose's verbs
	env   []string
	place *Place
	close func(ctx context.Context) error
}

// Place is where the peer runs: its published ports are open there.
func (p *Peer) Place() *Place { return p.place }

// Close ends the peer's engine with all that it runs. It may be called again.
func (p *Peer) Close(ctx context.Context) error {
	if p.close == nil {
		return nil
	}
	end := p.close
	p.close = nil
	return end(ctx)
}

// Compose runs a verb in a project's folder, and gives back what it printed to stdout.
func (p *Peer) Compose(ctx context.Context, dir string, args ...string) (string, error) {
	var out bytes.Buffer
	err := p.Stream(ctx, dir, &out, args...)
	return out.String(), err
}

// Stream is Compose with the output going to out as it comes.
func (p *Peer) Stream(ctx context.Context, dir string, out io.Writer, args ...string) error {
	return p.run(ctx, dir, out, append(append([]string{}, p.argv...), args...)...)
}

func (p *Peer) run(ctx context.Context, dir string, out io.Writer, argv ...string) error {
	return run(ctx, p.place, p.env, dir, out, argv...)
}

// patience is how long a command may take: the slowest peer takes a quarter of an hour for 300 services.
const patience = 20 * time.Minute

func run(ctx context.Context, place *Place, env []string, dir string, out io.Writer, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, env
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	cmd.WaitDelay = time.Second
	err := place.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	// What was started in the background may keep the output open: the command itself has ended.
	if err != nil && !(errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil) {
		argv[0] = filepath.Base(argv[0])
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, lastLines(stderr.String()))
	}
	return nil
}

// lastLines is the end of a long message: progress comes before it.
func lastLines(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 600 {
		s = "... " + s[len(s)-600:]
	}
	return s
}
