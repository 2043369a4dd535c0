package model

import (
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/transform"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/compose-spec/compose-go/v2/validation"
)

// rewrite gives the long form of a value. It is false for a value that compose-go has to look at.
type rewrite func(value any) (long any, ok bool)

// rewrites are the places of values with a short form.
func rewrites() map[string]rewrite {
	all := map[string]rewrite{}
	for _, prefix := range []string{"services.*.", "jobs.*.", "services.*.pre_start.*."} {
		for key, r := range map[string]rewrite{
			"env_file": rare, "label_file": textToList, "gpus": rare, "networks": namesToKeys, "models": namesToKeys,
			"volumes.*": longMount, "dns": textToList, "devices.*": rare, "secrets.*": longFileMount, "configs.*": longFileMount,
			"ulimits.*": rare,
		} {
			all[prefix+key] = r
		}
	}
	for _, prefix := range []string{"services.*.", "jobs.*."} {
		all[prefix+"depends_on"] = longDependsOn
		all[prefix+"extends"] = rare
		all[prefix+"ports"] = longPorts
		all[prefix+"build"] = longBuild
	}
	all["jobs.*.triggers.schedule.*"] = rare
	all["services.*.develop.watch.*.ignore"] = rare
	all["services.*.develop.watch.*.include"] = rare
	for _, section := range []string{"volumes.*", "networks.*", "secrets.*", "configs.*"} {
		all[section] = unlessExternal
	}
	all["include.*"] = rare
	return all
}

// canonical writes short forms out.
func (l *loader) canonical(tree map[string]any) error {
	_, err := change(l.rules.canonical, tree, nil, func(r rewrite, value any, path []string) (any, error) {
		if long, ok := r(value); ok {
			return long, nil
		}
		changed, err := transform.Canonical(alone(value, path), l.o.NoInterpolate)
		if err != nil {
			return nil, err
		}
		long := pick(changed, path)
		if list, ok := long.([]any); ok && list == nil {
			return []any{}, nil
		}
		return long, nil
	})
	return err
}

func rare(any) (any, bool) { return nil, false }

func textToList(value any) (any, bool) {
	if text, ok := value.(string); ok {
		return []any{text}, true
	}
	return value, true
}

func namesToKeys(value any) (any, bool) {
	list, ok := value.([]any)
	if !ok {
		return value, true
	}
	out := make(map[string]any, len(list))
	for _, item := range list {
		name, ok := item.(string)
		if !ok {
			return nil, false
		}
		out[name] = nil
	}
	return out, true
}

func longDependsOn(value any) (any, bool) {
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	out := make(map[string]any, len(list))
	for _, item := range list {
		name, ok := item.(string)
		if !ok {
			return nil, false
		}
		out[name] = map[string]any{"condition": types.ServiceConditionStarted, "required": true}
	}
	return out, true
}

func longFileMount(value any) (any, bool) {
	switch v := value.(type) {
	case map[string]any:
		return v, true
	case string:
		return map[string]any{"source": v}, true
	}
	return nil, false
}

// longBuild passes over what has no short forms below it.
func longBuild(value any) (any, bool) {
	switch v := value.(type) {
	case string:
		return map[string]any{"context": v}, true
	case map[string]any:
		for _, key := range []string{"secrets", "provenance", "sbom", "additional_contexts", "ssh", "ulimits"} {
			if _, ok := v[key]; ok {
				return nil, false
			}
		}
		return v, true
	}
	return nil, false
}

func unlessExternal(value any) (any, bool) {
	switch v := value.(type) {
	case nil:
		return nil, true
	case map[string]any:
		_, external := v["external"]
		return v, !external
	}
	return nil, false
}

