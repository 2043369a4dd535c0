package legacy

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Merge puts one service over another, both as they are in their files, and returns a new one.
// Mappings are merged by key, volumes and devices by their path in the container, links by alias; other lists are
// put together; the rest is replaced. An image replaces a build and the other way round.
func Merge(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	for key, value := range over {
		old, ok := base[key]
		if !ok {
			out[key] = value
			continue
		}
		switch key {
		case "environment", "labels", "extra_hosts", "ulimits", "log_opt":
			out[key] = mergeMappings(old, value, separator[key])
		case "volumes", "devices":
			out[key] = mergeLists(old, value, inContainer)
		case "links":
			out[key] = mergeLists(old, value, alias)
		case "ports", "cap_add", "cap_drop", "expose", "external_links", "security_opt", "volumes_from",
			"dns", "dns_search", "env_file":
			out[key] = mergeLists(old, value, whole)
		default:
			out[key] = value
		}
	}
	switch {
	case has(over, "image"):
		delete(out, "build")
		if !has(over, "dockerfile") {
			delete(out, "dockerfile")
		}
	case has(over, "build"):
		delete(out, "image")
	}
	return out
}

func has(m map[string]any, key string) bool {
	_, ok := m[key]
	return ok
}

// separator stands between name and value where a mapping is written as a list.
var separator = map[string]string{"environment": "=", "labels": "=", "extra_hosts": ":"}

func mergeMappings(base, over any, separator string) any {
	b, ok1 := asMapping(base, separator)
	o, ok2 := asMapping(over, separator)
	if !ok1 || !ok2 {
		return over
	}
	out := maps.Clone(b)
	maps.Copy(out, o)
	return out
}

func asMapping(v any, separator string) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case []any:
		out := map[string]any{}
		for _, item := range v {
			key, value, ok := strings.Cut(fmt.Sprint(item), separator)
			if separator == "" || !ok {
				out[key] = nil
			} else {
				out[key] = value
			}
		}
		return out, true
	}
	return nil, false
}

// mergeLists puts two lists together. Of items with the same identity the last stays, at the place of the first.
func mergeLists(base, over any, identity func(string) string) any {
	at := map[string]int{}
	var out []any
	for _, item := range slices.Concat(asList(base), asList(over)) {
		id := identity(fmt.Sprint(item))
		if i, ok := at[id]; ok {
			out[i] = item
			continue
		}
		at[id] = len(out)
		out = append(out, item)
	}
	return out
}

func asList(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

func whole(s string) string { return s }

// alias is the name under which a link is known: of "db:mysql" it is mysql.
func alias(link string) string {
	_, name, ok := strings.Cut(link, ":")
	if !ok {
		return link
	}
	return name
}

// inContainer is the path in the container of a volume or a device: of "./a:/b:ro" it is /b.
func inContainer(spec string) string {
	parts := strings.Split(spec, ":")
	if len(parts) == 1 {
		return parts[0]
	}
	return parts[1]
}

// Base makes a service ready to be extended by one in another folder: its relative paths start from dir, which is
// the folder of its file, or "" if that is the same. What belongs to a service's place among others can't be
// taken over and is a Problem.
func Base(name string, service map[string]any, dir string) (map[string]any, *Problem) {
	for _, key := range []string{"links", "volumes_from"} {
		if has(service, key) {
			return nil, &Problem{Path: []string{name, key}, Reason: fmt.Sprintf("a service with %s can't be extended", key),
				Allowed: fmt.Sprintf("move %s to the services that extend %s", key, name)}
		}
	}
	if net, _ := service["net"].(string); strings.HasPrefix(net, "container:") {
		return nil, &Problem{Path: []string{name, "net"}, Reason: "a service with net: container: can't be extended",
			Allowed: fmt.Sprintf("move net to the services that extend %s", name)}
	}
	out := maps.Clone(service)
	if dir == "" {
		return out, nil
	}
	if build, ok := out["build"].(string); ok {
		out["build"] = rebase(dir, build)
	}
	if has(out, "env_file") {
		var files []any
		for _, f := range asList(out["env_file"]) {
			files = append(files, rebase(dir, fmt.Sprint(f)))
		}
		out["env_file"] = files
	}
	if has(out, "volumes") {
		var volumes []any
		for _, v := range asList(out["volumes"]) {
			volumes = append(volumes, rebaseVolume(dir, fmt.Sprint(v)))
		}
		out["volumes"] = volumes
	}
	return out, nil
}

// rebase makes a path relative to dir one of its own; addresses of repositories and paths below home stay.
func rebase(dir, path string) string {
	if path == "" || filepath.IsAbs(path) || strings.HasPrefix(path, "~") || strings.Contains(path, "://") ||
		strings.HasPrefix(path, "git@") || strings.HasPrefix(path, "github.com/") {
		return path
	}
	return filepath.Join(dir, path)
}

func rebaseVolume(dir, spec string) string {
	source, rest, ok := strings.Cut(spec, ":")
	if !ok || !strings.HasPrefix(source, ".") {
		return spec
	}
	return rebase(dir, source) + ":" + rest
}
