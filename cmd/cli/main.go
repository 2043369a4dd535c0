package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/client"
	"berth/project"
)

// Host is what a command line runs in; main fills it in from the process.
type Host struct {
	Args    []string // with the program's name first
	Environ []string
	WorkDir string
	Streams ui.Streams
	// Daemon gives the command line of the engine for these paths, after unpacking it where that is due. An engine that is
	// started on demand ends itself when there is nothing left for it to do.
	Daemon func(p Paths, onDemand bool) ([]string, error)
	// Carried gives the versions of what this file carries; ok is false if it carries nothing.
	Carried func() (v Versions, ok bool)

	// The rest is for tests; nil is the real thing.
	UI      func(ui.Config) *ui.UI
	Connect func(ctx context.Context, start bool) (Engine, error)
	Signals func() (got <-chan os.Signal, stop func())
}

// Paths are where an engine keeps its things.
type Paths struct{ Root, State, Config string }

// Versions are those of the parts of berth.
type Versions struct {
	Compose, Containerd, Runc, BuildKit, CNI, Go string // Compose is compose-go, which reads the files
}

// app is one run of the command line.
type app struct {
	host    Host
	env     map[string]string
	flags   globals
	byHand  bool // an engine that this command starts is to stay
	ui      *ui.UI
	rootCmd *cobra.Command
	began   time.Time
	watch   *stopwatch // nil without --trace
}

// Main runs a command line and gives its exit code.
func Main(ctx context.Context, h Host) int {
	// compose-go logs what project says in notices, or what nobody needs to hear.
	logrus.SetOutput(io.Discard)
	a := newApp(h)
	root := newRootCommand(a)
	root.SetArgs(h.Args[1:])
	err := root.ExecuteContext(ctx)
	err = traced(err, a.watch.show(a.out()))
	a.out().RenderError(err)
	return ui.ExitCode(err)
}

func newApp(h Host) *app {
	a := &app{host: h, env: map[string]string{}}
	for _, kv := range h.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			a.env[k] = v
		}
	}
	if a.host.UI == nil {
		a.host.UI = func(cfg ui.Config) *ui.UI { return ui.NewFromStreams(h.Streams, cfg) }
	}
	if a.host.Signals == nil {
		a.host.Signals = func() (<-chan os.Signal, func()) {
			// The second Ctrl-C must not be lost while the first is dealt with.
			c := make(chan os.Signal, 4)
			signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
			return c, func() { signal.Stop(c) }
		}
	}
	a.began = a.out().Now()
	return a
}

// out is the UI, also where flags were never read.
func (a *app) out() *ui.UI {
	if a.ui == nil {
		a.ui = a.host.UI(ui.Config{})
	}
	return a.ui
}

// name is what berth was called as, so that "docker-compose" speaks of itself so.
func (a *app) name() string {
	base := filepath.Base(a.host.Args[0])
	if base == "docker-compose" {
		return base
	}
	return "berth"
}

// connect gives the engine, started if need be.
func (a *app) connect(ctx context.Context) (Engine, error) { return a.dial(ctx, true) }

func (a *app) dial(ctx context.Context, start bool) (Engine, error) {
	end := a.watch.span("connect to the engine")
	e, err := a.reach(ctx, start)
	end()
	if err != nil || a.watch == nil {
		return e, err
	}
	return tracing{e, a.watch}, nil
}

func (a *app) reach(ctx context.Context, start bool) (Engine, error) {
	p := a.flags.paths
	if a.host.Connect != nil {
		e, err := a.host.Connect(ctx, start)
		if err != nil {
			return nil, err
		}
		return resuming{Engine: e, back: func(context.Context) error { return nil }}, nil
	}
	c, err := client.Connect(ctx, client.Config{
		Root: p.Root, State: p.State, Config: p.Config, NoStart: !start,
		Daemon: func() ([]string, error) { return a.host.Daemon(p, !a.byHand) },
	})
	if err != nil {
		return nil, err
	}
	return resuming{Engine: clientEngine{c}, back: engineBack(p)}, nil
}

