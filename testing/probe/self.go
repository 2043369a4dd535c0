package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// self prints all that a process inherits or is given, one fact a line. What differs from process to process though
// nothing differs, such as the numbers of pipes, is left out.
func self([]string) error { return describe(os.Stdout) }

// selves writes what self prints to a file of its own: 1, then 2 ... It is there as a whole or not at all.
func selves(args []string) error {
	var text bytes.Buffer
	if err := describe(&text); err != nil {
		return err
	}
	if err := os.MkdirAll(args[0], 0o777); err != nil {
		return err
	}
	for n := 1; ; n++ {
		file := filepath.Join(args[0], strconv.Itoa(n))
		if _, err := os.Lstat(file); err == nil {
			continue
		}
		if err := os.WriteFile(file+".new", text.Bytes(), 0o644); err != nil {
			return err
		}
		return os.Rename(file+".new", file)
	}
}

func describe(w io.Writer) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	// A runtime's own are left out: memory, threads, signals that are handled.
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		if slices.Contains([]string{
			"Umask", "TracerPid", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
			"NoNewPrivs", "Seccomp", "Seccomp_filters", "Speculation_Store_Bypass", "Cpus_allowed", "Mems_allowed",
		}, key) {
			fmt.Fprintln(w, key, strings.Join(strings.Fields(value), " "))
		}
	}
	for _, file := range []string{"limits", "cgroup", "oom_score_adj", "personality", "loginuid", "attr/current"} {
		text, err := os.ReadFile("/proc/self/" + file)
		if err != nil {
			text = []byte("cannot be read")
		}
		for line := range strings.Lines(string(text)) {
			fmt.Fprintln(w, file, strings.Join(strings.Fields(line), " "))
		}
	}
	selfLinks(w)
	pid := os.Getpid()
	session, err := unix.Getsid(0)
	fmt.Fprintln(w, "leads its session", session == pid, err, "and its group", unix.Getpgrp() == pid, "and has a parent here", os.Getppid() != 0)
	ring, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	fmt.Fprintln(w, "has a session keyring", ring != 0, err)
	fmt.Fprintln(w, "args", strings.Join(os.Args, " "))
	for _, line := range sortedEnviron() {
		fmt.Fprintln(w, "env", line)
	}
	return nil
}

// selfLinks prints what a process holds on to.
func selfLinks(w io.Writer) {
	for _, ns := range []string{"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "user", "uts"} {
		to, err := os.Readlink("/proc/self/ns/" + ns)
		fmt.Fprintln(w, "namespace", ns, to, err)
	}
	for _, link := range []string{"cwd", "root", "exe"} {
		to, err := os.Readlink("/proc/self/" + link)
		fmt.Fprintln(w, link, to, err)
	}
	for fd := range 1024 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		fmt.Fprintf(w, "descriptor %d mode %o owner %d flags %o %v\n", fd, st.Mode&syscall.S_IFMT, st.Uid, flags, err)
	}
}

func keyring([]string) error {
	text, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, unix.KEY_SPEC_SESSION_KEYRING)
	if err != nil {
		return err
	}
	fmt.Println(text)
	return nil
}
