package cli

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

// creation are the flags that up and create share.
type creation struct {
	pull          string
	quietPull     bool
	building      building
	removeOrphans bool
	ignoreOrphans bool
	forceRecreate bool
	noRecreate    bool
	scale         []string
	yes           bool
	timeout       seconds
}

type upOptions struct {
	creation
	target             *target
	services           []string
	detach             bool
	noStart            bool
	noDeps             bool
	recreateDeps       bool
	renewVolumes       bool
	abortOnExit        bool
	abortOnFailure     bool
	exitCodeFrom       string
	attach             []string
	noAttach           []string
	attachDependencies bool
	noColor            bool
	noPrefix           bool
	timestamps         bool
	wait               bool
	waitTimeout        seconds
	dryRun             bool
	parallel           int
	host               api.ClientHost
	program            string           // what berth was called as
	signals            <-chan os.Signal // attached: the user's Ctrl-C
	watch              *stopwatch
}

func newUpCommand(a *app) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [OPTIONS] [SERVICE...]",
		Short: "Create and start containers",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			o.services = args
			return a.up(cmd, &o)
		},
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	a.addCreationFlags(cmd, &o.creation)
	f.BoolVarP(&o.detach, "detach", "d", false, "run containers in the background")
	f.BoolVar(&o.noStart, "no-start", false, "make the containers and don't start them")
	f.BoolVar(&o.noDeps, "no-deps", false, "leave services alone that these depend on")
	f.BoolVar(&o.recreateDeps, "always-recreate-deps", false, "replace the containers of dependencies as well")
	f.BoolVarP(&o.renewVolumes, "renew-anon-volumes", "V", false, "new anonymous volumes instead of those of the containers before")
	f.BoolVar(&o.abortOnExit, "abort-on-container-exit", false, "stop everything when one container has stopped")
	f.BoolVar(&o.abortOnFailure, "abort-on-container-failure", false, "stop everything when one container has failed")
	f.StringVar(&o.exitCodeFrom, "exit-code-from", "", "end with the exit code of this service; implies --abort-on-container-exit")
	f.StringArrayVar(&o.attach, "attach", nil, "show the output of these services only")
	f.StringArrayVar(&o.noAttach, "no-attach", nil, "don't show the output of these services")
	f.BoolVar(&o.attachDependencies, "attach-dependencies", false, "show the output of dependencies as well")
	f.BoolVar(&o.noColor, "no-color", false, "no colours in the output of containers")
	f.BoolVar(&o.noPrefix, "no-log-prefix", false, "no names before the output of containers")
	f.BoolVar(&o.timestamps, "timestamps", false, "times before the output of containers")
	f.BoolVar(&o.wait, "wait", false, "wait until services run or are healthy; implies -d")
	f.Var(&o.waitTimeout, "wait-timeout", "how long to wait at most")
	f.Bool("menu", false, "accepted and without effect")
	_ = f.MarkHidden("menu")
	for _, flag := range []string{"exit-code-from", "attach", "no-attach"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, a.completeServices)
	}
	return cmd
}

func (a *app) addCreationFlags(cmd *cobra.Command, c *creation) {
	f := cmd.Flags()
	f.StringVar(&c.pull, "pull", "", "get images: always, missing, never, build (default: what each service says)")
	f.BoolVar(&c.quietPull, "quiet-pull", false, "pull without showing how far it is")
	c.building.add(cmd)
	f.BoolVar(&c.removeOrphans, "remove-orphans", false, "remove containers of services that are not in the file")
	f.BoolVar(&c.forceRecreate, "force-recreate", false, "replace containers even if nothing has changed")
	f.BoolVar(&c.noRecreate, "no-recreate", false, "keep containers even if something has changed")
	f.StringArrayVar(&c.scale, "scale", nil, "SERVICE=NUMBER of containers, over what the file says")
	f.BoolVarP(&c.yes, "yes", "y", false, "answer questions with yes")
	f.VarP(&c.timeout, "timeout", "t", "how long containers may take to stop")
	_ = cmd.RegisterFlagCompletionFunc("pull", cobra.FixedCompletions([]string{"always", "missing", "never", "build"}, cobra.ShellCompDirectiveNoFileComp))
}

