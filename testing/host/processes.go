package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// processes are those of an engine: its folders are in their command line or environment, or their root is a mount
// from there (the containers).
func processes(s Scope) ([]string, error) {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if why := belongs(pid, own, s); why != "" {
			lines = append(lines, fmt.Sprintf("%d %s (%s)", pid, commandOf(pid), why))
		}
	}
	return lines, nil
}

// belongs says how the process is known to be the engine's, "" if it isn't. A process may end at any
// time, so what can't be read is nothing.
func belongs(pid int, ownMounts string, s Scope) string {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	for _, name := range []string{"cmdline", "environ"} {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		for _, folder := range []string{s.Root, s.State} {
			if folder != "" && bytes.Contains(text, []byte(folder)) {
				return "its " + name + " has " + folder
			}
		}
	}
	if ns, err := os.Readlink(filepath.Join(dir, "ns/mnt")); err != nil || ns == ownMounts {
		return ""
	}
	if s.Root != "" && strings.Contains(rootMount(dir), s.Root+"/") {
		return "its root is from " + s.Root
	}
	return ""
}

// rootMount is the line of a process's mount table that is about its root. Other lines don't tell whose it is: a mount
// namespace begins as a copy of the host's, with everybody's mounts.
func rootMount(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "mountinfo"))
	root := ""
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/" {
			root = line // the last one covers those before
		}
	}
	return root
}

func commandOf(pid int) string {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	line := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
	if line == "" {
		name, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
		line = "[" + strings.TrimSpace(string(name)) + "]"
	}
	if len(line) > 160 {
		line = line[:160] + "..."
	}
	return line
}

// mounts are those at or below the engine's folders, pinned network namespaces among them.
func mounts(s Scope) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		at := fields[4]
		for _, folder := range []string{s.Root, s.State} {
			if folder != "" && (at == folder || strings.HasPrefix(at, folder+"/")) {
				lines = append(lines, at+" ("+kindOf(fields)+")")
				break
			}
		}
	}
	return lines, nil
}

// kindOf is the file system's type, which follows the "-" after the optional fields.
func kindOf(fields []string) string {
	for i, f := range fields {
		if f == "-" && i+1 < len(fields) {
			return fields[i+1]
		}
	}
	return "unknown"
}
