package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/cmd/ui"
	"berth/engine/api"
	"berth/project/tree"
)

// globals are the flags in front of the verb, with the environment behind them.
type globals struct {
	paths         Paths
	files         []string
	projectName   string
	projectDir    string
	workDir       string
	envFiles      []string
	profiles      []string
	parallel      int
	progress      string
	ansi          string
	noANSI        bool
	dryRun        bool
	trace         string // a file, onScreen, or "" for none
	compatibility bool
	allResources  bool
	verbose       bool
	version       bool
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:                   a.name() + " [OPTIONS] COMMAND",
		Short:                 "Run compose files without Docker",
		Long:                  "berth runs compose files on a bare Linux host: containers, networks, volumes and images, without Docker.",
		SilenceErrors:         true,
		SilenceUsage:          true,
		TraverseChildren:      true,
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.settle(); err != nil {
				return err
			}
			ctx, err := a.startWatch(cmd.Context())
			cmd.SetContext(ctx)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case a.flags.version:
				return a.ui.Printf("berth version %s\n", api.Version)
			case len(args) > 0:
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	a.rootCmd = root
	out := a.out()
	root.SetOut(out.Out())
	root.SetErr(out.Err())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &ui.Problem{Text: err.Error(), Way: wayOutOfFlag(cmd, err)}
	})
	root.CompletionOptions.HiddenDefaultCmd = false
	a.addGlobalFlags(root)
	root.AddGroup(&cobra.Group{ID: "project", Title: "Commands for projects:"}, &cobra.Group{ID: "other", Title: "Commands for the host:"})
	add(root, "project",
		newUpCommand(a), newDownCommand(a), newStartCommand(a), newStopCommand(a), newRestartCommand(a), newKillCommand(a),
		newPauseCommand(a), newUnpauseCommand(a), newRmCommand(a), newCreateCommand(a), newScaleCommand(a), newRunCommand(a),
		newExecCommand(a), newAttachCommand(a), newPsCommand(a), newLogsCommand(a), newTopCommand(a), newPortCommand(a), newImagesCommand(a),
		newBuildCommand(a), newPullCommand(a), newPushCommand(a), newConfigCommand(a), newVolumesCommand(a), newWaitCommand(a), newEventsCommand(a), newPlanCommand(a),
		newCommitCommand(a), newExportCommand(a))
	add(root, "other", newLsCommand(a), newImageCommand(a), newBuilderCommand(a), newLoginCommand(a), newLogoutCommand(a), newSystemCommand(a), newEngineCommand(a),
		newVersionCommand(a))
	root.SetHelpCommand(newHelpCommand())
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	addCompletionCommand(root)
	root.SetUsageTemplate(oneUsage.Replace(root.UsageTemplate()))
	return root
}

// oneUsage has cobra's help show the one way in which a command that has others is called, not two.
var oneUsage = strings.NewReplacer("{{if .HasAvailableSubCommands}}\n", "{{if and .HasAvailableSubCommands (not .Runnable)}}\n", "[command]", "COMMAND")

// plainUsage leaves out the "[flags]" that cobra adds: usage lines say where options go.
func plainUsage(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	for _, sub := range c.Commands() {
		plainUsage(sub)
	}
}

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
		plainUsage(c)
	}
}

