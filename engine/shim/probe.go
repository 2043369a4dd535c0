package shim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A probe is a further process of a container that is started, read from, waited for and forgotten in one call: a health
// check. It has no streams of its own and no place among containerd's processes, and nobody is told of it.
//
// "Run" takes an ExecProcessRequest, of which the task, the name and the process count, and gives a BytesValue: the exit
// status in four bytes, low one first, and the first ProbeOutput bytes of what the process printed. "Stop" takes a
// KillRequest and ends a probe; its "Run" returns then. It fails with "not implemented" where runc has to start the process;
// containerd's way of further processes has to be gone then.
const (
	ProbeService = "berth.shim.v1.Probe"
	ProbeRun     = "Run"
	ProbeStop    = "Stop"
	// ProbeOutput is how much of the output is given.
	ProbeOutput = 4096
)

// probeSoon is when a probe is looked at whose output has not ended.
const probeSoon = 20 * time.Millisecond

// probes are those under way, by task and name, and what ends them.
type probes struct {
	mu    sync.Mutex
	stops map[[2]string]func()
}

func (s *service) probeService() *ttrpc.ServiceDesc {
	methods := s.repeatMethods()
	maps.Copy(methods, map[string]ttrpc.Method{
		ProbeRun: func(ctx context.Context, read func(any) error) (any, error) {
			var r taskapi.ExecProcessRequest
			if err := read(&r); err != nil {
				return nil, err
			}
			return s.probe(ctx, &r)
		},
		ProbeStop: func(_ context.Context, read func(any) error) (any, error) {
			var r taskapi.KillRequest
			if err := read(&r); err != nil {
				return nil, err
			}
			s.probes.stop(r.ID, r.ExecID)
			return &emptypb.Empty{}, nil
		},
	})
	return &ttrpc.ServiceDesc{Methods: methods}
}

// stop ends a probe, if it is there.
func (p *probes) stop(task, name string) {
	p.mu.Lock()
	stop := p.stops[[2]string{task, name}]
	p.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// set notes what ends a probe; nil for one that is over.
func (p *probes) set(task, name string, stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stop == nil {
		delete(p.stops, [2]string{task, name})
		return
	}
	if p.stops == nil {
		p.stops = map[[2]string]func(){}
	}
	p.stops[[2]string{task, name}] = stop
}

// probe runs one.
func (s *service) probe(ctx context.Context, r *taskapi.ExecProcessRequest) (*wrapperspb.BytesValue, error) {
	s.link.engineIsHere()
	t := s.task(r.ID)
	if t == nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "container %s", r.ID)
	}
	dir, err := t.book(r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotImplemented, "probe container %s: %v", r.ID, err)
	}
	p, err := newProbe()
	if err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("make the pipe of a probe: %w", err))
	}
	defer p.out.Close()
	out, err := s.run(ctx, t, dir, r, p)
	if err != nil {
		t.tell(s.log, r.ID, err)
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotImplemented, "probe container %s: %v", r.ID, err)
	}
	return &wrapperspb.BytesValue{Value: out}, nil
}

// run starts a probe's process and waits for its end.
func (s *service) run(ctx context.Context, t *taskState, dir string, r *taskapi.ExecProcessRequest, p *probe) ([]byte, error) {
	started := s.children.expect()
	entering, err := t.enter(s.streams.enterer, dir, r.ID, r.Spec.GetValue(), p.streams)
	p.release()
	if err != nil {
		s.children.forget(started)
		return nil, err
	}
	// It is asked for when its output ends, which is once, or when it is to be ended.
	know := sync.OnceValues(func() (int, error) {
		pid, err := entering.Wait()
		if err != nil {
			s.children.forget(started)
			p.abandon() // who is stuck on the way in may hold it
			return 0, err
		}
		s.children.known(started, pid, p.ended)
		return pid, nil
	})
	stop := func() {
		if pid, err := know(); err == nil {
			s.children.kill(pid)
		}
	}
	s.probes.set(r.ID, r.ExecID, stop)
	defer s.probes.set(r.ID, r.ExecID, nil)
	// An engine that is gone asks for no end any more.
	defer context.AfterFunc(ctx, stop)()
	// A process that starts others and leaves its output to them ends without an end of the output. So the end is listened for at
	// the latest some moments after the start.
	late := time.AfterFunc(probeSoon, func() { _, _ = know() })
	defer late.Stop()
	p.read()
	if _, err := know(); err != nil {
		return nil, err
	}
	return p.result(), nil
}

// book is runc's folder of a container.
func (t *taskState) book(id string) (string, error) {
	var o options.Options
	if t.options.GetTypeUrl() == "" {
		return "", errOther
	}
	if err := typeurl.UnmarshalTo(t.options, &o); err != nil {
		return "", err
	}
	if filepath.Base(o.BinaryName) != "runc" || o.Root == "" || o.SystemdCgroup || t.namespace == "" {
		return "", errOther
	}
	return filepath.Join(o.Root, t.namespace, id), nil
}

// probe is a process's end and output.
type probe struct {
	streams [3]int
	out     *os.File
	printed []byte // at most ProbeOutput
	status  chan int
}

func newProbe() (*probe, error) {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, errors.Join(err, unix.Close(null))
	}
	p := &probe{streams: [3]int{null, ends[1], ends[1]}, status: make(chan int, 1)}
	if err := unix.SetNonblock(ends[0], true); err != nil {
		p.release()
		return nil, errors.Join(err, unix.Close(ends[0]))
	}
	p.out = os.NewFile(uintptr(ends[0]), "probe")
	return p, nil
}

// release lets go of the process's streams.
func (p *probe) release() {
	_ = unix.Close(p.streams[0])
	_ = unix.Close(p.streams[1])
}

// ended is called at the process's end. What it has started may go on and hold its output; that is not waited for.
func (p *probe) ended(status int) {
	p.status <- status
	p.abandon()
}

// abandon ends the wait for output.
func (p *probe) abandon() { _ = p.out.SetReadDeadline(time.Unix(1, 0)) }

// read takes the output, until that ends or the process does.
func (p *probe) read() {
	var b [1024]byte
	for {
		n, err := p.out.Read(b[:])
		p.keep(b[:n])
		if err != nil {
			return
		}
	}
}

func (p *probe) keep(b []byte) {
	p.printed = append(p.printed, b[:min(len(b), ProbeOutput-len(p.printed))]...)
}

// result waits for the process's end.
func (p *probe) result() []byte {
	status := <-p.status
	// What it printed last may be in the pipe still; what another one goes on to write is not taken.
	if raw, err := p.out.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			b := make([]byte, ProbeOutput)
			n, _ := unix.Read(int(fd), b)
			p.keep(b[:max(n, 0)])
		})
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(status)), p.printed...)
}
