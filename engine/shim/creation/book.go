package creation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"
)

// book is what runc keeps of a container beside its configuration, in the file state.json. Its members are those of
// libcontainer's State.
type book struct {
	ID                   string                           `json:"id"`
	InitProcessPid       int                              `json:"init_process_pid"`
	InitProcessStartTime uint64                           `json:"init_process_start"`
	Created              time.Time                        `json:"created"`
	CgroupPaths          map[string]string                `json:"cgroup_paths,omitempty"`
	NamespacePaths       map[configs.NamespaceType]string `json:"namespace_paths"`
	ExternalDescriptors  []string                         `json:"external_descriptors,omitempty"`
}

// write puts the book in its place, whole.
func (b *book) write(dir string, c *configs.Config, filter []byte) error {
	temporary := filepath.Join(dir, "state-")
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(writeWith(f, b, c, filter), f.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(dir, "state.json"))
}

// writeWith writes an object as JSON to which the configuration is added, and to that the filter, if there is one. Nothing is
// put together in memory: the filter is most of it, and whoever makes many containers would collect more than it makes.
func writeWith(w io.Writer, object any, c *configs.Config, filter []byte) error {
	outer, err := json.Marshal(object)
	if err != nil {
		return err
	}
	inner, err := json.Marshal(c)
	if err != nil {
		return err
	}
	pieces := [][]byte{append(outer[:len(outer)-1], `,"config":`...), inner, []byte("}")}
	if filter != nil {
		pieces = [][]byte{pieces[0], append(inner[:len(inner)-1], `,"seccomp":`...), filter, []byte("}}")}
	}
	for _, piece := range pieces {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

func namespacePaths(pid int) map[configs.NamespaceType]string {
	paths := map[configs.NamespaceType]string{}
	for _, kind := range configs.NamespaceTypes() {
		if configs.IsNamespaceSupported(kind) {
			ns := configs.Namespace{Type: kind}
			paths[kind] = ns.GetPath(pid)
		}
	}
	return paths
}

// startTime is when a process began, in the kernel's ticks: with its number it names the process for all time.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, second and in brackets, may have anything in it; the start is field 22.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("read when process %d began: %q", pid, b)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// descriptors names what the container's standard streams are on the host.
func (b *birth) descriptors() ([]string, error) {
	names := []string{os.DevNull, "", ""}
	for i, f := range b.stdio {
		if f == nil {
			continue
		}
		fd, err := descriptor(f)
		if err != nil {
			return nil, err
		}
		if names[i], err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
			return nil, err
		}
	}
	return names, nil
}
