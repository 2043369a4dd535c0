package hostfacts

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/contrib/apparmor"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	hostapparmor "github.com/containerd/containerd/v2/pkg/apparmor"
	hostseccomp "github.com/containerd/containerd/v2/pkg/seccomp"
	"golang.org/x/sys/unix"

	"berth/engine/spec"
)

// AppArmorProfile is the name of the profile that LoadAppArmor loads.
const AppArmorProfile = "berth-default"

// Read gives the facts that hold as long as the engine runs. roots are the engine's own folders;
// cgroupParent is where containers go, such as "/berth".
func Read(cgroupParent string, roots ...string) (spec.Host, error) {
	h := spec.Host{
		Arch:         runtime.GOARCH,
		CgroupParent: cgroupParent,
		Roots:        roots,
		Ulimits:      ulimits(),
	}
	var err error
	if h.Kernel, err = kernel(); err != nil {
		return spec.Host{}, err
	}
	h.RecursiveReadOnly = h.Kernel[0] > 5 || h.Kernel[0] == 5 && h.Kernel[1] >= 12 // mount_setattr(2)
	if h.Cgroup, err = cgroup(); err != nil {
		return spec.Host{}, fmt.Errorf("read the host's control groups: %w", err)
	}
	if hostseccomp.IsEnabled() {
		h.Seccomp = seccomp.DefaultProfile
	}
	if err := capabilities(&h); err != nil {
		return spec.Host{}, err
	}
	if h.OOMScoreAdj, err = oomScoreAdj(); err != nil {
		return spec.Host{}, err
	}
	if h.Devices, err = hostDevices(); err != nil {
		return spec.Host{}, fmt.Errorf("list the host's devices: %w", err)
	}
	return h, nil
}

// LoadAppArmor loads the default profile and gives its name for spec.Host; "" if the host has no AppArmor.
func LoadAppArmor() (string, error) {
	if !hostapparmor.HostSupports() {
		return "", nil
	}
	if err := apparmor.LoadDefaultProfile(AppArmorProfile); err != nil {
		return "", fmt.Errorf("load AppArmor profile %s: %w", AppArmorProfile, err)
	}
	return AppArmorProfile, nil
}

func kernel() ([2]int, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return [2]int{}, fmt.Errorf("read the kernel's version: %w", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	var v [2]int
	if _, err := fmt.Sscanf(release, "%d.%d", &v[0], &v[1]); err != nil {
		return v, fmt.Errorf("read the kernel's version %q: %w", release, err)
	}
	return v, nil
}

// capabilities are the engine's bounding set; CAP_SYS_RESOURCE lets it raise limits.
func capabilities(h *spec.Host) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	bounding, err1 := statusMask(status, "CapBnd:")
	effective, err2 := statusMask(status, "CapEff:")
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	h.Unlimited = effective&(1<<unix.CAP_SYS_RESOURCE) != 0
	h.Capabilities = []string{} // nil would say that there is no limit
	for number, name := range spec.AllCapabilities() {
		if bounding&(1<<number) != 0 {
			h.Capabilities = append(h.Capabilities, name)
		}
	}
	return nil
}

func statusMask(status []byte, field string) (uint64, error) {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(field)); ok {
			return strconv.ParseUint(strings.TrimSpace(string(rest)), 16, 64)
		}
	}
	return 0, fmt.Errorf("no line %s", field)
}

func oomScoreAdj() (int, error) {
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0, fmt.Errorf("read own oom_score_adj: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// ulimits are the engine's hard limits, by compose's names.
func ulimits() map[string]uint64 {
	all := map[string]uint64{}
	for name, resource := range map[string]int{
		"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
		"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
		"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
		"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
		"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
	} {
		var limit unix.Rlimit
		if unix.Getrlimit(resource, &limit) == nil {
			all[name] = limit.Max
		}
	}
	return all
}

// exists tells whether any file fits the pattern.
func exists(pattern string) bool {
	found, err := filepath.Glob(pattern)
	return err == nil && len(found) > 0
}
