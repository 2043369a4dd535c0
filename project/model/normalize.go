package model

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/override"
	"github.com/compose-spec/compose-go/v2/types"
)

// normalize writes out what follows from the rest: the default network, names, dependencies, variables without a value.
func (l *loader) normalize(tree map[string]any) error {
	addDefaultNetwork(tree)
	for _, section := range []string{"services", "jobs"} {
		all, _ := tree[section].(map[string]any)
		for name, item := range all {
			spec, ok := item.(map[string]any)
			if !ok {
				return fmt.Errorf("%s.%s must be a mapping", section, name)
			}
			if err := l.normalizeSpec(spec); err != nil {
				return err
			}
		}
	}
	return nameParts(tree)
}

func (l *loader) normalizeSpec(spec map[string]any) error {
	if spec["pull_policy"] == types.PullPolicyIfNotPresent {
		spec["pull_policy"] = types.PullPolicyMissing
	}
	if build, ok := spec["build"].(map[string]any); ok {
		if build["context"] == nil {
			build["context"] = "."
		}
		if build["dockerfile"] == nil && build["dockerfile_inline"] == nil {
			build["dockerfile"] = "Dockerfile"
		}
		if args, ok := build["args"]; ok {
			build["args"] = l.valued(args, false)
		}
	}
	if env, ok := spec["environment"]; ok {
		spec["environment"] = l.valued(env, true)
	}
	if needs := needed(spec); len(needs) > 0 {
		spec["depends_on"] = needs
	}
	if mounts, ok := spec["volumes"].([]any); ok {
		for _, m := range mounts {
			mount, _ := m.(map[string]any)
			target, ok := mount["target"].(string)
			if !ok {
				return errors.New("a volume has no target")
			}
			mount["target"] = path.Clean(target)
		}
	}
	return inheritHooks(spec)
}

// valued gives variables without a value that of the environment; one that has none there either stays only if that is wanted.
func (l *loader) valued(value any, keep bool) any {
	switch v := value.(type) {
	case []any:
		var out []any
		for _, item := range v {
			text, ok := item.(string)
			if ok && !strings.Contains(text, "=") {
				found, set := l.env[text]
				if !set && !keep {
					continue
				}
				if set {
					item = text + "=" + found
				}
			} else if !ok {
				continue
			}
			out = append(out, item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			if item == nil {
				found, set := l.env[key]
				if !set && !keep {
					continue
				}
				if set {
					item = found
				}
			}
			out[key] = item
		}
		return out
	}
	return value
}

// needed are the services that one depends on by its own word, or because it has a link to them or uses what they have.
func needed(spec map[string]any) map[string]any {
	needs, _ := spec["depends_on"].(map[string]any)
	if needs == nil {
		needs = map[string]any{}
	}
	add := func(service string, restart bool) {
		if _, ok := needs[service]; !ok {
			needs[service] = map[string]any{"condition": types.ServiceConditionStarted, "restart": restart, "required": true}
		}
	}
	for _, text := range texts(spec["links"]) {
		if parts := strings.Split(text, ":"); len(parts) == 2 {
			text = parts[0]
		}
		add(text, true)
	}
	for _, key := range []string{"network_mode", "ipc", "pid", "uts", "cgroup"} {
		text, _ := spec[key].(string)
		if service, ok := strings.CutPrefix(text, types.ServicePrefix); ok {
			add(service, true)
		}
	}
	for _, text := range texts(spec["volumes_from"]) {
		if !strings.HasPrefix(text, types.ContainerPrefix) {
			service, _, _ := strings.Cut(text, ":")
			add(service, false)
		}
	}
	return needs
}

func texts(value any) []string {
	list, _ := value.([]any)
	var out []string
	for _, item := range list {
		if text, ok := item.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

// inheritHooks completes the containers of pre_start with what their service says of containers, but for its volumes.
func inheritHooks(spec map[string]any) error {
	hooks, _ := spec["pre_start"].([]any)
	if len(hooks) == 0 {
		return nil
	}
	inherited := map[string]any{}
	for key, value := range spec {
		if key != "volumes" && slices.Contains(types.ContainerSpecAttributes, key) {
			inherited[key] = value
		}
	}
	for i, item := range hooks {
		hook, ok := item.(map[string]any)
		if !ok {
			continue
		}
		path := []string{"services", "hook"}
		merged, err := override.Merge(alone(clone(inherited), path), alone(hook, path))
		if err != nil {
			return fmt.Errorf("resolving pre_start hook specification: %w", err)
		}
		hooks[i] = pick(merged, path)
	}
	return nil
}

// addDefaultNetwork puts services that name no network into the one called default.
func addDefaultNetwork(tree map[string]any) {
	used := false
	for _, section := range []string{"services", "jobs"} {
		all, _ := tree[section].(map[string]any)
		for _, item := range all {
			spec, ok := item.(map[string]any)
			if !ok {
				continue
			}
			_, provided := spec["provider"]
			_, mode := spec["network_mode"]
			if provided || mode {
				continue
			}
			networks, _ := spec["networks"].(map[string]any)
			if len(networks) == 0 {
				spec["networks"] = map[string]any{"default": nil}
				used = true
			} else if _, ok := networks["default"]; ok {
				used = true
			}
		}
	}
	networks, _ := tree["networks"].(map[string]any)
	if networks == nil {
		networks = map[string]any{}
	}
	if _, ok := networks["default"]; !ok && used {
		networks["default"] = nil
	}
	if len(networks) > 0 {
		tree["networks"] = networks
	}
}

// nameParts gives networks, volumes, configs and secrets without a name that of the project and their key.
func nameParts(tree map[string]any) error {
	for _, section := range []string{"networks", "volumes", "configs", "secrets"} {
		all, _ := tree[section].(map[string]any)
		for key, item := range all {
			part, ok := item.(map[string]any)
			if !ok && item != nil {
				return fmt.Errorf("%s.%s must be a mapping", section, key)
			}
			if part == nil {
				part = map[string]any{}
			}
			if part["name"] == nil {
				part["name"] = fmt.Sprintf("%s_%s", tree["name"], key)
				if external, err := strconv.ParseBool(fmt.Sprint(part["external"])); err == nil && external {
					part["name"] = key
				}
			}
			all[key] = part
		}
	}
	return nil
}

// resolveEnvironment puts values into lists of variables, and into configs and secrets that are made from a variable.
func resolveEnvironment(tree map[string]any, env types.Mapping) {
	for _, section := range []string{"services", "jobs"} {
		all, _ := tree[section].(map[string]any)
		for _, item := range all {
			spec, _ := item.(map[string]any)
			list, ok := spec["environment"].([]any)
			if !ok {
				continue
			}
			out := []any{}
			for _, text := range texts(list) {
				if value, ok := env[text]; ok {
					text += "=" + value
				}
				out = append(out, text)
			}
			spec["environment"] = out
		}
	}
	for section, key := range map[string]string{"secrets": types.SecretConfigXValue, "configs": "content"} {
		all, _ := tree[section].(map[string]any)
		for _, item := range all {
			part, _ := item.(map[string]any)
			name, ok := part["environment"].(string)
			if !ok {
				continue
			}
			if value, ok := env[name]; ok {
				part[key] = value
			}
		}
	}
}
