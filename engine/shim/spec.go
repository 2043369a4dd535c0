package shim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/shim/creation"
)

// bundleSpec is what the shim needs of a container's spec.
type bundleSpec struct {
	Annotations map[string]string `json:"annotations"`
	Linux       struct {
		CgroupsPath string                 `json:"cgroupsPath"`
		Namespaces  []specs.LinuxNamespace `json:"namespaces"`
	} `json:"linux"`
}

// readSpec reads what the shim needs whatever else there is.
func readSpec(bundle string) (bundleSpec, error) {
	var s bundleSpec
	b, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return bundleSpec{}, fmt.Errorf("read spec: %w", err)
	}
	return s, nil
}

// readWhole reads a spec once for all who need it. What package creation doesn't know has no whole: that is nil.
func readWhole(bundle string) (bundleSpec, *creation.Spec, error) {
	whole, err := creation.Read(bundle)
	if err != nil {
		s, err := readSpec(bundle)
		return s, nil, err
	}
	s := bundleSpec{Annotations: whole.Annotations}
	s.Linux.CgroupsPath, s.Linux.Namespaces = whole.Linux.CgroupsPath, whole.Linux.Namespaces
	return s, whole, nil
}

// netns is the file at which the container's network namespace is pinned, "" if it has none of its own.
func (s bundleSpec) netns() string {
	for _, n := range s.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace {
			return n.Path
		}
	}
	return ""
}

// ownPIDs says that the container has a PID namespace of its own, whose processes all end with the first one.
func (s bundleSpec) ownPIDs() bool {
	for _, n := range s.Linux.Namespaces {
		if n.Type == specs.PIDNamespace {
			return n.Path == ""
		}
	}
	return false
}
