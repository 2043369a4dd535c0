package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mattn/go-shellwords"
	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type runOptions struct {
	target        *target
	service       string
	command       []string
	detach        bool
	remove        bool
	noTTY         bool
	noInput       bool
	noDeps        bool
	entrypoint    *string
	env           []string
	envFiles      []string
	labels        []string
	name          string
	publish       []string
	servicePorts  bool
	useAliases    bool
	user          string
	volumes       []string
	workingDir    string
	capAdd        []string
	capDrop       []string
	pull          string
	quietPull     bool
	building      building
	quiet         bool
	removeOrphans bool
	ignoreOrphans bool
	dryRun        bool
	parallel      int
	host          api.ClientHost
	workDir       string
	program       string
	signals       <-chan os.Signal
}

func newRunCommand(a *app) *cobra.Command {
	var o runOptions
	var entrypoint string
	interactive := true
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] SERVICE [COMMAND] [ARGS...]",
		Short: "Run a command in a new container of a service",
		Args:  needArgs(1, "which service?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.service, o.command, o.noInput = args[0], args[1:], !interactive
			if cmd.Flags().Changed("entrypoint") {
				o.entrypoint = &entrypoint
			}
			if err := o.validate(); err != nil {
				return err
			}
			return a.runOneOff(cmd, &o)
		},
		ValidArgsFunction: a.completeFirstService,
	}
	f := cmd.Flags()
	f.BoolVarP(&o.detach, "detach", "d", false, "run it in the background and print the container's id")
	f.BoolVar(&o.remove, "rm", false, "remove the container when it has ended")
	f.BoolVarP(&o.noTTY, "no-tty", "T", false, "no terminal, also where there is one")
	f.BoolVarP(&interactive, "interactive", "i", true, "keep standard input open")
	f.BoolP("tty", "t", true, "accepted and without effect")
	_ = f.MarkHidden("tty")
	f.BoolVar(&o.noDeps, "no-deps", false, "don't start what the service depends on")
	f.StringVar(&entrypoint, "entrypoint", "", "in place of the service's entrypoint")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set a variable: KEY=VALUE, or KEY for your own value")
	f.StringArrayVar(&o.envFiles, "env-from-file", nil, "set the variables of a file")
	f.StringArrayVarP(&o.labels, "label", "l", nil, "KEY=VALUE of a label")
	f.StringVar(&o.name, "name", "", "name of the container")
	f.StringArrayVarP(&o.publish, "publish", "p", nil, "publish a port")
	f.BoolVarP(&o.servicePorts, "service-ports", "P", false, "publish the service's ports")
	f.BoolVar(&o.useAliases, "use-aliases", false, "answer to the service's names in its networks")
	f.StringVarP(&o.user, "user", "u", "", "run it as this user")
	f.StringArrayVarP(&o.volumes, "volume", "v", nil, "mount a volume or folder")
	f.StringVarP(&o.workingDir, "workdir", "w", "", "folder to run it in")
	f.StringArrayVar(&o.capAdd, "cap-add", nil, "give it a capability")
	f.StringArrayVar(&o.capDrop, "cap-drop", nil, "take a capability from it")
	f.StringVar(&o.pull, "pull", "", "get images: always, missing, never, build (default: what each service says)")
	f.BoolVar(&o.quietPull, "quiet-pull", false, "pull without showing how far it is")
	o.building.add(cmd)
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show nothing but the output")
	f.BoolVar(&o.removeOrphans, "remove-orphans", false, "remove containers of services that are not in the file")
	f.SetNormalizeFunc(oldNames(map[string]string{"no-TTY": "no-tty", "labels": "label", "volumes": "volume"}))
	f.SetInterspersed(false)
	return cmd
}

func (o *runOptions) validate() error {
	if len(o.publish) > 0 && o.servicePorts {
		return conflict("--service-ports", "--publish")
	}
	for _, l := range o.labels {
		if key, _, ok := strings.Cut(l, "="); !ok || key == "" {
			return &ui.Problem{Text: "--label: " + quote(l) + " is not KEY=VALUE"}
		}
	}
	c := creation{pull: o.pull, building: o.building}
	err := c.validate()
	o.pull = c.pull
	return err
}

func (a *app) runOneOff(cmd *cobra.Command, o *runOptions) error {
	signals, end := a.host.Signals()
	defer end()
	var e Engine
	clean := func() {}
	defer func() { clean() }()
	err := preparing(cmd.Context(), signals, func(ctx context.Context) (err error) {
		e, clean, err = a.prepareRun(ctx, cmd, o)
		return err
	})
	if e != nil {
		defer e.Close()
	}
	if err != nil {
		return err
	}
	o.signals = signals
	return runRun(cmd.Context(), *o, e, a.ui)
}

func (a *app) prepareRun(ctx context.Context, cmd *cobra.Command, o *runOptions) (Engine, func(), error) {
	clean := func() {}
	t, err := a.fromFiles(ctx, []string{o.service}, forContainers)
	if err != nil {
		return nil, clean, err
	}
	c := creation{pull: o.pull, removeOrphans: o.removeOrphans}
	if err := a.complete(&c, t, cmd.Flags().Changed("remove-orphans")); err != nil {
		return nil, clean, err
	}
	o.removeOrphans, o.ignoreOrphans = c.removeOrphans, c.ignoreOrphans
	vars, err := a.readVariables(o.envFiles)
	if err != nil {
		return nil, clean, err
	}
	o.env = a.inherit(append(vars, o.env...), t.project.Environment) // .env and --env-file count as well
	o.target, o.dryRun, o.parallel, o.host, o.workDir, o.program = t, a.flags.dryRun, a.limit(), a.clientHost(), a.host.WorkDir, a.name()
	if !o.dryRun && !o.building.noBuild {
		if clean, err = a.spool(ctx, t, t.mayBuild([]string{o.service}, !o.noDeps), &o.host, false); err != nil {
			return nil, clean, err
		}
	}
	e, err := a.connect(ctx)
	return e, clean, err
}

