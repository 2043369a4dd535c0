package logs

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Events closer than floodGap are a flood, of which is told once each floodPace.
	floodGap  = 10 * time.Millisecond
	floodPace = 4 * time.Millisecond
)

// watch tells of changes in folders. One goroutine serves all of them; it ends with close.
type watch struct {
	f      *os.File
	ctx    context.Context // of the watch's life
	cancel context.CancelFunc

	mu   sync.Mutex
	dirs map[int32]map[*func()]struct{}
}

func newWatch() (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, hinted{fmt.Errorf("watch logs: %w", err), "raise the sysctl fs.inotify.max_user_instances"}
	}
	w := &watch{f: os.NewFile(uintptr(fd), "inotify"), dirs: map[int32]map[*func()]struct{}{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	go w.run()
	return w, nil
}

func (w *watch) close() {
	w.cancel()
	_ = w.f.Close()
}

// add has changed called when something in dir is written or made, until remove is called.
func (w *watch) add(dir string, changed func()) (remove func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Fd would make the file blocking, so the descriptor is borrowed.
	raw, err := w.f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("watch log %q: %w", dir, err)
	}
	var wd int
	if cerr := raw.Control(func(fd uintptr) {
		wd, err = unix.InotifyAddWatch(int(fd), dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_ONLYDIR)
	}); cerr != nil {
		err = cerr
	}
	if err != nil {
		return nil, hinted{fmt.Errorf("watch log %q: %w", dir, err), "if it is a limit, raise the sysctl fs.inotify.max_user_watches"}
	}
	key := int32(wd)
	if w.dirs[key] == nil {
		w.dirs[key] = map[*func()]struct{}{}
	}
	w.dirs[key][&changed] = struct{}{}
	return func() { w.remove(key, &changed) }, nil
}

func (w *watch) remove(wd int32, changed *func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	listeners, ok := w.dirs[wd]
	if !ok {
		return
	}
	delete(listeners, changed)
	if len(listeners) > 0 {
		return
	}
	delete(w.dirs, wd)
	if raw, err := w.f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
	}
}

func (w *watch) run() {
	defer w.cancel()
	buf := make([]byte, 16<<10)
	var last time.Time
	for {
		n, err := w.f.Read(buf)
		if err != nil {
			return
		}
		w.tell(buf[:n])
		// What comes alone is told at once: somebody types. In a flood the kernel merges the events that wait.
		now := time.Now()
		if now.Sub(last) < floodGap {
			time.Sleep(floodPace)
		}
		last = now
	}
}

func (w *watch) tell(events []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for last := int32(-1); len(events) >= unix.SizeofInotifyEvent; {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		events = events[min(len(events), unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(events[12:]))):]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			for _, listeners := range w.dirs {
				call(listeners)
			}
		case mask&unix.IN_IGNORED != 0:
			// The folder is gone. Its number is not used again.
			call(w.dirs[wd])
			delete(w.dirs, wd)
		case wd != last:
			last = wd
			call(w.dirs[wd])
		}
	}
}

func call(listeners map[*func()]struct{}) {
	for l := range listeners {
		(*l)()
	}
}

type hinted struct {
	error
	hint string
}

func (h hinted) Hint() string  { return h.hint }
func (h hinted) Unwrap() error { return h.error }
