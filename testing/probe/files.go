package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func env(args []string) error {
	if len(args) == 0 {
		for _, line := range sortedEnviron() {
			fmt.Println(line)
		}
		return nil
	}
	for _, name := range args {
		value, set := os.LookupEnv(name)
		if !set {
			return fmt.Errorf("%s is not set", name)
		}
		fmt.Println(value)
	}
	return nil
}

func printArgs(args []string) error {
	for _, a := range args {
		fmt.Println(strconv.Quote(a))
	}
	return nil
}

func cat(args []string) error {
	for _, name := range args {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(text); err != nil {
			return err
		}
	}
	return nil
}

func ls(args []string) error {
	for _, name := range args {
		entries, err := os.ReadDir(name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			fmt.Println(e.Name())
		}
	}
	return nil
}

func stat(args []string) error {
	for _, name := range args {
		st, err := os.Lstat(name)
		if err != nil {
			return err
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: no owner is known", name)
		}
		fmt.Printf("%04o %d:%d %d %s\n", sys.Mode&0o7777, sys.Uid, sys.Gid, st.Size(), name)
	}
	return nil
}

func write(args []string) error {
	if err := os.MkdirAll(filepath.Dir(args[0]), 0o755); err != nil {
		return err
	}
	return os.WriteFile(args[0], []byte(args[1]+"\n"), 0o644)
}

func writeInto(args []string) error {
	return write([]string{filepath.Join(os.Getenv(args[0]), args[1]), args[2]})
}

func remove(args []string) error {
	for _, name := range args {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

func exchange(args []string) error {
	for {
		for i := 0; i+1 < len(args); i += 2 {
			if err := unix.Renameat2(unix.AT_FDCWD, args[i], unix.AT_FDCWD, args[i+1], unix.RENAME_EXCHANGE); err != nil {
				return err
			}
		}
	}
}

func mounts(args []string) error {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || len(args) > 0 && !strings.HasPrefix(fields[1], args[0]) {
			continue
		}
		fmt.Println(fields[1], fields[2], fields[3])
	}
	return nil
}

func waitForFile(args []string) error {
	timeout := time.Minute
	if len(args) > 1 {
		var err error
		if timeout, err = time.ParseDuration(args[1]); err != nil {
			return usageError(err.Error())
		}
	}
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(args[0]); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s isn't there after %v", args[0], timeout)
}

func okAfter(args []string) error {
	want, err := strconv.Atoi(args[1])
	if err != nil {
		return usageError(err.Error())
	}
	text, err := os.ReadFile(args[0])
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	calls, _ := strconv.Atoi(strings.TrimSpace(string(text))) // no file: none
	calls++
	if err := os.WriteFile(args[0], []byte(strconv.Itoa(calls)), 0o644); err != nil {
		return err
	}
	if calls < want {
		return fmt.Errorf("call %d of %d", calls, want)
	}
	return nil
}

func okIf(args []string) error {
	_, err := os.Stat(args[0])
	return err
}

func sysctl(args []string) error {
	for _, name := range args {
		text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if err != nil {
			return err
		}
		fmt.Print(string(text))
	}
	return nil
}

func devices(args []string) error {
	for _, name := range args {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			fmt.Println(err)
			continue
		}
		f.Close()
		fmt.Println("open", name, "ok")
	}
	return nil
}

func contains(args []string) error {
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), args[1]) {
		return fmt.Errorf("%s is %q", args[0], text)
	}
	return nil
}

func fill(args []string) error {
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	if _, err := io.CopyN(f, rand.Reader, n); err != nil {
		return err
	}
	return f.Close()
}
