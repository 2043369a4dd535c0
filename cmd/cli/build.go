package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type buildOptions struct {
	target           *target
	services         []string
	args             []string
	ssh              []string
	noCache          bool
	pull             bool
	push             bool
	check            bool
	print            bool
	quiet            bool
	withDependencies bool
	memory           string
	builder          string
	provenance       string
	sbom             string
	dryRun           bool
	parallel         int
	host             api.ClientHost
	environment      func(string) (string, bool)
	workDir          string
}

func newBuildCommand(a *app) *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build [OPTIONS] [SERVICE...]",
		Short: "Build the images of services",
		Long: "Build the images of all services that have a build section, or of those named, from their Dockerfiles.\n" +
			"up builds what is not there by itself; build makes images anew, from the cache as far as nothing has changed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.services = args
			return a.build(cmd, &o)
		},
		ValidArgsFunction: a.completeServices,
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.args, "build-arg", nil, "KEY=VALUE for ARG in Dockerfiles, or KEY for your own value; may be repeated")
	f.BoolVar(&o.check, "check", false, "look at the Dockerfiles and build nothing")
	f.BoolVar(&o.noCache, "no-cache", false, "run every step again")
	f.BoolVar(&o.print, "print", false, "print the same build as a bake file, and build nothing")
	f.StringVar(&o.provenance, "provenance", "", "true, false or options of the statement how the image was built")
	f.BoolVar(&o.pull, "pull", false, "look for newer versions of the images that Dockerfiles start from")
	f.BoolVar(&o.push, "push", false, "push the images when they are built")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show nothing but errors")
	f.StringVar(&o.sbom, "sbom", "", "true, false or options of the list of what is in the image")
	f.StringArrayVar(&o.ssh, "ssh", nil, "what RUN --mount=type=ssh speaks to: default for your agent, or ID=PATH of an agent's socket or a key")
	f.BoolVar(&o.withDependencies, "with-dependencies", false, "also the services that these depend on")
	f.StringVarP(&o.memory, "memory", "m", "", "accepted and without effect: BuildKit knows no such limit")
	f.StringVar(&o.builder, "builder", "", "accepted and without effect: the engine is the builder")
	// What docker-compose 1.29 had, and what is always so here.
	for _, old := range []string{"compress", "force-rm", "no-rm", "build-parallel"} {
		f.Bool(old, false, "accepted and without effect")
		_ = f.MarkHidden(old)
	}
	_ = cmd.RegisterFlagCompletionFunc("ssh", cobra.FixedCompletions([]string{"default"}, cobra.ShellCompDirectiveDefault))
	return cmd
}

// build loads the project, connects unless there is nothing to ask the engine for, and builds.
func (a *app) build(cmd *cobra.Command, o *buildOptions) error {
	ctx, end := a.interruptible(cmd.Context())
	defer end()
	t, err := a.fromFiles(ctx, o.services, forImages)
	if err != nil {
		return err
	}
	if o.memory != "" {
		a.ui.Note("--memory has no effect: BuildKit knows no such limit")
	}
	if o.builder != "" {
		a.ui.Note("--builder has no effect: the engine is the builder")
	}
	o.target, o.dryRun, o.parallel, o.host, o.workDir = t, a.flags.dryRun, a.limit(), a.clientHost(), a.host.WorkDir
	o.environment = func(key string) (string, bool) {
		v, ok := t.project.Environment[key]
		if !ok {
			v, ok = a.env[key]
		}
		return v, ok
	}
	if len(o.chosen()) == 0 {
		a.ui.Warn("no services to build")
		return nil
	}
	if o.print {
		return runBuildPrint(*o, a.ui)
	}
	if !o.dryRun {
		clean, err := a.spool(ctx, t, t.mayBuild(o.services, o.withDependencies), &o.host, true)
		if err != nil {
			return err
		}
		defer clean()
	}
	e, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	return runBuild(ctx, *o, e, a.buildUI())
}