// longMount takes the text of a volume or a bind apart.
func longMount(value any) (any, bool) {
	switch v := value.(type) {
	case map[string]any:
		return v, true
	case string:
		m, err := format.ParseVolume(v)
		if err != nil || m.Tmpfs != nil || m.Image != nil || m.Extensions != nil {
			return nil, false
		}
		if m.Target != "" {
			m.Target = path.Clean(m.Target)
		}
		out := map[string]any{"type": m.Type}
		set(out, "source", m.Source)
		set(out, "target", m.Target)
		set(out, "consistency", m.Consistency)
		if m.ReadOnly {
			out["read_only"] = true
		}
		if m.Bind != nil {
			bind := map[string]any{}
			set(bind, "selinux", m.Bind.SELinux)
			set(bind, "propagation", m.Bind.Propagation)
			if m.Bind.CreateHostPath {
				bind["create_host_path"] = true
			}
			set(bind, "recursive", m.Bind.Recursive)
			out["bind"] = bind
		}
		if m.Volume != nil {
			if m.Volume.Labels != nil || m.Volume.Extensions != nil {
				return nil, false
			}
			volume := map[string]any{}
			set(volume, "subpath", m.Volume.Subpath)
			if m.Volume.NoCopy {
				volume["nocopy"] = true
			}
			out["volume"] = volume
		}
		return out, true
	}
	return nil, false
}

func set(m map[string]any, key, value string) {
	if value != "" {
		m[key] = value
	}
}

// longPorts takes plain ports apart: "8080:80", "80", "127.0.0.1:8080:80/udp", and leaves long ones.
func longPorts(value any) (any, bool) {
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	out := make([]any, len(list))
	for i, item := range list {
		switch v := item.(type) {
		case map[string]any:
			out[i] = v
		case int:
			long, ok := longPort(strconv.Itoa(v))
			if !ok {
				return nil, false
			}
			out[i] = long
		case string:
			long, ok := longPort(v)
			if !ok {
				return nil, false
			}
			out[i] = long
		default:
			return nil, false
		}
	}
	return out, true
}

// longPort is a single port's long form; ranges and what is wrong are left to compose-go.
func longPort(text string) (map[string]any, bool) {
	ports, protocol, named := strings.Cut(text, "/")
	if !named {
		protocol = "tcp"
	}
	if protocol != "tcp" && protocol != "udp" {
		return nil, false
	}
	parts := strings.Split(ports, ":")
	if len(parts) > 3 {
		return nil, false
	}
	target, ok := portNumber(parts[len(parts)-1])
	if !ok {
		return nil, false
	}
	out := map[string]any{"mode": "ingress", "target": uint32(target), "protocol": protocol}
	if len(parts) > 1 {
		published := parts[len(parts)-2]
		if _, ok := portNumber(published); !ok {
			return nil, false
		}
		out["published"] = published
	}
	if len(parts) > 2 {
		addr, err := netip.ParseAddr(parts[0])
		if err != nil || !addr.Is4() || addr.String() != parts[0] {
			return nil, false
		}
		out["host_ip"] = parts[0]
	}
	return out, true
}

// portNumber reads a number from 1 to 65535 that is written as numbers usually are.
func portNumber(s string) (uint64, bool) {
	if s == "" || s[0] == '0' || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return n, err == nil
}

// needsCheck tells whether compose-go has to look at a value.
type needsCheck func(value any) bool

func checks() map[string]needsCheck {
	always := func(any) bool { return true }
	return map[string]needsCheck{
		"volumes.*":                       withKey("external"),
		"configs.*":                       always,
		"secrets.*":                       always,
		"services.*.ports.*":              withKey("host_ip"),
		"services.*.gpus.*":               always,
		"services.*.develop.watch.*.path": always,
		"services.*.deploy.resources.reservations.devices.*": always,
	}
}

func withKey(key string) needsCheck {
	return func(value any) bool {
		m, ok := value.(map[string]any)
		_, has := m[key]
		return value != nil && (!ok || has)
	}
}

// validate looks for what the schema can't say.
func (l *loader) validate(tree map[string]any) error {
	_, err := change(l.rules.checks, tree, nil, func(needs needsCheck, value any, path []string) (any, error) {
		if !needs(value) {
			return value, nil
		}
		return value, validation.Validate(alone(value, path))
	})
	return err
}
