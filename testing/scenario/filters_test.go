package scenario_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"berth/testing/scenario"
)

const filteredFile = `
services:
  first: {image: probe, command: sleep}
  again: {image: probe, command: sleep, depends_on: [first]}
  last: {image: probe, command: sleep, depends_on: [again]}
  powerful: {image: probe, command: sleep, cap_add: [SYS_ADMIN], depends_on: [first]}
  own: {image: probe, command: sleep, security_opt: ["seccomp:own.json"], depends_on: [first]}
`

const ownFilter = `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
  "syscalls": [{"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "args": []}]}`

// A filter is compiled for the first container that needs it, and kept for the others.
func TestAKeptSeccompFilterIsTheOneThatWasAskedFor(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("filters", filteredFile, "own.json", ownFilter)
	f.Must("up", "-d")

	s.Step("containers with the same profile have the same filter, whether it was compiled for them or kept")
	first := filterOf(t, pidOf(t, f, "first"))
	for _, service := range []string{"again", "last"} {
		if got := filterOf(t, pidOf(t, f, service)); !slices.Equal(got, first) {
			t.Errorf("the filter of %s is not that of the first container", service)
		}
	}

	s.Step("other rights or another profile make another filter")
	powerful, own := filterOf(t, pidOf(t, f, "powerful")), filterOf(t, pidOf(t, f, "own"))
	if slices.Equal(powerful, first) || slices.Equal(own, first) || slices.Equal(own, powerful) {
		t.Error("containers with different profiles have the same filter")
	}
	for _, r := range []struct {
		service, command string
		refused          bool
	}{{"again", "unshare", true}, {"last", "unshare", true}, {"powerful", "unshare", false}, {"own", "unshare", false}} {
		if got := f.Berth("exec", "-T", r.service, "/probe", r.command); strings.Contains(got.Stderr, "not permitted") != r.refused {
			t.Errorf("%s in %s: %s", r.command, r.service, got)
		}
	}
	if got := f.Berth("exec", "-T", "own", "/probe", "write", "/a/b", "x"); got.Code == 0 {
		t.Errorf("the profile of one's own lets folders be made: %s", got)
	}

	s.Step("what is kept is for later containers as well, and after a restart of the engine")
	s.KillEngine()
	f.Must("up", "-d", "--force-recreate", "--no-deps", "again", "own")
	if got := filterOf(t, pidOf(t, f, "again")); !slices.Equal(got, first) {
		t.Error("a new container has another filter than the one before")
	}
	if got := filterOf(t, pidOf(t, f, "own")); !slices.Equal(got, own) {
		t.Error("a new container with a profile of its own has another filter than the one before")
	}
}

// pidOf gives a service's first process, in the host's numbers: the oldest one. The others are its children, and its checks of the moment.
func pidOf(t *testing.T, f *scenario.Folder, service string) (first int) {
	t.Helper()
	pids := pidsOf(f, service)
	var since int64
	for _, pid := range pids {
		parent, started, err := origin(pid)
		if err != nil {
			continue // it was a check
		}
		if first == 0 || started < since || started == since && !slices.Contains(pids, parent) {
			first, since = pid, started
		}
	}
	if first == 0 {
		t.Fatalf("top of %s shows no process", service)
	}
	return first
}

// pidsOf gives the processes of services, of all if none is named, in the host's numbers.
func pidsOf(f *scenario.Folder, services ...string) (pids []int) {
	for _, line := range f.Must(append([]string{"top"}, services...)...).Lines() {
		var name, number, user string // which may be a number too
		var pid int
		if _, err := fmt.Sscan(line, &name, &number, &user, &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// origin gives a process's parent, and when it was started, in the kernel's ticks.
func origin(pid int) (parent int, started int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// After the name, which may have anything in it, the 3rd field is the first.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("the state of process %d: %q", pid, text)
	}
	parent, perr := strconv.Atoi(fields[1])
	started, serr := strconv.ParseInt(fields[19], 10, 64)
	return parent, started, errors.Join(perr, serr)
}

// filterOf gives what the kernel's filter of a process says to each system call, of every architecture, with several
// arguments. runc puts the architectures in another order each time, so that the programs differ.
func filterOf(t *testing.T, pid int) (verdicts []int) {
	t.Helper()
	raw, err := readFilter(pid)
	if err != nil {
		t.Fatalf("the filter of process %d: %v", pid, err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatalf("the filter of process %d can't be read", pid)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	const x32 = 1 << 30
	for _, arch := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64, 0} {
		for _, base := range []uint32{0, x32} {
			for call := range uint32(1000) {
				for _, arg := range []uint64{0, 1, 8, unix.CLONE_NEWUSER, unix.AF_VSOCK, 1 << 40} {
					verdict, err := vm.Run(callData(arch, base|call, arg))
					if err != nil {
						t.Fatal(err)
					}
					verdicts = append(verdicts, verdict)
				}
			}
		}
	}
	return verdicts
}

// callData is the kernel's struct seccomp_data, with all arguments the same. Its words are in the order of networks, as
// package bpf takes them for a packet's.
func callData(arch, call uint32, arg uint64) []byte {
	b := make([]byte, 0, 64)
	for _, word := range []uint32{call, arch, 0, 0} {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	for range 6 {
		b = binary.BigEndian.AppendUint32(b, uint32(arg))
		b = binary.BigEndian.AppendUint32(b, uint32(arg>>32))
	}
	return b
}

func readFilter(pid int) ([]bpf.RawInstruction, error) {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	defer func() { _ = unix.PtraceDetach(pid) }()
	if err := unix.PtraceInterrupt(pid); err != nil {
		return nil, fmt.Errorf("interrupt: %w", err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return nil, fmt.Errorf("wait: %w", err)
	}
	ask := func(to unsafe.Pointer) (int, error) {
		n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), 0, uintptr(to), 0, 0)
		if errno != 0 {
			return 0, fmt.Errorf("get filter: %w", errno)
		}
		return int(n), nil
	}
	n, err := ask(nil)
	if err != nil {
		return nil, err
	}
	program := make([]bpf.RawInstruction, n) // the same shape as the kernel's struct sock_filter
	_, err = ask(unsafe.Pointer(&program[0]))
	return program, err
}
