package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func sortedEnviron() []string {
	lines := os.Environ()
	slices.Sort(lines)
	return lines
}

func id([]string) error {
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	slices.Sort(groups)
	fmt.Println("uid", os.Getuid())
	fmt.Println("gid", os.Getgid())
	fmt.Println("groups", strings.Trim(fmt.Sprint(groups), "[]"))
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		for _, key := range []string{"CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:", "Umask:"} {
			if strings.HasPrefix(line, key) {
				fmt.Println(strings.Join(strings.Fields(line), " "))
			}
		}
	}
	return nil
}

func limits([]string) error {
	for _, l := range []struct {
		name string
		kind int
	}{{"nofile", unix.RLIMIT_NOFILE}, {"nproc", unix.RLIMIT_NPROC}, {"core", unix.RLIMIT_CORE}, {"memlock", unix.RLIMIT_MEMLOCK}} {
		var r unix.Rlimit
		// The soft limit of open files is not what was given: Go's runtime raises it to the hard one.
		if err := unix.Getrlimit(l.kind, &r); err != nil {
			return err
		}
		fmt.Println(l.name, r.Cur, r.Max)
	}
	return nil
}

func tty([]string) error {
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		_, err := unix.IoctlGetTermios(i, unix.TCGETS)
		fmt.Println(name, err == nil)
	}
	if w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		fmt.Println("size", w.Row, w.Col)
	}
	return nil
}

func read([]string) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println("got:", lines.Text())
	}
	fmt.Println("end")
	return lines.Err()
}

// flood's lines begin with their number, so that a reader finds what is lost or doubled.
func flood(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return usageError(err.Error())
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return usageError(err.Error())
	}
	out := os.Stdout
	if len(args) > 2 && args[2] == "stderr" {
		out = os.Stderr
	}
	w := bufio.NewWriterSize(out, 1<<16)
	filling := strings.Repeat("x", max(size, 16))
	for i := 1; i <= n; i++ {
		number := strconv.Itoa(i) + " "
		if _, err := w.WriteString(number + filling[:max(0, size-len(number)-1)] + "\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}

func count(args []string) error {
	interval, err := time.ParseDuration(args[0])
	if err != nil {
		return usageError(err.Error())
	}
	endOnTerm()
	for i := 1; ; i++ {
		fmt.Println(i)
		time.Sleep(interval)
	}
}

func say(args []string) error {
	for _, text := range args {
		if rest, ok := strings.CutPrefix(text, "2:"); ok {
			fmt.Fprintln(os.Stderr, rest)
			continue
		}
		fmt.Println(text)
	}
	return nil
}

func sleep(args []string) error {
	endOnTerm()
	if len(args) == 0 {
		select {}
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return usageError(err.Error())
	}
	time.Sleep(d)
	return nil
}

func exit(args []string) error {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return usageError(err.Error())
	}
	if len(args) > 1 {
		if err := sleep(args[1:]); err != nil {
			return err
		}
	}
	os.Exit(code)
	return nil
}

func ignoreSignals([]string) error {
	c := make(chan os.Signal, 16)
	signal.Notify(c)
	fmt.Println("ignoring signals")
	for s := range c {
		if s != syscall.SIGURG { // the Go runtime's own
			fmt.Println("ignored", unix.SignalName(s.(syscall.Signal)))
		}
	}
	return nil
}

func signals([]string) error {
	c := make(chan os.Signal, 16)
	signal.Notify(c)
	fmt.Println("waiting for signals")
	for s := range c {
		if s == syscall.SIGURG {
			continue
		}
		fmt.Println("got", unix.SignalName(s.(syscall.Signal)))
		if s == syscall.SIGTERM {
			return nil
		}
	}
	return nil
}

func alloc(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return usageError(err.Error())
	}
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for i := 0; i < n; i += os.Getpagesize() {
		memory[i] = 1
	}
	fmt.Println("allocated", n)
	return sleep(nil)
}

func burn(args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return usageError(err.Error())
	}
	endOnTerm()
	rounds := 0
	for end := time.Now().Add(d); time.Now().Before(end); rounds++ {
	}
	fmt.Println("rounds", rounds)
	return nil
}

// forkZombie starts a process that starts another and ends; that other ends too, without a parent that waits
// for it but PID 1.
func forkZombie(args []string) error {
	if len(args) > 0 { // the one in between
		return exec.Command("/proc/self/exe", "exit", "0", "200ms").Start()
	}
	if err := exec.Command("/proc/self/exe", "fork-zombie", "between").Run(); err != nil {
		return err
	}
	fmt.Println("left a process behind")
	return sleep(nil)
}

func children([]string) error {
	c := exec.Command("/proc/self/exe", "sleep")
	if err := c.Start(); err != nil {
		return err
	}
	fmt.Println("child", c.Process.Pid)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.Wait()
}

func processes([]string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil { // it has ended meanwhile
			continue
		}
		state := "?"
		if at := strings.LastIndexByte(string(text), ')'); at >= 0 && at+2 < len(text) {
			state = string(text[at+2])
		}
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		fmt.Println(e.Name(), state, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
	}
	return nil
}

func mknod(args []string) error {
	if err := unix.Mknod(args[0], unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		return err
	}
	fmt.Println("made", args[0])
	return nil
}

func unshare([]string) error {
	if err := unix.Unshare(unix.CLONE_NEWUSER); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	fmt.Println("unshared")
	return nil
}
