package hostfacts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/engine/spec"
)

// cgroupRoot is where every distribution mounts control groups.
const cgroupRoot = "/sys/fs/cgroup"

// cgroup reads what the control groups can do. With version 2 in part ("hybrid"), version 1's controllers count.
func cgroup() (spec.Cgroup, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &fs); err != nil {
		return spec.Cgroup{}, err
	}
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return cgroup2()
	}
	return cgroup1(), nil
}

func cgroup2() (spec.Cgroup, error) {
	text, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return spec.Cgroup{}, err
	}
	controllers := strings.Fields(string(text))
	has := func(name string) bool { return slices.Contains(controllers, name) }
	return spec.Cgroup{
		V2: true, CPU: has("cpu"), CPUSet: has("cpuset"), Memory: has("memory"), Pids: has("pids"),
		BlkIO: has("io"), HugeTLB: has("hugetlb"), Devices: true, // devices are a BPF program
		// The root has no such file: any group below tells.
		Swap:        has("memory") && (exists(cgroupRoot+"/*/memory.swap.max") || !exists(cgroupRoot+"/*/memory.max")),
		BlkIOWeight: has("io") && (exists(cgroupRoot+"/*/io.weight") || exists(cgroupRoot+"/*/io.bfq.weight")),
	}, nil
}

func cgroup1() spec.Cgroup {
	has := func(file string) bool { return exists(cgroupRoot + "/" + file) }
	return spec.Cgroup{
		CPU: has("cpu/cpu.shares") && has("cpu/cpu.cfs_quota_us"), CPUSet: has("cpuset/cpuset.cpus"),
		CPURealtime: has("cpu/cpu.rt_runtime_us"),
		Memory:      has("memory/memory.limit_in_bytes"), Swap: has("memory/memory.memsw.limit_in_bytes"),
		Swappiness: has("memory/memory.swappiness"), OOMKill: has("memory/memory.oom_control"),
		BlkIO: has("blkio/blkio.throttle.read_bps_device"), BlkIOWeight: has("blkio/blkio.weight") || has("blkio/blkio.bfq.weight"),
		Pids: has("pids/cgroup.procs"), Devices: has("devices/devices.allow"), HugeTLB: has("hugetlb/cgroup.procs"),
	}
}