// interruptible gives a context that ends with the first Ctrl-C. Commands that have their own answer to it don't use it.
func (a *app) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	got, stop := a.host.Signals()
	go func() {
		select {
		case <-got:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		stop()
		cancel()
	}
}

// onEngine makes a command's function of one that wants the engine and no project.
func (a *app) onEngine(f func(context.Context, Engine, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, end := a.interruptible(cmd.Context())
		defer end()
		e, err := a.connect(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		return f(ctx, e, args)
	}
}

// onFiles makes a command's function of one that needs the project's files and the engine. A file that is wrong is
// found before an engine is started.
func (a *app) onFiles(use filesFor, f func(context.Context, Engine, *target, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, end := a.interruptible(cmd.Context())
		defer end()
		t, err := a.fromFiles(ctx, args, use)
		if err != nil {
			return err
		}
		e, err := a.connect(ctx)
		if err != nil {
			return err
		}
		defer e.Close()
		return f(ctx, e, t, args)
	}
}

// onProject makes a command's function of one that works on what exists: arguments are services.
func (a *app) onProject(f func(context.Context, Engine, *target, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, end := a.interruptible(cmd.Context())
		defer end()
		return a.withExisting(ctx, args, func(e Engine, t *target) error { return f(ctx, e, t, args) })
	}
}

// withExisting finds the project and the engine for what works on existing containers.
func (a *app) withExisting(ctx context.Context, services []string, f func(Engine, *target) error) error {
	t, e, err := a.findExisting(ctx, services)
	if err != nil {
		return err
	}
	defer e.Close()
	return f(e, t)
}

// withSignals is withExisting for a command that gets the signals itself once it has begun.
func (a *app) withSignals(ctx context.Context, services []string, f func(Engine, *target, <-chan os.Signal) error) error {
	signals, end := a.host.Signals()
	defer end()
	var t *target
	var e Engine
	err := preparing(ctx, signals, func(ctx context.Context) (err error) {
		t, e, err = a.findExisting(ctx, services)
		return err
	})
	if e != nil {
		defer e.Close()
	}
	if err != nil {
		return err
	}
	return f(e, t, signals)
}

func (a *app) findExisting(ctx context.Context, services []string) (*target, Engine, error) {
	t, missing, err := a.local(ctx, services)
	if err != nil {
		return nil, nil, err
	}
	e, err := a.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	if t.project == nil {
		err := t.recall(ctx, e, missing)
		if err == nil {
			err = t.check(services)
		}
		if err != nil {
			return nil, nil, errors.Join(err, e.Close())
		}
	}
	return t, e, nil
}

// preparing runs what comes before a command that has its own answer to Ctrl-C; until then, Ctrl-C ends it.
func preparing(ctx context.Context, signals <-chan os.Signal, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := f(ctx)
	if err == nil {
		err = ctx.Err()
	}
	cancel()
	<-done
	return err
}

// load reads the project's files.
func (a *app) load(ctx context.Context, change func(*project.Options)) (*project.Project, error) {
	defer a.watch.span("read the files")()
	return project.Load(ctx, a.fileOptions(change))
}

// fileOptions say which files are the project's, and what to make of them.
func (a *app) fileOptions(change func(*project.Options)) project.Options {
	o := project.Options{
		Files: a.flags.files, Name: a.flags.projectName, Dir: a.flags.projectDir, EnvFiles: a.flags.envFiles,
		Profiles: a.flags.profiles, Environ: a.host.Environ, WorkDir: a.host.WorkDir, Stdin: a.out().In(),
		Compatibility: a.flags.compatibility, AllResources: a.flags.allResources,
	}
	if change != nil {
		change(&o)
	}
	return o
}

func isNotFound(err error) bool {
	var nf interface{ NotFound() }
	return errors.As(err, &nf)
}