// validate refuses what contradicts itself, as docker compose does.
func (o *upOptions) validate() error {
	if o.exitCodeFrom != "" && !o.abortOnFailure {
		o.abortOnExit = true
	}
	attaching := o.attachDependencies || len(o.attach) > 0
	switch {
	case o.abortOnExit && o.abortOnFailure:
		return conflict("--abort-on-container-failure", "--abort-on-container-exit")
	case o.wait && (o.abortOnExit || o.abortOnFailure || attaching):
		return conflict("--wait", "--abort-on-container-exit, --abort-on-container-failure, --attach or --attach-dependencies")
	case o.detach && (o.abortOnExit || o.abortOnFailure || attaching):
		return conflict("--detach", "--abort-on-container-exit, --abort-on-container-failure, --attach or --attach-dependencies")
	case len(o.attach) > 0 && o.attachDependencies:
		return conflict("--attach", "--attach-dependencies")
	case o.noRecreate && o.recreateDeps:
		return conflict("--no-recreate", "--always-recreate-deps")
	case o.noRecreate && o.renewVolumes:
		return conflict("--no-recreate", "--renew-anon-volumes")
	}
	if o.wait {
		o.detach = true
	}
	return o.creation.validate()
}

func (c *creation) validate() error {
	if c.forceRecreate && c.noRecreate {
		return conflict("--force-recreate", "--no-recreate")
	}
	switch c.pull {
	case "", "always", "missing", "never", "build":
	case "policy":
		c.pull = ""
	default:
		return &ui.Problem{Text: "--pull: " + quote(c.pull) + " is not a policy", Way: "use always, missing, never or build"}
	}
	return c.building.validate()
}

func conflict(a, b string) error {
	return &ui.Problem{Text: a + " can't be combined with " + b}
}

func quote(s string) string { return `"` + s + `"` }

// up loads the project, connects and runs. Attached, Ctrl-C is runUp's own matter.
func (a *app) up(cmd *cobra.Command, o *upOptions) error {
	signals, end := a.host.Signals()
	defer end()
	var e Engine
	clean := func() {}
	defer func() { clean() }()
	err := preparing(cmd.Context(), signals, func(ctx context.Context) (err error) {
		e, clean, err = a.prepareUp(ctx, cmd, o)
		return err
	})
	if e != nil {
		defer e.Close()
	}
	if err != nil {
		return err
	}
	if o.detach || o.noStart || o.dryRun {
		return preparing(cmd.Context(), signals, func(ctx context.Context) error { return runUp(ctx, *o, e, a.ui) })
	}
	o.signals = signals
	return runUp(cmd.Context(), *o, e, a.ui)
}

// prepareUp gives the engine, and what is to be done when the command has ended.
func (a *app) prepareUp(ctx context.Context, cmd *cobra.Command, o *upOptions) (Engine, func(), error) {
	clean := func() {}
	t, err := a.fromFiles(ctx, o.services, forContainers)
	if err != nil {
		return nil, clean, err
	}
	if len(t.project.Services)+len(t.project.DisabledServices) == 0 {
		return nil, clean, &ui.Problem{Text: "there is no service in the compose file", Way: "put one below services:"}
	}
	if len(t.project.Services) == 0 {
		return nil, clean, &ui.Problem{Text: "no service selected", Way: "every service of the file has a profile; turn one on with --profile"}
	}
	if err := a.complete(&o.creation, t, cmd.Flags().Changed("remove-orphans")); err != nil {
		return nil, clean, err
	}
	o.target, o.dryRun, o.parallel, o.host, o.program = t, a.flags.dryRun, a.limit(), a.clientHost(), a.name()
	o.watch = a.watch
	if !o.dryRun && !o.building.noBuild {
		if clean, err = a.spool(ctx, t, t.mayBuild(o.services, !o.noDeps), &o.host, false); err != nil {
			return nil, clean, err
		}
	}
	e, err := a.connect(ctx)
	return e, clean, err
}

