package creation_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// factsOf is what can be seen from outside of a first process that waits for its start, without what differs by chance.
func factsOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	return map[string]string{
		"status": statusOf(t, pid), "mounts": mountsOf(t, pid), "devices": nodesOf(t, pid, "dev"), "limits": fileOf(t, pid, "limits"),
		"cgroups": fileOf(t, pid, "cgroup"), "score": fileOf(t, pid, "oom_score_adj"), "root": linkOf(t, pid, "root"), "folder": linkOf(t, pid, "cwd"),
		"settings of cgroups": settingsOf(t, pid),
	}
}

// settingsOf is what can be set in the process's cgroups, in each hierarchy, and whose they are.
func settingsOf(t *testing.T, pid int) string {
	t.Helper()
	group := ""
	for line := range strings.Lines(fileOf(t, pid, "cgroup")) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f[2]) > len(group) { // it may have none in some hierarchies
			group = f[2]
		}
	}
	if group == "" || group == "/" {
		t.Fatal("it has no cgroup")
	}
	var out strings.Builder
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		folders, _ := filepath.Glob(filepath.Join(pattern, group))
		for _, folder := range folders {
			var st unix.Stat_t
			if err := unix.Stat(folder, &st); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s %o %d:%d\n", folder, st.Mode, st.Uid, st.Gid)
			files, _ := filepath.Glob(filepath.Join(folder, "*.*"))
			for _, file := range files {
				name := filepath.Base(file)
				st, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				// Others are measured, or lists of processes.
				isSetting := st.Mode().Perm() == 0o644 && !slices.ContainsFunc([]string{"usage", "procs", "threads", "failcnt", "pressure", "peak"},
					func(s string) bool { return strings.Contains(name, s) })
				if text, err := os.ReadFile(file); err == nil && isSetting || name == "devices.list" {
					fmt.Fprintf(&out, "%s %s\n", name, strings.TrimSpace(string(text)))
				}
			}
		}
	}
	return out.String()
}

func fileOf(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func linkOf(t *testing.T, pid int, name string) string {
	t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// statusOf is what the kernel says of a process that doesn't change by chance.
func statusOf(t *testing.T, pid int) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(fileOf(t, pid, "status")) {
		key, _, _ := strings.Cut(line, ":")
		if slices.Contains([]string{
			"Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
			"NoNewPrivs", "Seccomp", "Seccomp_filters", "Speculation_Store_Bypass", "SpeculationIndirectBranch", "Cpus_allowed",
		}, key) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// mountsOf is the table of mounts: for each, in their order, the mount that it is on, what of which file system it shows, where, with
// which options and propagation.
func mountsOf(t *testing.T, pid int) string {
	t.Helper()
	places := map[string]string{}
	var out strings.Builder
	for line := range strings.Lines(fileOf(t, pid, "mountinfo")) {
		f := strings.Fields(line)
		if strings.HasPrefix(f[4], "/dev/shm/") {
			continue // may be the host's, where anybody mounts and unmounts
		}
		places[f[0]] = f[4]
		on, ok := places[f[1]]
		if !ok {
			on = "nothing"
		}
		device := f[2]
		if strings.HasPrefix(device, "0:") {
			device = "none" // of its own, or the next free number
		}
		fmt.Fprintln(&out, on, device, strings.Join(f[3:], " "))
	}
	return out.String()
}

// nodesOf is what is in a folder of the container.
func nodesOf(t *testing.T, pid int, name string) string {
	t.Helper()
	var out strings.Builder
	root := fmt.Sprintf("/proc/%d/root/%s", pid, name)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := os.Lstat(path)
		if err != nil {
			return err
		}
		to, _ := os.Readlink(path)
		sys := st.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&out, "%s %v %d:%d %d:%d %s\n", strings.TrimPrefix(path, root), st.Mode(), sys.Uid, sys.Gid, unix.Major(sys.Rdev), unix.Minor(sys.Rdev), to)
		if d.Name() == "shm" {
			return fs.SkipDir // what is in there may be the host's
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
