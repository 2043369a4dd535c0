package model

import (
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/override"
)

// sameness is what makes an item of a list the same as another one; ok is false where compose-go has to say.
type sameness func(item any) (key string, ok bool)

// samenesses are the lists in which the last of several items that are the same counts.
func samenesses() map[string]sameness {
	all := map[string]sameness{"networks.*.labels": byName, "networks.*.ipam.options": byName}
	for _, key := range []string{
		"annotations", "build.args", "build.additional_contexts", "build.platform", "build.tags", "build.labels", "cap_add", "cap_drop",
		"deploy.labels", "dns", "dns_opt", "dns_search", "environment", "labels", "links", "networks.*.aliases",
		"networks.*.link_local_ips", "profiles", "sysctls", "tmpfs",
	} {
		all["services.*."+key] = byName
	}
	for _, key := range []string{"configs", "secrets", "devices", "env_file", "expose"} {
		all["services.*."+key] = unclear
	}
	all["services.*.ports"] = byText
	all["services.*.volumes"] = byTarget
	return all
}

func unclear(any) (string, bool) { return "", false }

func byText(item any) (string, bool) {
	text, ok := item.(string)
	return text, ok
}

func byName(item any) (string, bool) {
	text, ok := item.(string)
	name, _, _ := strings.Cut(text, "=")
	return name, ok
}

func byTarget(item any) (string, bool) {
	switch v := item.(type) {
	case map[string]any:
		target, ok := v["target"].(string)
		return target, ok
	case string:
		m, err := format.ParseVolume(v)
		return m.Target, err == nil
	}
	return "", false
}

// dropTwins leaves one of several items that say the same thing: the last, at the place of the first.
func (l *loader) dropTwins(tree map[string]any) error {
	_, err := change(l.rules.twins, tree, nil, func(same sameness, value any, path []string) (any, error) {
		list, ok := value.([]any)
		if !ok || distinct(list, same) {
			return value, nil
		}
		changed, err := override.EnforceUnicity(alone(value, path))
		if err != nil {
			return nil, err
		}
		return pick(changed, path), nil
	})
	return err
}

// distinct tells whether no two items are the same; false also where that is not known.
func distinct(list []any, same sameness) bool {
	keys := make([]string, 0, 8)
	for _, item := range list {
		key, ok := same(item)
		if !ok {
			return false
		}
		for _, other := range keys {
			if other == key {
				return false
			}
		}
		keys = append(keys, key)
	}
	return true
}