// complete adds what the environment, and the project's own, say about orphans, and applies --scale.
func (a *app) complete(c *creation, t *target, orphansGiven bool) error {
	if !orphansGiven {
		c.removeOrphans = isTrue(a.env["COMPOSE_REMOVE_ORPHANS"]) || isTrue(t.project.Environment["COMPOSE_REMOVE_ORPHANS"])
	}
	c.ignoreOrphans = isTrue(t.project.Environment["COMPOSE_IGNORE_ORPHANS"]) || isTrue(a.env["COMPOSE_IGNORE_ORPHANS"])
	if c.ignoreOrphans && c.removeOrphans {
		return conflict("COMPOSE_IGNORE_ORPHANS", "--remove-orphans")
	}
	return t.scale(c.scale)
}

func (o *upOptions) request() (*api.UpRequest, error) {
	sel, err := o.target.selector(o.services)
	if err != nil {
		return nil, err
	}
	q := &api.UpRequest{
		ProjectSelector: sel, NoDeps: o.noDeps, NoStart: o.noStart, Wait: o.wait, ForceRecreate: o.forceRecreate,
		NoRecreate: o.noRecreate, AlwaysRecreateDeps: o.recreateDeps, RenewAnonVolumes: o.renewVolumes,
		RemoveOrphans: o.removeOrphans, IgnoreOrphans: o.ignoreOrphans, Pull: o.pull, Timeout: o.timeout.value,
		WaitTimeout: o.waitTimeout.or(0), Parallel: o.parallel, DryRun: o.dryRun, Host: o.host,
	}
	o.building.fill(q)
	return q, nil
}

// runUp brings services up; attached, it stays with them until they or the user end it.
func runUp(ctx context.Context, o upOptions, e Engine, u *ui.UI) error {
	q, err := o.request()
	if err != nil {
		return err
	}
	if o.detach || o.noStart || o.dryRun {
		return bringUp(ctx, &o, q, e, u)
	}
	watched, err := o.watched()
	if err != nil {
		return err
	}
	return newSession(&o, q, watched, e, u).run(ctx)
}

func bringUp(ctx context.Context, o *upOptions, q *api.UpRequest, e Engine, u *ui.UI) error {
	p := o.target.progress("up")
	if o.noStart {
		p.Operation = "create"
	}
	p.HideLayers, p.NoStart = o.quietPull, o.noStart
	o.building.show(&p, o.program)
	return approving(ctx, u, o.yes,
		func(a answers, report func(api.Event)) error {
			q.Approved, q.Declined = a.approved, a.declined
			return e.Up(ctx, q, report)
		},
		func(verb func(func(api.Event)) error) error { return show(u, p, o.dryRun, verb) })
}

// watched are the services whose output is shown.
func (o *upOptions) watched() ([]string, error) {
	p := o.target.project
	if o.exitCodeFrom != "" {
		if err := o.target.check([]string{o.exitCodeFrom}); err != nil {
			return nil, err
		}
	}
	up := o.services
	if len(up) == 0 {
		up = p.ServiceNames()
	}
	var chosen []string
	switch {
	case len(o.attach) > 0:
		reached := o.withDependencies(up)
		for _, s := range o.attach {
			if !slices.Contains(reached, s) {
				return nil, &ui.Problem{Text: "--attach: service " + quote(s) + " is not brought up", Way: "brought up are " + strings.Join(reached, ", ")}
			}
		}
		chosen = o.attach
	case o.attachDependencies:
		chosen = o.withDependencies(up)
	default:
		chosen = up
	}
	var watched []string
	for _, s := range chosen {
		svc := p.Services[s]
		optedOut := len(o.attach) == 0 && svc.Attach != nil && !*svc.Attach
		if !optedOut && !slices.Contains(o.noAttach, s) {
			watched = append(watched, s)
		}
	}
	slices.Sort(watched)
	return watched, nil
}

func (o *upOptions) withDependencies(services []string) []string {
	seen := map[string]bool{}
	for queue := slices.Clone(services); len(queue) > 0; queue = queue[1:] {
		svc, ok := o.target.project.Services[queue[0]]
		if !ok || seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		if !o.noDeps {
			queue = append(queue, svc.GetDependencies()...)
		}
	}
	return sortedKeys(seen)
}
