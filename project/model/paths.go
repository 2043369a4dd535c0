package model

import (
	"path"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/paths"
	"github.com/compose-spec/compose-go/v2/types"
)

// pathKind is the way in which a path is made absolute: done is false where compose-go has to.
type pathKind func(value any, dir string) (absolute any, done bool)

func pathKinds() map[string]pathKind {
	all := map[string]pathKind{
		"services.*.develop.watch.*.path": rarePath, "configs.*.file": hostPath, "secrets.*.file": hostPath, "volumes.*": driverPath,
	}
	for _, prefix := range []string{"services.*.", "jobs.*."} {
		all[prefix+"build.context"] = contextPath
		all[prefix+"build.additional_contexts.*"] = contextPath
		all[prefix+"build.ssh.*"] = hostPath
		all[prefix+"extends.file"] = plainPath
	}
	for _, prefix := range []string{"services.*.", "jobs.*.", "services.*.pre_start.*."} {
		all[prefix+"env_file.*.path"] = plainPath
		all[prefix+"label_file.*"] = plainPath
		all[prefix+"volumes.*"] = mountPath
	}
	return all
}

// resolvePaths makes paths absolute, or relative to another folder if dir is relative.
func (l *loader) resolvePaths(tree map[string]any, dir string) error {
	_, err := change(l.rules.paths, tree, nil, func(kind pathKind, value any, path []string) (any, error) {
		if absolute, done := kind(value, dir); done {
			return absolute, nil
		}
		single := alone(value, path)
		if err := paths.ResolveRelativePaths(single, dir, nil); err != nil {
			return nil, err
		}
		return pick(single, path), nil
	})
	return err
}

func rarePath(any, string) (any, bool) { return nil, false }

func plainPath(value any, dir string) (any, bool) {
	p, ok := value.(string)
	if !ok {
		return nil, false
	}
	p = paths.ExpandUser(p)
	if p == "" || filepath.IsAbs(p) {
		return p, true
	}
	return filepath.Join(dir, p), true
}

// hostPath is plainPath for a path that may be one of Windows.
func hostPath(value any, dir string) (any, bool) {
	p, ok := value.(string)
	if !ok {
		return value, true
	}
	p = paths.ExpandUser(p)
	if path.IsAbs(p) || paths.IsWindowsAbs(p) {
		return p, true
	}
	return filepath.Join(dir, p), true
}

// contextPath leaves what is no folder of this host, as an address or another service.
func contextPath(value any, dir string) (any, bool) {
	p, ok := value.(string)
	if !ok {
		return nil, false
	}
	if strings.Contains(p, "://") || strings.HasPrefix(p, types.ServicePrefix) || strings.HasPrefix(p, "github.com/") || strings.HasPrefix(p, "git@") {
		return p, true
	}
	return plainPath(p, dir)
}

func mountPath(value any, dir string) (any, bool) {
	mount, ok := value.(map[string]any)
	if !ok || mount["type"] != types.VolumeTypeBind {
		return value, true
	}
	source, ok := mount["source"].(string)
	if !ok {
		return nil, false
	}
	mount["source"], _ = hostPath(source, dir)
	return mount, true
}

func driverPath(value any, _ string) (any, bool) {
	volume, ok := value.(map[string]any)
	return value, value == nil || ok && volume["driver"] != "local"
}
