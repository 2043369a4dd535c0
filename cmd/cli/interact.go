package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"berth/cmd/ui"
	"berth/engine/api"
)

// interaction joins the user's terminal with a process in a container.
type interaction struct {
	stream  Stream
	ui      *ui.UI
	tty     bool
	stdin   bool
	signals <-chan os.Signal // sent on to the process
	event   func(api.Event)
	started func(api.Started)
	keys    []byte // that leave the process to itself; none: ctrl-p ctrl-q
	// keepStdin: the process is not this command's own, so the end of what is typed is not the end of its input.
	keepStdin bool

	mu sync.Mutex // a stream takes one Send at a time
}

// errDetached says that the user left the process to itself.
var errDetached = errors.New("detached")

// run copies until the process ends, and gives its exit code. Input goes on being read until the process of
// berth itself ends: a read of a terminal can't be taken back.
func (i *interaction) run(ctx context.Context) (code int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if i.tty {
		restore, err := i.ui.Raw()
		if err != nil {
			return 0, err
		}
		defer restore()
		stop := i.watchSize(ctx)
		defer stop()
	}
	detached := make(chan struct{})
	if i.stdin {
		go i.copyIn(detached)
	} else if !i.keepStdin {
		_ = i.send(api.Frame{CloseStdin: true})
	}
	go i.passSignals(ctx)
	type end struct {
		code int
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		code, err := i.receive()
		ended <- end{code, err}
	}()
	select {
	case e := <-ended:
		return e.code, e.err
	case <-detached:
		return 0, errDetached
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// errNoExit is the end of a call in which no process has ended.
var errNoExit error = &api.Error{Class: api.ClassUnavailable, Message: "the engine ended the call before the process did", HintText: "see berth engine logs"}

func (i *interaction) receive() (int, error) {
	for {
		f, err := i.stream.Recv()
		if errors.Is(err, io.EOF) {
			return 0, errNoExit
		}
		if err != nil {
			return 0, err
		}
		switch {
		case f.Event != nil && i.event != nil:
			i.event(*f.Event)
		case f.Started != nil && i.started != nil:
			i.started(*f.Started)
		case f.Stdout != nil:
			_, err = i.ui.Out().Write(f.Stdout)
		case f.Stderr != nil:
			_, err = i.ui.Err().Write(f.Stderr)
		case f.Exit != nil:
			return *f.Exit, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func (i *interaction) send(f api.Frame) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stream.Send(f)
}

func (i *interaction) copyIn(detached chan<- struct{}) {
	keys := detachKeys{keys: []byte{ctrlP, ctrlQ}}
	if len(i.keys) > 0 {
		keys.keys = i.keys
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := i.ui.In().Read(buf)
		data, left := buf[:n], false
		if i.tty {
			data, left = keys.filter(data)
		}
		if len(data) > 0 && i.send(api.Frame{Stdin: data}) != nil {
			return
		}
		if left {
			close(detached)
			return
		}
		if err != nil {
			if !i.keepStdin {
				_ = i.send(api.Frame{CloseStdin: true})
			}
			return
		}
	}
}

// detachKeys finds the keys that leave a process to itself in what is typed.
type detachKeys struct {
	keys []byte
	got  int // how many of them were typed, and are held back
}

const ctrlP, ctrlQ = 0x10, 0x11

// filter gives what is to be sent on.
func (k *detachKeys) filter(data []byte) (out []byte, left bool) {
	for _, b := range data {
		if b != k.keys[k.got] {
			out = append(out, k.keys[:k.got]...)
			k.got = 0
		}
		if b != k.keys[k.got] {
			out = append(out, b)
			continue
		}
		if k.got++; k.got == len(k.keys) {
			return out, true
		}
	}
	return out, false
}

func (i *interaction) passSignals(ctx context.Context) {
	for {
		select {
		case sig := <-i.signals:
			if s, ok := sig.(syscall.Signal); ok {
				_ = i.send(api.Frame{Signal: signalName(s)})
			}
		case <-ctx.Done():
			return
		}
	}
}

func signalName(s syscall.Signal) string {
	switch s {
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	case syscall.SIGQUIT:
		return "SIGQUIT"
	}
	return s.String()
}

// watchSize tells the process of each new size of the terminal.
func (i *interaction) watchSize(ctx context.Context) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-changed:
				cols, rows := i.ui.Size()
				if cols > 0 {
					_ = i.send(api.Frame{Resize: &api.Size{Rows: uint32(rows), Cols: uint32(cols)}})
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { signal.Stop(changed) }
}

// terminal says whether a process gets a terminal: unless it was refused, when there is one on both sides.
func terminal(u *ui.UI, refused bool) bool { return !refused && u.InTTY() && u.OutTTY() }

// exitWith turns a process's exit code into the command's.
func exitWith(code int, err error) error {
	switch {
	case errors.Is(err, errDetached):
		return nil
	case err != nil:
		return err
	case code != 0:
		return &ui.Exit{Code: code}
	}
	return nil
}
