package shim

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// logFD is where the engine hands the shim its own log: the pipe "log" in its folder, opened for both ways. So the pipe
// always has somebody at its end, and containerd's opening of it does not wait for an engine that was killed just then.
const logFD = 4

// openLog gives the shim's log. What is written while no engine reads it, and the pipe is full, is dropped: a shim that
// waits for a reader of its log answers nobody.
func openLog() io.Writer {
	var handed, named unix.Stat_t
	if unix.Fstat(logFD, &handed) != nil || unix.Stat("log", &named) != nil || handed.Dev != named.Dev || handed.Ino != named.Ino {
		return os.Stderr // started by containerd, or by hand
	}
	unix.CloseOnExec(logFD)
	if err := unix.SetNonblock(logFD, true); err != nil {
		return os.Stderr
	}
	return pipeLog{}
}

type pipeLog struct{}

// Write writes to the log, or drops the line.
func (pipeLog) Write(p []byte) (int, error) {
	if _, err := unix.Write(logFD, p); err != nil && err != unix.EAGAIN {
		return 0, err
	}
	return len(p), nil
}
