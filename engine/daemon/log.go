package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// logLimitBytes is how long an engine's log gets before another one is begun. One older is kept.
const logLimitBytes = 8 << 20

// logFile is an engine's log in a file of limited length. What Go itself writes at a crash goes there as well.
type logFile struct {
	path  string
	limit int64
	// outputs are the descriptors that lead to the file as well.
	outputs []int

	mu   sync.Mutex
	f    *os.File
	size int64
}

// OpenLog opens the log of an engine in the background, and makes it the process's standard output and error.
func OpenLog(path string) (io.Writer, error) {
	l := &logFile{path: path, limit: logLimitBytes, outputs: []int{1, 2}}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open the engine's log: %w", err)
	}
	return l, nil
}

// open opens the file, after moving away one that is too long.
func (l *logFile) open() error {
	if info, err := os.Stat(l.path); err == nil && info.Size() >= l.limit {
		if err := os.Rename(l.path, l.path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	for _, fd := range l.outputs {
		err = errors.Join(err, unix.Dup3(int(f.Fd()), fd, 0))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if l.f != nil {
		_ = l.f.Close() // all of it was written
	}
	l.f, l.size = f, info.Size()
	return nil
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size >= l.limit {
		if err := l.open(); err != nil {
			l.size = 0 // it goes on in the old one, and is tried again much later
		}
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return n, err
}
