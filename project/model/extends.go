package model

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/override"
	"github.com/compose-spec/compose-go/v2/types"
)

// base is a file that services extend.
type base struct {
	services map[string]any
	resets   resets
}

type baseKey struct{ path, dir string }

// extendAll puts what they extend under the services and jobs of a file.
func (l *loader) extendAll(root map[string]any, file string, r resets) error {
	for _, section := range []string{"services", "jobs"} {
		value, ok := root[section]
		if !ok {
			continue
		}
		all, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%s must be a mapping", section)
		}
		for name, item := range all {
			if service, ok := item.(map[string]any); ok {
				if _, asked := service["extends"]; !asked {
					continue
				}
			}
			e := extension{l: l, file: file}
			extended, err := e.extend(name, all, r, nil)
			if err != nil {
				return err
			}
			all[name] = extended
		}
	}
	return nil
}

// extension is the way from a service down what it extends.
type extension struct {
	l    *loader
	file string
}

// extend is a service of all with what it extends put under it. r belongs to the file that all is from.
func (e extension) extend(name string, all map[string]any, r resets, chain []link) (any, error) {
	if all[name] == nil {
		return nil, nil
	}
	service, ok := all[name].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("services.%s must be a mapping", name)
	}
	source, ok := service["extends"]
	if !ok {
		return service, nil
	}
	ref, path, err := extended(source, name)
	if err != nil {
		return nil, err
	}
	file, from, fromResets := e.file, all, r
	if path != "" {
		b, err := e.l.base(name, ref, file, path)
		if err != nil {
			return nil, err
		}
		file, from, fromResets = path, b.services, b.resets
	} else if _, ok := all[ref]; !ok {
		return nil, fmt.Errorf("cannot extend service %q in %s: service %q not found", name, file, ref)
	}
	if chain, err = follow(chain, link{file, name}); err != nil {
		return nil, err
	}
	under, err := e.extend(ref, from, fromResets, chain)
	if err != nil {
		return nil, err
	}
	if under == nil {
		return service, nil
	}
	copied, _ := clone(under).(map[string]any)
	r.apply(alone(copied, []string{"services", name}))
	merged, err := override.ExtendService(copied, service)
	if err != nil {
		return nil, err
	}
	delete(merged, "extends")
	from[name] = merged
	return merged, nil
}

// extended takes apart what stands behind extends.
func extended(source any, name string) (ref, path string, err error) {
	switch v := source.(type) {
	case string:
		return v, "", nil
	case map[string]any:
		ref, ok := v["service"].(string)
		if !ok {
			return "", "", fmt.Errorf("extends.%s.service is required", name)
		}
		if file := v["file"]; file != nil {
			if path, ok = file.(string); !ok {
				return "", "", fmt.Errorf("services.%s.extends.file has the wrong type: %T", name, file)
			}
			return ref, path, nil
		}
		return ref, "", nil
	}
	return "", "", nil
}

// link is one step of a chain of extends.
type link struct{ file, service string }

func follow(chain []link, next link) ([]link, error) {
	if !slices.Contains(chain, next) {
		return append(chain[:len(chain):len(chain)], next), nil
	}
	lines := []string{"Circular reference:", fmt.Sprintf("  %s in %s", chain[0].service, chain[0].file)}
	for _, l := range append(chain[1:len(chain):len(chain)], next) {
		lines = append(lines, fmt.Sprintf("  extends %s in %s", l.service, l.file))
	}
	return nil, fmt.Errorf("%s", strings.Join(lines, "\n"))
}

// base is the services of a file that a service extends one of.
func (l *loader) base(name, ref, file, path string) (base, error) {
	local, dir := l.from(path), l.folder(path)
	key := baseKey{local, dir}
	b, ok := l.bases[key]
	if !ok {
		var err error
		if b, err = l.loadBase(name, local, dir); err != nil {
			return base{}, err
		}
		l.bases[key] = b
	}
	// What extends what is written back into the services.
	b.services, _ = clone(b.services).(map[string]any)
	if _, ok := b.services[ref]; !ok {
		return base{}, fmt.Errorf("cannot extend service %q in %s: service %q not found in %s", name, file, ref, path)
	}
	return b, nil
}

func (l *loader) loadBase(name, local, dir string) (base, error) {
	sub := *l
	sub.isBase, sub.noIncludes, sub.filesDir = true, true, filepath.Dir(local)
	tree, r, err := sub.add(map[string]any{}, types.ConfigFile{Filename: local}, nil)
	if err != nil {
		return base{}, err
	}
	value, ok := tree["services"]
	if !ok {
		return base{}, fmt.Errorf("cannot extend service %q in %s: no services section", name, local)
	}
	services, ok := value.(map[string]any)
	if !ok {
		return base{}, fmt.Errorf("cannot extend service %q in %s: services must be a mapping", name, local)
	}
	return base{services, r}, l.resolvePaths(tree, dir)
}