// buildUI is the UI for what does nothing but build: BuildKit's own variable says how to show it, unless berth's does.
func (a *app) buildUI() *ui.UI {
	if a.given("progress") || a.env["COMPOSE_PROGRESS"] != "" {
		return a.ui
	}
	mode, err := ui.ParseMode(a.env["BUILDKIT_PROGRESS"])
	if err != nil {
		return a.ui
	}
	return a.ui.With(func(c *ui.Config) { c.Progress = mode })
}

// chosen are the services to build, sorted.
func (o *buildOptions) chosen() []string {
	services := o.target.reach(o.services, func(svc types.ServiceConfig) []string {
		if o.withDependencies {
			return svc.GetDependencies()
		}
		return nil
	})
	return slices.DeleteFunc(services, func(name string) bool {
		return o.target.project.Services[name].Build == nil
	})
}

// options are what the flags ask of each build.
func (o *buildOptions) options() (api.BuildOptions, error) {
	b := api.BuildOptions{
		NoCache: o.noCache, Refresh: o.pull, Quiet: o.quiet, Provenance: o.provenance, SBOM: o.sbom, Args: map[string]string{},
	}
	for _, arg := range o.args {
		key, value, ok := strings.Cut(arg, "=")
		if key == "" {
			return b, &ui.Problem{Text: "--build-arg: " + quote(arg) + " is not KEY=VALUE"}
		}
		if !ok {
			// An argument that nobody has a value for is left to the Dockerfile.
			if value, ok = o.environment(key); !ok {
				continue
			}
		}
		b.Args[key] = value
	}
	for _, text := range o.ssh {
		agent, err := o.agent(text)
		if err != nil {
			return b, err
		}
		b.SSH = append(b.SSH, agent)
	}
	return b, nil
}

// agent reads "default", or "ID=PATH".
func (o *buildOptions) agent(text string) (api.SSHAgent, error) {
	id, path, _ := strings.Cut(text, "=")
	switch {
	case id == "":
		return api.SSHAgent{}, &ui.Problem{Text: "--ssh: " + quote(text) + " has no id", Way: "give default, or ID=PATH"}
	case path == "" && o.host.SSHAgent == "":
		return api.SSHAgent{}, &ui.Problem{Text: "--ssh: there is no agent: SSH_AUTH_SOCK is not set", Way: "start one (eval $(ssh-agent); ssh-add), or name a key: --ssh " + id + "=PATH"}
	case path == "":
		path = o.host.SSHAgent
	case !filepath.IsAbs(path):
		path = filepath.Join(o.workDir, path)
	}
	return api.SSHAgent{ID: id, Path: path}, nil
}

func runBuild(ctx context.Context, o buildOptions, e Engine, u *ui.UI) error {
	options, err := o.options()
	if err != nil {
		return err
	}
	sel, err := o.target.selector(o.services)
	if err != nil {
		return err
	}
	q := &api.BuildRequest{
		ProjectSelector: sel, BuildOptions: options, WithDependencies: o.withDependencies, Push: o.push, Check: o.check, Parallel: o.parallel,
		DryRun: o.dryRun, Host: o.host,
	}
	if o.quiet {
		u = u.With(func(c *ui.Config) { c.Progress = ui.ModeQuiet })
	}
	p := o.target.progress("build")
	if o.check {
		p.Operation = "check"
	}
	p.HoldWarnings = o.check || o.quiet
	var found ui.Findings
	err = show(u, p, o.dryRun, func(report func(api.Event)) error {
		return e.Build(ctx, q, func(ev api.Event) {
			if o.check {
				found.Event(ev)
			}
			report(ev)
		})
	})
	if err != nil || !o.check || o.dryRun {
		return err
	}
	if err := found.Show(u); err != nil {
		return err
	}
	if found.Len() > 0 {
		return &ui.Exit{Code: 1}
	}
	return nil
}

