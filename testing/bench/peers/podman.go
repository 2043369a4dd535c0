package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// podmanGroup is the control group above podman's containers, where no systemd gives them one. It can't be chosen for all.
const podmanGroup = "libpod_parent"

// openPodman gives podman-compose with a podman that keeps all it has below dir. There is no engine: each verb starts podman
// for each of its steps.
func openPodman(ctx context.Context, folders []string, dir, _ string, wanted func(string) bool) (found []*Peer, err error) {
	compose, podman := Lookup(folders, "podman-compose"), Lookup(folders, "podman")
	if compose == "" || podman == "" {
		return nil, notThere("podman-compose with podman")
	}
	// Locks of podman's are in /dev/shm; crun refuses hosts that have both versions of control groups.
	place, err := NewPlace("/run", "/dev/shm", "/sys/fs/cgroup/unified")
	if err != nil {
		return nil, err
	}
	defer func() {
		if found == nil {
			err = errors.Join(err, place.Close())
		}
	}()
	env := append(os.Environ(), searchPath(append([]string{filepath.Dir(podman)}, folders...)), "HOME="+dir, "XDG_CONFIG_HOME="+dir,
		"CONTAINERS_CONF="+dir+"/containers.conf", "CONTAINERS_STORAGE_CONF="+dir+"/storage.conf", "CONTAINERS_REGISTRIES_CONF="+dir+"/registries.conf")
	if err := podmanSettings(dir, folders); err != nil {
		return nil, err
	}
	var version, number bytes.Buffer
	if err := run(ctx, place, env, dir, &number, compose, "version"); err != nil {
		return nil, err
	}
	if err := run(ctx, place, env, dir, &version, podman, "info", "--format",
		"podman {{.Version.Version}}, {{.Host.OCIRuntime.Name}}, {{.Host.NetworkBackend}}, {{.Store.GraphDriverName}}"); err != nil {
		return nil, err
	}
	p := &Peer{Name: "podman-compose " + numberOf(number.String()), Version: oneLine(version.String()), argv: []string{compose}, env: env, place: place}
	if !wanted(p.Name) {
		return nil, nil
	}
	_, groupErr := os.Stat("/sys/fs/cgroup/memory/" + podmanGroup)
	p.Load = func(ctx context.Context, archive string) error {
		return run(ctx, place, env, dir, io.Discard, podman, "load", "-i", archive)
	}
	p.close = func(ctx context.Context) error {
		errs := []error{run(ctx, place, env, dir, io.Discard, podman, "rm", "--all", "--force", "--time", "0"), place.Close()}
		if groupErr != nil { // it was not there before
			errs = append(errs, RemoveGroups(podmanGroup))
		}
		return errors.Join(errs...)
	}
	return []*Peer{p}, nil
}

// numberOf is the version in podman-compose's answer, which has more lines, of podman's.
func numberOf(answer string) string {
	for line := range strings.Lines(answer) {
		if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(line, "podman-compose") {
			return f[len(f)-1]
		}
	}
	return ""
}

// podmanSettings are the files without which podman would use the host's.
func podmanSettings(dir string, folders []string) error {
	quoted := func(programs ...string) string {
		var all []string
		for _, p := range programs {
			if path := Lookup(folders, p); path != "" {
				all = append(all, fmt.Sprintf("%q", path))
			}
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	var helpers []string
	for _, folder := range append(folders, "/usr/lib/podman", "/usr/libexec/podman") {
		helpers = append(helpers, fmt.Sprintf("%q", folder))
	}
	for name, text := range map[string]string{
		"containers.conf": fmt.Sprintf(`[containers]
log_driver = "k8s-file"
cgroups = "enabled"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
conmon_path = %s
helper_binaries_dir = [%s]
runtime = "crun"
image_copy_tmp_dir = "%s"
tmp_dir = "/run/libpod"
[engine.runtimes]
crun = %s
[network]
network_backend = "netavark"
network_config_dir = "%s/networks"
`, quoted("conmon"), strings.Join(helpers, ", "), dir, quoted("crun"), dir),
		"storage.conf":                   fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = \"%s/store\"\nrunroot = \"/run/containers/storage\"\n", dir),
		"registries.conf":                "unqualified-search-registries = []\n",
		"containers/policy.json":         `{"default": [{"type": "insecureAcceptAnything"}]}`,
		".config/containers/policy.json": `{"default": [{"type": "insecureAcceptAnything"}]}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
