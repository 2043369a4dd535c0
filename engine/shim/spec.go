package shim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// bundleSpec is what the shim needs of a container's spec.
type bundleSpec struct {
	Annotations map[string]string `json:"annotations"`
	Linux       struct {
		CgroupsPath string `json:"cgroupsPath"`
		Namespaces  []struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"namespaces"`
	} `json:"linux"`
}

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

// netns is the file at which the container's network namespace is pinned, "" if it has none of its own.
func (s bundleSpec) netns() string {
	for _, n := range s.Linux.Namespaces {
		if n.Type == "network" {
			return n.Path
		}
	}
	return ""
}

// ownPIDs says that the container has a PID namespace of its own, whose processes all end with the first one.
func (s bundleSpec) ownPIDs() bool {
	for _, n := range s.Linux.Namespaces {
		if n.Type == "pid" {
			return n.Path == ""
		}
	}
	return false
}