// building are the flags about building that up, create and run share.
type building struct {
	build, noBuild, quietBuild bool
}

func (b *building) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&b.build, "build", false, "build images, also those that are there")
	f.BoolVar(&b.noBuild, "no-build", false, "build no image, also where one is missing")
	f.BoolVar(&b.quietBuild, "quiet-build", false, "build without showing how far it is")
}

func (b *building) validate() error {
	if b.build && b.noBuild {
		return conflict("--build", "--no-build")
	}
	return nil
}

// fill puts the flags into a request.
func (b *building) fill(q *api.UpRequest) {
	switch {
	case b.build:
		q.Build = "always"
	case b.noBuild:
		q.Build = "never"
	}
	q.BuildOptions.Quiet = b.quietBuild
}

// show adds to a display what the flags say of it. command is what berth was called as.
func (b *building) show(p *ui.ProgressOptions, command string) {
	p.HideBuilds = b.quietBuild
	if !b.build {
		p.BuildHow = command + " build"
	}
}

// spool keeps standard input in a file for the engine, where a service that may be built has it for a context. needed:
// without it there is nothing to do. The returned function removes the file.
func (a *app) spool(ctx context.Context, t *target, services []string, host *api.ClientHost, needed bool) (clean func(), err error) {
	clean = func() {}
	i := slices.IndexFunc(services, func(name string) bool {
		svc, _ := t.service(name)
		return svc.Build != nil && svc.Build.Context == "-"
	})
	if i < 0 || a.ui.InTTY() && !needed {
		return clean, nil
	}
	key := "services." + services[i] + ".build.context"
	switch {
	case slices.Contains(a.flags.files, "-"):
		return clean, &ui.Problem{Text: key + ": standard input has the compose file and can't be the context as well", Way: "give one of them as a file"}
	case a.ui.InTTY():
		return clean, &ui.Problem{Text: key + ": there is no archive or Dockerfile to read", Way: "redirect one to standard input, or name a folder"}
	}
	path, err := keepInput(ctx, a.ui.In())
	switch {
	case errors.Is(err, errNoInput) && !needed:
		return clean, nil
	case err != nil:
		return clean, fmt.Errorf("%s: %w", key, err)
	}
	host.Stdin = path
	return func() { _ = os.Remove(path) }, nil
}

// mayBuild are the services that may have to be built for those that are named, or for all; sorted.
func (t *target) mayBuild(services []string, dependencies bool) []string {
	return t.reach(services, func(svc types.ServiceConfig) []string {
		if dependencies {
			return append(builtFrom(svc), svc.GetDependencies()...)
		}
		return builtFrom(svc)
	})
}

// builtFrom are the services whose images are contexts of a build.
func builtFrom(svc types.ServiceConfig) []string {
	var names []string
	if svc.Build == nil {
		return nil
	}
	for _, from := range svc.Build.AdditionalContexts {
		if name, ok := strings.CutPrefix(from, types.ServicePrefix); ok {
			names = append(names, name)
		}
	}
	return names
}

// service finds a service, also one that its profile disables: another one may be built from its image.
func (t *target) service(name string) (types.ServiceConfig, bool) {
	svc, ok := t.project.Services[name]
	if !ok {
		svc, ok = t.project.DisabledServices[name]
	}
	return svc, ok
}

// reach are the services, all of them where none is named, with those that follow from them; sorted.
func (t *target) reach(services []string, follow func(types.ServiceConfig) []string) []string {
	if len(services) == 0 {
		services = slices.Sorted(maps.Keys(t.project.Services))
	}
	seen := map[string]bool{}
	for queue := slices.Clone(services); len(queue) > 0; queue = queue[1:] {
		svc, ok := t.service(queue[0])
		if ok && !seen[queue[0]] {
			seen[queue[0]] = true
			queue = append(queue, follow(svc)...)
		}
	}
	return sortedKeys(seen)
}
