package shim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/console"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// beRunc is an OCI runtime that isolates nothing: a container is a shell command on the host, which waits for its
// start at a pipe.
func beRunc(args []string) error {
	flags, rest := map[string]string{}, []string{}
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--root", "--log", "--log-format", "--bundle", "--pid-file", "--console-socket", "--format":
			flags[args[i]] = args[i+1]
			i++
		case "--force", "--all", "--no-pivot":
		default:
			rest = append(rest, args[i])
		}
	}
	if len(rest) < 2 {
		return fmt.Errorf("no such command: %q", args)
	}
	dir := filepath.Join(flags["--root"], rest[1])
	switch rest[0] {
	case "create":
		return create(dir, flags["--bundle"], flags["--pid-file"], flags["--console-socket"])
	case "start":
		return os.WriteFile(filepath.Join(dir, "start"), []byte("go\n"), 0)
	case "kill":
		return kill(dir, rest[2])
	case "delete":
		_ = kill(dir, "9")
		return os.RemoveAll(dir)
	case "ps":
		pid, err := os.ReadFile(filepath.Join(dir, "pid"))
		fmt.Printf("[%s]\n", pid)
		return err
	case "state":
		return json.NewEncoder(os.Stdout).Encode(map[string]any{"id": rest[1], "status": "running"})
	}
	return fmt.Errorf("no such command: %q", rest)
}

// createWaits is an annotation: "create" makes this file, and does no more until it is killed.
const createWaits = "test.waits"

func create(dir, bundle, pidFile, consoleSocket string) error {
	var spec specs.Spec
	b, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err == nil {
		err = json.Unmarshal(b, &spec)
	}
	if err == nil && spec.Annotations[createWaits] != "" {
		if err = os.WriteFile(spec.Annotations[createWaits], nil, 0o600); err == nil {
			err = syscall.Pause()
		}
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = syscall.Mkfifo(filepath.Join(dir, "start"), 0o600)
	}
	if err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("read x < %s; %s", filepath.Join(dir, "start"), spec.Process.Args[0]))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if consoleSocket != "" {
		if err := giveTerminal(cmd, consoleSocket); err != nil {
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := []byte(strconv.Itoa(cmd.Process.Pid))
	return errors.Join(os.WriteFile(filepath.Join(dir, "pid"), pid, 0o600), os.WriteFile(pidFile, pid, 0o600))
}

func giveTerminal(cmd *exec.Cmd, socket string) error {
	master, slave, err := console.NewPty()
	if err != nil {
		return err
	}
	tty, err := os.OpenFile(slave, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr.Setctty = true
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte("tty"), unix.UnixRights(int(master.Fd())), nil)
	return err
}

func kill(dir, signal string) error {
	b, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(signal)
	if err != nil {
		return err
	}
	if err := syscall.Kill(-pid, syscall.Signal(n)); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
