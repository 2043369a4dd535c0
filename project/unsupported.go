package project

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// unsupported lists the fields that berth doesn't act on, by their path; "*" stands for each key or item. A row goes
// when the field is acted on. Without when, a row applies to every value that isn't zero.
var unsupported = []struct {
	path string
	text string
	when func(v reflect.Value) bool
}{
	{path: "models.*", text: "models are not run yet"},
	{path: "jobs.*", text: "jobs are not run yet"},
	{path: "networks.*.attachable", text: "has a meaning with Docker Swarm only"},
	{path: "configs.*.external", text: "there is no store of configs outside of the file; the services that use it can't start"},
	{path: "configs.*.template_driver", text: "templates are not filled in; the content is taken as it is"},
	{path: "secrets.*.external", text: "there is no store of secrets outside of the file; the services that use it can't start"},
	{path: "secrets.*.driver", text: "drivers of secrets are not supported"},
	{path: "secrets.*.template_driver", text: "templates are not filled in; the content is taken as it is"},

	{path: "services.*.credential_spec", text: "is of Windows and has no effect"},
	{path: "services.*.isolation", text: "is of Windows and has no effect", when: isNot("default")},
	{path: "services.*.cpu_count", text: "is of Windows and has no effect; use cpus"},
	{path: "services.*.cpu_percent", text: "is of Windows and has no effect; use cpus"},
	{path: "services.*.develop", text: "watching files is not supported yet"},
	{path: "services.*.gpus", text: "handing out GPUs is not supported yet"},
	{path: "services.*.models", text: "models are not run yet"},
	{path: "services.*.pre_start", text: "hooks are not run yet"},
	{path: "services.*.post_start", text: "hooks are not run yet"},
	{path: "services.*.pre_stop", text: "hooks are not run yet"},
	{path: "services.*.provider", text: "providers are not run yet; the service is left out"},
	{path: "services.*.pull_refresh_after", text: "has no effect yet; use pull_policy"},
	{path: "services.*.storage_opt", text: "is not supported by the overlay file system"},
	{path: "services.*.use_api_socket", text: "there is no Docker API yet to hand in"},
	{path: "services.*.volumes.*.consistency", text: "has no effect on Linux"},
	{path: "services.*.volumes.*.type", text: "mounts of this type are not supported", when: isOneOf(types.VolumeTypeImage,
		types.VolumeTypeNamedPipe, types.VolumeTypeCluster)},

	{path: "services.*.deploy.mode", text: "only replicated is supported", when: isNot("replicated")},
	{path: "services.*.deploy.endpoint_mode", text: "has a meaning with Docker Swarm only"},
	{path: "services.*.deploy.labels", text: "are set on services of Docker Swarm only; use labels for containers"},
	{path: "services.*.deploy.placement", text: "there is only one host to place containers on"},
	{path: "services.*.deploy.update_config", text: "rolling updates are not supported yet; containers are replaced one after the other"},
	{path: "services.*.deploy.rollback_config", text: "rolling updates are not supported yet"},
	{path: "services.*.deploy.resources.reservations.cpus", text: "processor time is not reserved"},
	{path: "services.*.deploy.resources.reservations.devices", text: "handing out GPUs is not supported yet"},
	{path: "services.*.deploy.resources.reservations.generic_resources", text: "has a meaning with Docker Swarm only"},
}

func isNot(word string) func(reflect.Value) bool {
	return func(v reflect.Value) bool { return v.String() != word }
}

func isOneOf(words ...string) func(reflect.Value) bool {
	return func(v reflect.Value) bool { return slices.Contains(words, v.String()) }
}

// Unsupported tells of each field that is set and not acted on, in the order of their paths.
func Unsupported(p *Project) []Notice {
	var notices []Notice
	root := reflect.ValueOf(p.Project).Elem()
	for _, row := range unsupported {
		eachAt(root, strings.Split(row.path, "."), nil, func(path []string, v reflect.Value) {
			if row.when == nil || row.when(v) {
				notices = append(notices, Notice{Key: keyPath(path), Text: row.text})
			}
		})
	}
	for _, name := range sortedKeys(p.Services) {
		if svc := p.Services[name]; svc.Build != nil && svc.Image == "" {
			notices = append(notices, Notice{Key: "services." + name + ".build",
				Text: fmt.Sprintf("building is not supported yet: the image %s must exist", p.ImageName(svc))})
		}
	}
	slices.SortStableFunc(notices, func(a, b Notice) int { return strings.Compare(a.Key, b.Key) })
	return notices
}

// eachAt calls found for every value at a path that isn't zero.
func eachAt(v reflect.Value, pattern, path []string, found func(path []string, v reflect.Value)) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if v.IsZero() {
		return
	}
	if len(pattern) == 0 {
		found(path, v)
		return
	}
	step := func(name string, v reflect.Value) {
		eachAt(v, pattern[1:], append(slices.Clone(path), name), found)
	}
	switch {
	case v.Kind() == reflect.Map:
		// What stands under a key is set, even if it is empty.
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			step(key.String(), v.MapIndex(key))
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			step(fmt.Sprintf("[%d]", i), v.Index(i))
		}
	case v.Kind() == reflect.Struct:
		if f := fieldFor(v, pattern[0]); f.IsValid() {
			step(pattern[0], f)
		}
	}
}

// fieldFor is the field of a struct that holds a key of the file.
func fieldFor(v reflect.Value, key string) reflect.Value {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == key && f.IsExported() {
			return v.Field(i)
		}
		if f.Anonymous && options == "inline" {
			if found := fieldFor(v.Field(i), key); found.IsValid() {
				return found
			}
		}
	}
	return reflect.Value{}
}
