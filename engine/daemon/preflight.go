package daemon

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/cgroups/v3"

	"berth/engine/api"
)

// preflight finds what makes it impossible to run containers, before anything is changed.
func preflight(cfg Config) error {
	if os.Geteuid() != 0 {
		return refuse("berth needs root to run containers", "run it as root, or with sudo")
	}
	if cgroups.Mode() == cgroups.Unavailable {
		return refuse("no control groups are mounted at /sys/fs/cgroup", "mount them: mount -t cgroup2 none /sys/fs/cgroup")
	}
	for _, p := range []string{cfg.Shim, cfg.Init, cfg.Runc} {
		if _, err := os.Stat(p); err != nil {
			return refuse(fmt.Sprintf("a part of berth is missing: %v", err), "use the one file that make build gives, bin/berth")
		}
	}
	for _, ns := range []string{"net", "pid", "mnt", "uts", "ipc"} {
		if _, err := os.Stat(filepath.Join("/proc/self/ns", ns)); err != nil {
			return refuse(fmt.Sprintf("the kernel has no %s namespaces", ns), "use a kernel with namespaces (CONFIG_NAMESPACES)")
		}
	}
	return nil
}

func refuse(why, hint string) error {
	return &api.Error{Class: api.ClassFailedPrecondition, Message: "start the engine: " + why, HintText: hint}
}
