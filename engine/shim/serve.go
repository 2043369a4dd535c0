package shim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	goruntime "runtime"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/pkg/sys/reaper"
	containerdlog "github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"

	"berth/engine/shim/ground"
)

const (
	// threads is how many threads compute at once unless GOMAXPROCS says so. It is containerd's.
	threads = 2
	// stacksMost bounds what is logged of the stacks of goroutines.
	stacksMost = 1 << 20
)

// serving is what a process that serves is told.
type serving struct {
	namespace string
	debug     bool
}

// readServing reads the command line; ok is false for one that asks for something else than to serve.
func readServing(args []string) (s serving, ok bool) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.namespace, "namespace", "", "")
	fs.String("id", "", "")      // whose shim it is: for those who look at the host's processes
	fs.String("address", "", "") // the engine's socket: that for events is in the environment
	fs.BoolVar(&s.debug, "debug", false, "")
	err := fs.Parse(args)
	return s, err == nil && fs.NArg() == 0 && s.namespace != ""
}

// serve is what containerd does between the start of a shim and its end. It differs in two things: containerd's collects garbage
// and gives memory back each half a minute, for which it has to look at nearly all of the program, and it has a connection of
// its own for events.
func serve(s serving, base *ground.Ground) error {
	goruntime.MemProfileRate = 0 // nobody can ask for the profile
	if os.Getenv("GOMAXPROCS") == "" {
		goruntime.GOMAXPROCS(threads)
	}
	signals := make(chan os.Signal, 32)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGPIPE, unix.SIGCHLD, unix.SIGUSR1)
	if err := reaper.SetSubreaper(1); err != nil {
		return fmt.Errorf("become the parent of containers' processes: %w", err)
	}
	ctx := containerdlog.WithLogger(context.Background(), containerdlog.L.WithField("runtime", RuntimeName))
	ctx, end := shutdown.WithShutdown(namespaces.WithNamespace(ctx, s.namespace))
	defer end.Shutdown()
	if err := s.log(); err != nil {
		return err
	}
	server, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser()))
	if err != nil {
		return err
	}
	service, err := newService(ctx, os.Getenv("TTRPC_ADDRESS"), end, base)
	if err != nil {
		return fmt.Errorf("make the task service: %w", err)
	}
	if err := service.RegisterTTRPC(server); err != nil {
		return err
	}
	l, err := net.FileListener(os.NewFile(listenerFD, "socket"))
	if err != nil {
		return fmt.Errorf("listen on the socket that was handed over: %w", err)
	}
	go func() {
		if err := server.Serve(ctx, l); err != nil && !errors.Is(err, net.ErrClosed) {
			containerdlog.L.WithError(err).Fatal("serve")
		}
	}()
	attend(signals, end)
	if err := end.Err(); !errors.Is(err, shutdown.ErrShutdown) {
		return err
	}
	return nil
}

// attend collects children, and returns when the shim has ended.
func attend(signals <-chan os.Signal, end shutdown.Service) {
	for {
		select {
		case <-end.Done():
			return
		case s := <-signals:
			switch s {
			case unix.SIGCHLD:
				if err := reaper.Reap(); err != nil {
					containerdlog.L.WithError(err).Error("collect children")
				}
			case unix.SIGTERM, unix.SIGINT:
				end.Shutdown()
			case unix.SIGUSR1:
				b := make([]byte, stacksMost)
				containerdlog.L.Infof("stacks of all goroutines:\n%s", b[:goruntime.Stack(b, true)])
			}
		}
	}
}

// log has what goes to standard error, as the last words of a program that crashes do, go to the pipe "log" of the folder that
// the shim is in.
func (s serving) log() error {
	if err := containerdlog.SetFormat(containerdlog.TextFormat); err != nil {
		return err
	}
	if s.debug {
		if err := containerdlog.SetLevel("debug"); err != nil {
			return err
		}
	}
	fd, err := unix.Open("log", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Dup3(fd, unix.Stderr, 0); err != nil {
		return fmt.Errorf("write to the log: %w", err)
	}
	return nil
}
