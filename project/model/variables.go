package model

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
)

// cast makes of a text what a place wants, since what a variable stands for is always a text.
type cast func(l *loader, value string) (any, error)

// casts are the places where a text becomes something else.
func casts() map[string]cast {
	all := map[string]cast{}
	add := func(prefixes []string, c cast, places ...string) {
		for _, prefix := range prefixes {
			for _, place := range places {
				all[prefix+place] = c
			}
		}
	}
	containers := []string{"services.*.", "jobs.*.", "services.*.pre_start.*."}
	workloads := []string{"services.*.", "jobs.*."}
	services := []string{"services.*."}
	add([]string{"networks.*."}, boolean, "external", "internal", "attachable", "enable_ipv4", "enable_ipv6")
	add([]string{"volumes.*.", "secrets.*.", "configs.*."}, boolean, "external")
	add(containers, wide, "cpu_count", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "oom_score_adj", "pids_limit")
	add(containers, float, "cpu_percent")
	add(containers, narrowFloat, "cpus")
	add(containers, boolean, "init", "networks.*.use_service_name_alias", "oom_kill_disable", "privileged", "read_only", "volumes.*.read_only", "volumes.*.volume.nocopy")
	add(containers, umask, "umask")
	add(containers, whole, "ulimits.*", "ulimits.*.hard", "ulimits.*.soft")
	add(workloads, boolean, "depends_on.*.required", "depends_on.*.restart", "healthcheck.disable", "stdin_open", "tty")
	add(workloads, whole, "healthcheck.retries", "ports.*.target")
	add(services, whole, "deploy.replicas", "deploy.update_config.parallelism", "deploy.rollback_config.parallelism",
		"deploy.restart_policy.max_attempts", "deploy.placement.max_replicas_per_node", "scale")
	add(services, float, "deploy.update_config.max_failure_ratio", "deploy.rollback_config.max_failure_ratio")
	return all
}

func whole(_ *loader, s string) (any, error) { return strconv.Atoi(s) }

func wide(_ *loader, s string) (any, error) { return strconv.ParseInt(s, 10, 64) }

func umask(_ *loader, s string) (any, error) { return strconv.ParseUint(s, 0, 32) }

func float(_ *loader, s string) (any, error) { return strconv.ParseFloat(s, 64) }

func narrowFloat(_ *loader, s string) (any, error) {
	f, err := strconv.ParseFloat(s, 32)
	if err != nil {
		return nil, err
	}
	return float32(f), nil
}

func boolean(l *loader, s string) (any, error) {
	b, word, err := parseBool(s)
	if word && l != nil && l.o.Note != nil {
		l.o.Note(s, b)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// parseBool reads a boolean; word says that it was one of those words that YAML has given up.
func parseBool(s string) (value, word bool, err error) {
	switch strings.ToLower(s) {
	case "true":
		return true, false, nil
	case "false":
		return false, false, nil
	case "y", "yes", "on":
		return true, true, nil
	case "n", "no", "off":
		return false, true, nil
	}
	return false, false, fmt.Errorf("invalid boolean: %s", s)
}

// prepared is a document's tree with texts for keys and, if that is wanted, values for variables.
func (l *loader) prepared(tree any, interpolate bool) (map[string]any, error) {
	w := walker{l: l, interpolate: interpolate}
	value := w.walk(tree, nil, l.rules.casts)
	root, ok := value.(map[string]any)
	switch {
	case w.badKey != nil:
		return nil, w.badKey
	case !ok:
		return nil, errors.New("top-level object must be a mapping")
	}
	return root, w.joined()
}

type walker struct {
	l           *loader
	interpolate bool
	badKey      error
	faults      []variableFault
}

type variableFault struct {
	path []string
	err  error
}

func (w *walker) walk(value any, path []string, p *places[cast]) any {
	switch v := value.(type) {
	case string:
		return w.text(v, path, p)
	case map[string]any:
		for key, item := range v {
			v[key] = w.walk(item, append(path, key), p.key(key))
		}
		return v
	case map[any]any:
		return w.walk(w.textKeys(v, path), path, p)
	case []any:
		if v == nil {
			return []any{}
		}
		for i, item := range v {
			v[i] = w.walk(item, append(path, listStep), p.key(listStep))
		}
		return v
	}
	return value
}

func (w *walker) textKeys(v map[any]any, path []string) map[string]any {
	out := make(map[string]any, len(v))
	for key, item := range v {
		text, ok := key.(string)
		if !ok {
			if w.badKey == nil {
				w.badKey = badKey(path, key)
			}
			continue
		}
		out[text] = item
	}
	return out
}

func badKey(path []string, key any) error {
	if len(path) == 0 {
		return fmt.Errorf("non-string key at top level: %#v", key)
	}
	return fmt.Errorf("non-string key in %s: %#v", pathText(path), key)
}

func (w *walker) text(text string, path []string, p *places[cast]) any {
	if !w.interpolate || w.l.substitute == nil {
		return text
	}
	value, err := w.l.substitute(text, w.l.lookup)
	if err != nil {
		w.faults = append(w.faults, variableFault{slices.Clone(path), err})
		return text
	}
	if p == nil || !p.here {
		return value
	}
	result, err := p.what(w.l, value)
	if err != nil {
		w.faults = append(w.faults, variableFault{slices.Clone(path), fmt.Errorf("failed to cast to expected type: %w", err)})
		return value
	}
	return result
}

// joined is all that was wrong with variables, in the order of paths.
func (w *walker) joined() error {
	slices.SortStableFunc(w.faults, func(a, b variableFault) int { return slices.Compare(a.path, b.path) })
	var all []error
	for _, f := range w.faults {
		var invalid *template.InvalidTemplateError
		if errors.As(f.err, &invalid) {
			all = append(all, fmt.Errorf("invalid interpolation format for %s: %w", pathText(f.path), f.err))
			continue
		}
		all = append(all, fmt.Errorf("error while interpolating %s: %w", pathText(f.path), f.err))
	}
	return errors.Join(all...)
}