// readVariables reads files of KEY=VALUE lines; # begins a comment, values are taken as they are.
func (a *app) readVariables(files []string) ([]string, error) {
	var vars []string
	for _, name := range files {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(a.host.WorkDir, path)
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read --env-from-file: %w", err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			line := strings.TrimLeft(lines.Text(), " \t")
			if line != "" && line[0] != '#' {
				vars = append(vars, line)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return vars, nil
}

func (o *runOptions) request(u *ui.UI) (*api.RunStart, error) {
	sel, err := o.target.selector([]string{o.service})
	if err != nil {
		return nil, err
	}
	q := &api.RunStart{
		UpRequest: api.UpRequest{
			ProjectSelector: sel, NoDeps: o.noDeps, Pull: o.pull, RemoveOrphans: o.removeOrphans, IgnoreOrphans: o.ignoreOrphans,
			Parallel: o.parallel, DryRun: o.dryRun, Host: o.host,
		},
		Service: o.service, ContainerName: o.name, Command: o.command, Env: o.env, Labels: map[string]string{}, User: o.user,
		WorkingDir: o.workingDir, Publish: o.publish, ServicePorts: o.servicePorts, UseAliases: o.useAliases,
		CapAdd: o.capAdd, CapDrop: o.capDrop, TTY: !o.detach && terminal(u, o.noTTY), Stdin: !o.detach && !o.noInput,
		Detach: o.detach, Remove: o.remove,
	}
	o.building.fill(&q.UpRequest)
	for _, l := range o.labels {
		key, value, _ := strings.Cut(l, "=")
		q.Labels[key] = value
	}
	for _, v := range o.volumes {
		q.Volumes = append(q.Volumes, absoluteVolume(o.workDir, v))
	}
	if o.entrypoint != nil {
		q.SetEntrypoint = true
		if q.Entrypoint, err = shellwords.Parse(*o.entrypoint); err != nil {
			return nil, fmt.Errorf("--entrypoint %q: %w", *o.entrypoint, err)
		}
	}
	if q.TTY {
		cols, rows := u.Size()
		q.Cols, q.Rows = uint32(cols), uint32(rows)
	}
	return q, nil
}

// absoluteVolume makes the host's path in a short volume absolute. What has no slash in front of it is the name of a volume.
func absoluteVolume(workDir, volume string) string {
	source, rest, ok := strings.Cut(volume, ":")
	if ok && (strings.HasPrefix(source, ".") || strings.HasPrefix(source, "~")) {
		if home, found := strings.CutPrefix(source, "~"); found {
			if dir, err := os.UserHomeDir(); err == nil {
				return filepath.Join(dir, home) + ":" + rest
			}
		}
		return filepath.Join(workDir, source) + ":" + rest
	}
	return volume
}

// runRun runs a one-off container. What is done before it starts is shown as the progress of up.
func runRun(ctx context.Context, o runOptions, e Engine, u *ui.UI) error {
	q, err := o.request(u)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.quiet {
		u = u.With(func(c *ui.Config) { c.Progress = ui.ModeQuiet })
	}
	if o.dryRun {
		return showPlan(u, "", func(report func(api.Event)) error {
			s, err := e.Run(ctx, q)
			if err != nil {
				return err
			}
			if _, err = (&interaction{stream: s, ui: u, event: report}).receive(); errors.Is(err, errNoExit) {
				return nil // nothing has run
			}
			return err
		})
	}
	s, err := e.Run(ctx, q)
	if err != nil {
		return err
	}
	p := o.target.progress("run")
	p.HideLayers = o.quietPull
	o.building.show(&p, o.program)
	started, err := o.prepare(ctx, s, u, p)
	if err != nil {
		return err
	}
	if o.detach {
		if o.target.classic() {
			return u.Printf("%s\n", started.Name)
		}
		return u.Printf("%s\n", started.ID)
	}
	i := &interaction{stream: s, ui: u, tty: q.TTY, stdin: q.Stdin, signals: o.signals}
	return exitWith(i.run(ctx))
}

// prepare shows what happens until the container runs. A Ctrl-C meanwhile ends the whole.
func (o *runOptions) prepare(ctx context.Context, s Stream, u *ui.UI, p ui.ProgressOptions) (*api.Started, error) {
	progress := u.Progress(p)
	started, failed := make(chan *api.Started, 1), make(chan error, 1)
	events := make(chan api.Event, 64)
	go func() {
		for {
			f, err := s.Recv()
			switch {
			case err != nil:
				failed <- err
				return
			case f.Event != nil:
				events <- *f.Event
			case f.Started != nil:
				started <- f.Started
				return
			case f.Exit != nil:
				failed <- exitWith(*f.Exit, nil)
				return
			}
		}
	}()
	for {
		select {
		case e := <-events:
			progress.Event(e)
		case st := <-started:
			for len(events) > 0 {
				progress.Event(<-events)
			}
			progress.Done(nil)
			return st, nil
		case err := <-failed:
			for len(events) > 0 {
				progress.Event(<-events)
			}
			progress.Done(err)
			return nil, err
		case sig := <-o.signals:
			if sig != nil {
				progress.Done(context.Canceled)
				return nil, context.Canceled
			}
		case <-ctx.Done():
			progress.Done(ctx.Err())
			return nil, ctx.Err()
		}
	}
}