// wayOutOfFlag tells a flag that belongs in front of the verb from one that there isn't.
func wayOutOfFlag(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && cmd.HasParent() {
		name := unknown.GetSpecifiedName()
		flag := cmd.Root().Flags().Lookup(name)
		if len(name) == 1 {
			flag = cmd.Root().Flags().ShorthandLookup(name)
		}
		if flag != nil {
			return fmt.Sprintf("--%s stands before the verb: %s --%s ... %s", flag.Name, cmd.Root().Name(), flag.Name, cmd.Name())
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near := tree.Nearest(name, names); near != "" && len(name) > 1 {
			return fmt.Sprintf("did you mean --%s?", near)
		}
	}
	return "see " + cmd.CommandPath() + " --help"
}

// newHelpCommand is cobra's, but for a word that is no command.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "help [COMMAND]",
		Short:                 "Show what a command does and which flags it has",
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if about, _, err := cmd.Root().Find(args); err == nil {
				for _, c := range about.Commands() {
					if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), typed) {
						names = append(names, c.Name())
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// notYet are the commands of docker compose that are not there, and what does for them.
func notYet(name string) (way string) {
	switch name {
	case "cp":
		return "send the files through exec: berth exec -T SERVICE cat FILE > FILE, or tar for a folder"
	case "stats":
		return "berth top lists the processes of containers"
	case "watch":
		return "berth up -d --build builds what has changed, and replaces its containers"
	case "publish":
		return "berth push sends the images to their registries"
	case "bridge":
		return "berth config shows the file with all that it comes to, for other tools to read"
	}
	return ""
}

func unknownCommand(cmd *cobra.Command, name string) error {
	if way := notYet(name); way != "" && !cmd.HasParent() {
		return &ui.Problem{Text: fmt.Sprintf("berth has no command %q yet", name), Way: way}
	}
	way := "see " + cmd.CommandPath() + " --help"
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if near := tree.Nearest(name, names); near != "" {
		way = "did you mean " + near + "?"
	}
	return &ui.Problem{Text: fmt.Sprintf("%q is not a command", name), Way: way}
}

func (a *app) addGlobalFlags(root *cobra.Command) {
	g := &a.flags
	// These stand before the verb only: verbs have a -f and -p of their own.
	f := root.Flags()
	f.StringArrayVarP(&g.files, "file", "f", nil, "compose file, - for standard input; may be repeated")
	f.StringVarP(&g.projectName, "project-name", "p", "", "name of the project")
	f.StringVar(&g.projectDir, "project-directory", "", "project directory (default: the folder of the first compose file)")
	f.StringVar(&g.workDir, "workdir", "", "the old name of --project-directory")
	_ = f.MarkHidden("workdir")
	f.StringArrayVar(&g.envFiles, "env-file", nil, "file with variables for interpolation, instead of .env; may be repeated")
	f.StringArrayVar(&g.profiles, "profile", nil, "profile to turn on; may be repeated")
	f.BoolVar(&g.compatibility, "compatibility", false, "put _ instead of - between the parts of container names")
	f.BoolVar(&g.allResources, "all-resources", false, "keep networks and volumes that no service uses")
	f.BoolVarP(&g.version, "version", "v", false, "show the version")
	f.SetInterspersed(false)

	p := root.PersistentFlags()
	p.StringVar(&g.paths.Root, "root", "", "folder for the engine's data (default /var/lib/berth)")
	p.StringVar(&g.paths.State, "state", "", "folder for the engine's run-time state (default /run/berth)")
	p.StringVar(&g.paths.Config, "config", "", "folder of the engine's configuration (default /etc/berth)")
	p.IntVar(&g.parallel, "parallel", -1, "how many things to do at once, -1 for no limit")
	p.StringVar(&g.progress, "progress", "", "kind of progress output: auto, tty, plain, json, quiet")
	p.StringVar(&g.ansi, "ansi", "", "when to write terminal control sequences: never, always, auto")
	p.BoolVar(&g.noANSI, "no-ansi", false, "the old form of --ansi never")
	_ = p.MarkHidden("no-ansi")
	p.BoolVar(&g.dryRun, "dry-run", false, "show what would be done, and change nothing")
	p.StringVar(&g.trace, "trace", "", "show where the time went, or write it to a `FILE` for Perfetto (--trace=FILE)")
	p.Lookup("trace").NoOptDefVal = onScreen
	p.BoolVar(&g.verbose, "verbose", false, "say more")
	_ = p.MarkHidden("verbose")
	_ = root.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions([]string{"auto", "tty", "plain", "json", "quiet"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("ansi", cobra.FixedCompletions([]string{"never", "always", "auto"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("profile", a.completeProfiles)
}

// settle resolves the global flags: what was given, else the environment, else the default.
func (a *app) settle() error {
	g := &a.flags
	g.paths.Root = cmp.Or(g.paths.Root, a.env["BERTH_ROOT"], "/var/lib/berth")
	g.paths.State = cmp.Or(g.paths.State, a.env["BERTH_STATE"], "/run/berth")
	g.paths.Config = cmp.Or(g.paths.Config, a.env["BERTH_CONFIG"], "/etc/berth")
	g.projectDir = cmp.Or(g.projectDir, g.workDir)
	if !a.given("parallel") {
		if v := a.env["COMPOSE_PARALLEL_LIMIT"]; v != "" {
			n, err := strconv.Atoi(v)
			if err != nil {
				return &ui.Problem{Text: fmt.Sprintf("COMPOSE_PARALLEL_LIMIT: %q is not a number", v)}
			}
			g.parallel = n
		}
	}
	g.ansi = cmp.Or(g.ansi, a.env["COMPOSE_ANSI"], "auto")
	if g.noANSI {
		g.ansi = "never"
	}
	switch g.ansi {
	case "auto", "always", "never":
	default:
		return &ui.Problem{Text: fmt.Sprintf("--ansi: %q is none of never, always, auto", g.ansi)}
	}
	mode, err := ui.ParseMode(cmp.Or(g.progress, a.env["COMPOSE_PROGRESS"]))
	if err != nil {
		return err
	}
	a.ui = a.host.UI(ui.Config{
		Progress: mode, ANSI: g.ansi, NoColor: a.env["NO_COLOR"] != "" || a.env["CLICOLOR"] == "0",
		StatusToOut: isTrue(a.env["COMPOSE_STATUS_STDOUT"]),
	})
	return nil
}

func (a *app) given(flag string) bool {
	f := a.rootCmd.PersistentFlags().Lookup(flag)
	return f != nil && f.Changed
}

// limit is how many things the engine may do at once, 0 for any.
func (a *app) limit() int { return max(a.flags.parallel, 0) }

func isTrue(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "t", "true", "y", "yes", "on":
		return true
	}
	return false
}

// needServices is the message of commands that can't do without.
func needArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return &ui.Problem{Text: cmd.Name() + ": " + what, Way: "see " + cmd.CommandPath() + " --help"}
		}
		return nil
	}
}

// noDryRun refuses --dry-run for a command that has none, rather than to change something all the same.
func (a *app) noDryRun(cmd *cobra.Command, _ []string) error {
	if a.flags.dryRun {
		return &ui.Problem{Text: cmd.CommandPath() + " can't show beforehand what it would do", Way: "leave out --dry-run; nothing was changed"}
	}
	return nil
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &ui.Problem{Text: fmt.Sprintf("%s: takes no argument, got %q", cmd.Name(), args[0]), Way: "see " + cmd.CommandPath() + " --help"}
	}
	return nil
}

var _ pflag.Value = (*seconds)(nil)
