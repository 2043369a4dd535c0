// Command berth runs compose files: the command line, which carries the engine and starts it.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"berth/cmd/berth/payload"
	"berth/cmd/cli"
	"berth/cmd/ui"
)

// garbage is how much of it, in percent of what is in use, is left lying about. A command that takes some milliseconds and as many
// megabytes is over before it would be collected; one that stays holds little.
const garbage = 400

func main() {
	debug.SetGCPercent(garbage)
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error: find the current folder:", err)
		os.Exit(1)
	}
	os.Exit(cli.Main(context.Background(), cli.Host{
		Args:    os.Args,
		Environ: os.Environ(),
		WorkDir: dir,
		Streams: ui.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr},
		Daemon:  daemon,
		Carried: carried,
	}))
}

// idle is how long an engine that was started on demand stays without a container.
const idle = "10m"

// daemon unpacks the engine where that has not been done, and gives its command line.
func daemon(p cli.Paths, onDemand bool) ([]string, error) {
	programs, err := payload.Unpack(p.Root)
	if err != nil {
		return nil, err
	}
	argv := []string{
		programs.Berthd, "--root", p.Root, "--state", p.State, "--config", p.Config, "--shim", programs.Shim,
		"--init", programs.Init, "--runc", programs.Runc,
	}
	if onDemand {
		argv = append(argv, "--idle", idle)
	}
	return argv, nil
}

func carried() (cli.Versions, bool) {
	v, ok := payload.Carried()
	return cli.Versions(v), ok
}
