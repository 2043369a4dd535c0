// Program mkimages makes the tests' images of real applications.
//
//	mkimages -out FOLDER RECIPE...
//
// It owns a mount namespace, in which package images works: it starts itself again in one. What it mounts is
// gone with it, however it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"berth/testing/images"
)

const inside = "BERTH_MKIMAGES_INSIDE"

func main() {
	out := flag.String("out", "", "folder for the results, one OCI layout for each recipe")
	flag.Parse()
	if *out == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: mkimages -out FOLDER RECIPE...")
		os.Exit(2)
	}
	if os.Getenv(inside) == "" {
		os.Exit(again())
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := images.Build(ctx, *out, flag.Args(), func(line string) { fmt.Println(line) }); err != nil {
		fmt.Fprintln(os.Stderr, "mkimages:", err)
		os.Exit(1)
	}
}

// again runs this program in a mount namespace whose mounts are private, which the Go runtime sees to.
func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "mkimages: start in a mount namespace:", err)
		return 1
	}
	return 0
}
