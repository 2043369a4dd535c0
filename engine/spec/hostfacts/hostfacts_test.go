package hostfacts_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/engine/spec/hostfacts"
	"berth/testing/host"
)

func TestReadTellsWhatTheKernelSays(t *testing.T) {
	h, err := hostfacts.Read("/berth", "/var/lib/berth")
	if err != nil {
		t.Fatal(err)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	if want := strconv.Itoa(h.Kernel[0]) + "." + strconv.Itoa(h.Kernel[1]); !strings.HasPrefix(string(release), want) {
		t.Errorf("kernel %v, want %s", h.Kernel, release)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var mask uint64
	for number, name := range capabilityNumbers(t) {
		if slices.Contains(h.Capabilities, name) {
			mask |= 1 << number
		}
	}
	if want := "CapBnd:\t" + leftPad(strconv.FormatUint(mask, 16)); !strings.Contains(string(status), want) {
		t.Errorf("capabilities %v make %s", h.Capabilities, want)
	}
	var nofile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile); err != nil {
		t.Fatal(err)
	}
	if h.Ulimits["nofile"] != nofile.Max || len(h.Ulimits) != 16 {
		t.Errorf("ulimits %v, want nofile %d", h.Ulimits, nofile.Max)
	}
	if h.CgroupParent != "/berth" || !slices.Equal(h.Roots, []string{"/var/lib/berth"}) {
		t.Errorf("parent %q, roots %v", h.CgroupParent, h.Roots)
	}
	if strings.Contains(string(status), "Seccomp:") != (h.Seccomp != nil) {
		t.Error("seccomp is not what the kernel says")
	}
}

// capabilityNumbers: those the kernel knows, by number, from a table of the kernel's that is not ours.
func capabilityNumbers(t *testing.T) map[int]string {
	t.Helper()
	return map[int]string{
		0: "CAP_CHOWN", 1: "CAP_DAC_OVERRIDE", 2: "CAP_DAC_READ_SEARCH", 3: "CAP_FOWNER", 4: "CAP_FSETID", 5: "CAP_KILL", 6: "CAP_SETGID",
		7: "CAP_SETUID", 8: "CAP_SETPCAP", 9: "CAP_LINUX_IMMUTABLE", 10: "CAP_NET_BIND_SERVICE", 11: "CAP_NET_BROADCAST",
		12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW", 14: "CAP_IPC_LOCK", 15: "CAP_IPC_OWNER", 16: "CAP_SYS_MODULE", 17: "CAP_SYS_RAWIO",
		18: "CAP_SYS_CHROOT", 19: "CAP_SYS_PTRACE", 20: "CAP_SYS_PACCT", 21: "CAP_SYS_ADMIN", 22: "CAP_SYS_BOOT", 23: "CAP_SYS_NICE",
		24: "CAP_SYS_RESOURCE", 25: "CAP_SYS_TIME", 26: "CAP_SYS_TTY_CONFIG", 27: "CAP_MKNOD", 28: "CAP_LEASE", 29: "CAP_AUDIT_WRITE",
		30: "CAP_AUDIT_CONTROL", 31: "CAP_SETFCAP", 32: "CAP_MAC_OVERRIDE", 33: "CAP_MAC_ADMIN", 34: "CAP_SYSLOG", 35: "CAP_WAKE_ALARM",
		36: "CAP_BLOCK_SUSPEND", 37: "CAP_AUDIT_READ", 38: "CAP_PERFMON", 39: "CAP_BPF", 40: "CAP_CHECKPOINT_RESTORE",
	}
}

func leftPad(hex string) string { return strings.Repeat("0", 16-len(hex)) + hex }

func TestDevices(t *testing.T) {
	host.Require(t, host.Root)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bus", "shm"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bus/null", "bus/shm/hidden"} {
		if err := unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR|0o640, int(unix.Mkdev(1, 3))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "bus", "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("bus", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"a node":          {"bus/null", "bus/null"},
		"a folder":        {"bus", "bus/null"},
		"a link to one":   {"link", "link/null"},
		"a file is none":  {"bus/file", ""},
		"nodes elsewhere": {"bus/shm", "bus/shm/hidden"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := hostfacts.Devices(filepath.Join(dir, c.path))
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if len(got) != 0 {
					t.Errorf("got %v", paths(got))
				}
				return
			}
			if len(got) != 1 || got[0].Path != filepath.Join(dir, c.want) || got[0].Type != "c" || got[0].Major != 1 || got[0].Minor != 3 || got[0].FileMode.Perm() != 0o640 {
				t.Errorf("got %v", got)
			}
		})
	}
	if _, err := hostfacts.Devices(filepath.Join(dir, "gone")); err == nil {
		t.Error("no error for a path that isn't there")
	}
}

func TestHostDevicesLeaveOutTheContainersOwn(t *testing.T) {
	h, err := hostfacts.Read("/berth")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths(h.Devices) {
		if path == "/dev/null" || path == "/dev/console" || strings.HasPrefix(path, "/dev/pts/") {
			t.Errorf("%s is among them", path)
		}
	}
}

func paths(all []specs.LinuxDevice) []string {
	var out []string
	for _, d := range all {
		out = append(out, d.Path)
	}
	return out
}

func TestBlockDevice(t *testing.T) {
	host.Require(t, host.Root)
	node := filepath.Join(t.TempDir(), "disk")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(8, 17))); err != nil {
		t.Fatal(err)
	}
	if got, err := hostfacts.BlockDevice(node); err != nil || got != [2]int64{8, 17} {
		t.Errorf("got %v, %v", got, err)
	}
	for _, path := range []string{"/dev/null", filepath.Join(t.TempDir(), "gone")} {
		if _, err := hostfacts.BlockDevice(path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}
