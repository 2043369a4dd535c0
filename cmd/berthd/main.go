// Command berthd is berth's engine. The command line starts it; `berth engine run` is the form for people.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"berth/engine"
	"berth/engine/api"
	"berth/engine/daemon"
	"berth/engine/runtime"
)

func main() {
	cfg := daemon.Config{Log: os.Stderr}
	fs := flag.NewFlagSet("berthd", flag.ExitOnError)
	fs.StringVar(&cfg.Root, "root", "/var/lib/berth", "folder of what is kept")
	fs.StringVar(&cfg.State, "state", "/run/berth", "folder of run-time state")
	fs.StringVar(&cfg.Config, "config", "/etc/berth", "folder of configuration")
	fs.StringVar(&cfg.Shim, "shim", "", "path of berth-shim")
	fs.StringVar(&cfg.Init, "init", "", "path of berth-init")
	fs.StringVar(&cfg.Runc, "runc", "", "path of runc")
	fs.DurationVar(&cfg.Idle, "idle", 0, "end after so long without a container; 0: never")
	logPath := fs.String("log", "", "file of the log; none: standard error")
	fs.BoolVar(&cfg.Debug, "debug", false, "write more to the log")
	_ = fs.Parse(os.Args[1:])
	if *logPath != "" {
		log, err := daemon.OpenLog(*logPath)
		if err != nil {
			exit(err)
		}
		cfg.Log = log
	}
	self, err := os.Executable()
	if err != nil {
		exit(err)
	}
	cfg.Command = append([]string{self}, os.Args[1:]...)
	if err := daemon.Run(context.Background(), cfg, open, engine.ToAPI); err != nil {
		var refused *api.Error
		if *logPath != "" && errors.As(err, &refused) && refused.Class == api.ClassAlreadyExists {
			os.Exit(1) // several shims miss a killed engine at the same time; the log is the one's that was quicker
		}
		exit(err)
	}
}

func exit(err error) {
	fmt.Fprintf(os.Stderr, "%s berthd: error: %v\n", time.Now().Format(time.RFC3339), err)
	os.Exit(1)
}

// open is where the engine meets the process that it runs in.
func open(ctx context.Context, h daemon.Host, rt *runtime.Runtime) (daemon.Engine, error) {
	// The builder mounts in the folder for temporary files; there the next engine finds what a killed one has left.
	temp := filepath.Join(h.State, "build", "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, err
	}
	settings := map[string]string{
		"TMPDIR": temp,
		// The builder would leave out what a step says beyond 2 MiB, or by more than 200 KiB a second. No limit at all would be
		// no good either: it keeps the output in memory until the build is over, so that RUN yes would take all of it.
		"BUILDKIT_STEP_LOG_MAX_SIZE":  cmp.Or(os.Getenv("BUILDKIT_STEP_LOG_MAX_SIZE"), strconv.Itoa(64<<20)),
		"BUILDKIT_STEP_LOG_MAX_SPEED": cmp.Or(os.Getenv("BUILDKIT_STEP_LOG_MAX_SPEED"), "-1"),
	}
	for name, value := range settings {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return engine.Open(ctx, engine.Config{
		Root: h.Root, State: h.State, ConfigDir: h.Config.Config, Shim: h.Shim, Init: h.Init, Runc: h.Runc, Daemon: h.Command, Autostarted: h.Idle > 0,
		ID: h.ID, StoppedFile: h.StoppedFile, Log: h.Logger, Stop: h.Stop, Work: h.Work,
	}, rt)
}
