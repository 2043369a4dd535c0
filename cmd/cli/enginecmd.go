package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
	"berth/engine/client"
)

func newEngineCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "engine COMMAND",
		Short: "Start, stop and look at the engine",
		Long:  "The engine starts by itself when a command needs it, and ends itself when nothing is left to do. These commands are for doing it by hand.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newEngineStartCommand(a), newEngineStopCommand(a), newEngineStatusCommand(a), newEngineRunCommand(a), newEngineLogsCommand(a), newEngineProfileCommand(a))
	return cmd
}

func newEngineStartCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "start",
		Short: "Start the engine in the background",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.byHand = true
			return a.onEngine(func(ctx context.Context, e Engine, _ []string) error {
				v, err := e.Version(ctx)
				if err != nil {
					return err
				}
				return a.ui.Printf("The engine runs as process %d.\n", v.Pid)
			})(cmd, args)
		},
	}
}

func newEngineStopCommand(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS]",
		Short: "Stop the engine; containers go on",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, end := a.interruptible(cmd.Context())
			defer end()
			// Containers, networks and control groups outlive their engine, and it takes one to take them down.
			e, err := a.dial(ctx, all && hasRun(a.flags.paths))
			if errors.Is(err, client.ErrNotRunning) {
				return a.ui.Printf("The engine is not running.\n")
			}
			if err != nil {
				return err
			}
			defer e.Close()
			return runEngineStop(ctx, all, e, a.ui)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "take every container down first; starts the engine for that if need be")
	return cmd
}

// hasRun says that there has been an engine with these folders.
func hasRun(p Paths) bool {
	_, err := os.Stat(p.Root)
	return err == nil
}

func runEngineStop(ctx context.Context, all bool, e Engine, u *ui.UI) error {
	r, err := e.Shutdown(ctx, &api.ShutdownRequest{All: all})
	if err != nil {
		return err
	}
	if r.Running == 0 {
		return u.Printf("The engine has stopped.\n")
	}
	return u.Printf("The engine has stopped. %s running; berth engine start takes care of them again, berth engine stop --all takes them down.\n", stillRunning(r.Running))
}

func stillRunning(n int) string {
	if n == 1 {
		return "1 container goes on"
	}
	return fmt.Sprintf("%d containers go on", n)
}

func newEngineStatusCommand(a *app) *cobra.Command {
	format := ""
	cmd := &cobra.Command{
		Use:   "status [OPTIONS]",
		Short: "Show how the engine is",
		Long:  "Show how the engine is. The exit code is 3 if it isn't running.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.dial(cmd.Context(), false)
			if errors.Is(err, client.ErrNotRunning) {
				if format == "json" {
					_ = a.ui.Printf("{\"Running\":false}\n")
				} else {
					_ = a.ui.Printf("The engine is not running.\n")
				}
				return &ui.Exit{Code: notRunning}
			}
			if err != nil {
				return err
			}
			defer e.Close()
			return runEngineStatus(cmd.Context(), format, a.flags.paths, e, a.ui)
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "json for an object")
	return cmd
}

// notRunning is the exit code of status for a service that is stopped, as service managers have it.
const notRunning = 3

func runEngineStatus(ctx context.Context, format string, p Paths, e Engine, u *ui.UI) error {
	v, err := e.Version(ctx)
	if err != nil {
		return err
	}
	if format == "json" {
		b, err := marshalPlain(v)
		if err != nil {
			return err
		}
		return u.Printf("%s\n", b)
	}
	started := "by hand"
	if v.Autostarted {
		started = "by itself; it ends when there is no container for ten minutes"
	}
	for _, l := range [][2]string{
		{"Process", strconv.Itoa(v.Pid)},
		{"Version", v.Engine + otherVersion(v.Engine)},
		{"Up", ui.HumanDuration(u.Now().Sub(v.Started)) + ", started " + started},
		{"Containers", fmt.Sprintf("%d, %d running", v.Containers, v.Running)},
		{"Data", v.Root},
		{"State", v.State},
		{"Socket", client.Socket(p.State)},
		{"Log", client.LogFile(p.Root)},
		{"Snapshotter", v.Snapshotter},
		{"Cgroups", v.Cgroup},
	} {
		if err := u.Printf("%-12s %s\n", l[0]+":", l[1]); err != nil {
			return err
		}
	}
	return nil
}

// otherVersion tells that an engine is not the one that this program carries, and how to change that.
func otherVersion(engine string) string {
	if engine == api.Version {
		return ""
	}
	return fmt.Sprintf("; this berth is %s: after berth engine stop, the next command starts its engine, and containers go on", api.Version)
}

func newEngineRunCommand(a *app) *cobra.Command {
	var debug bool
	cmd := &cobra.Command{
		Use:   "run [OPTIONS]",
		Short: "Run the engine in the foreground, for a service manager",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			argv, err := a.host.Daemon(a.flags.paths, false)
			if err != nil {
				return err
			}
			if debug {
				argv = append(argv, "--debug")
			}
			// The engine takes this process's place, so that signals and the exit code are its own.
			if err := syscall.Exec(argv[0], argv, a.host.Environ); err != nil {
				return fmt.Errorf("run the engine: %s: %w", argv[0], err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&debug, "debug", false, "write to the log what only helps to find a fault, too")
	return cmd
}

func newEngineLogsCommand(a *app) *cobra.Command {
	var follow bool
	tail := "all"
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS]",
		Short: "Show the engine's own log",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n := -1
			if tail != "all" {
				var err error
				if n, err = strconv.Atoi(tail); err != nil {
					return &ui.Problem{Text: "--tail: " + quote(tail) + " is neither a number nor all"}
				}
			}
			ctx, end := a.interruptible(cmd.Context())
			defer end()
			return runEngineLogs(ctx, client.LogFile(a.flags.paths.Root), n, follow, a.ui)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written from now on")
	cmd.Flags().StringVarP(&tail, "tail", "n", "all", "this many last lines")
	return cmd
}

// followEvery is how often a log that is followed is looked at.
const followEvery = 200 * time.Millisecond

func runEngineLogs(ctx context.Context, path string, tail int, follow bool, u *ui.UI) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return &ui.Problem{Text: "there is no log of the engine at " + path, Way: "an engine that a service manager runs writes to that one's log"}
	}
	if err != nil {
		return fmt.Errorf("read the engine's log: %w", err)
	}
	defer f.Close()
	if tail >= 0 {
		if err := seekTail(f, tail); err != nil {
			return fmt.Errorf("read the engine's log: %w", err)
		}
	}
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		if _, err := io.Copy(u.Out(), f); err != nil {
			return err
		}
		if !follow {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// seekTail goes to the start of the n-th line from the end.
func seekTail(f io.ReadSeeker, n int) error {
	starts := make([]int64, 0, n+1)
	r := bufio.NewReader(f)
	var at int64
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if starts = append(starts, at); len(starts) > n {
				starts = starts[1:]
			}
			at += int64(len(line))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.ReadSlice('\n')
			at += int64(len(line))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	to := at
	if len(starts) > 0 {
		to = starts[0]
	}
	_, err := f.Seek(to, io.SeekStart)
	return err
}
