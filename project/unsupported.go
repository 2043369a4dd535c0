package project

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project/tree"
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
	{path: "services.*.pre_start", text: "containers that run before a service are not supported yet; use a service of its own and depends_on with service_completed_successfully"},
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
	w := fieldWalk{fields: map[fieldName]int{}}
	w.below(reflect.ValueOf(p.Project).Elem(), patterns(), nil)
	slices.SortStableFunc(w.notices, func(a, b Notice) int { return strings.Compare(a.Key, b.Key) })
	return w.notices
}

// pattern is the table as a tree, so that the model is gone through once.
type pattern struct {
	row  int // -1 where no path ends
	next map[string]*pattern
}

func patterns() *pattern {
	root := &pattern{row: -1}
	for i, row := range unsupported {
		at := root
		for step := range strings.SplitSeq(row.path, ".") {
			if at.next == nil {
				at.next = map[string]*pattern{}
			}
			if at.next[step] == nil {
				at.next[step] = &pattern{row: -1}
			}
			at = at.next[step]
		}
		at.row = i
	}
	return root
}

type fieldWalk struct {
	notices []Notice
	fields  map[fieldName]int // index of a struct's field plus 1; 0: not looked up, -1: no such field
}

type fieldName struct {
	of  reflect.Type
	key string
}

// below notes what is set at v and below it. What stands under a key of a mapping is set even if it is empty.
func (w *fieldWalk) below(v reflect.Value, p *pattern, path []string) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if p.row >= 0 {
		row := unsupported[p.row]
		if row.when == nil || row.when(v) {
			w.notices = append(w.notices, Notice{Key: tree.KeyPath(path), Text: row.text})
		}
	}
	if len(p.next) == 0 {
		return
	}
	each := p.next["*"]
	switch {
	case v.Kind() == reflect.Map && each != nil:
		for _, key := range v.MapKeys() {
			w.below(v.MapIndex(key), each, append(slices.Clone(path), key.String()))
		}
	case v.Kind() == reflect.Slice && each != nil:
		for i := range v.Len() {
			w.below(v.Index(i), each, append(slices.Clone(path), fmt.Sprintf("[%d]", i)))
		}
	case v.Kind() == reflect.Struct:
		for key, next := range p.next {
			if f := w.field(v, key); f.IsValid() && !f.IsZero() {
				w.below(f, next, append(slices.Clone(path), key))
			}
		}
	}
}

// field is the field of a struct that holds a key of the file, which may be one of an embedded struct.
func (w *fieldWalk) field(v reflect.Value, key string) reflect.Value {
	name := fieldName{v.Type(), key}
	if w.fields[name] == 0 {
		w.fields[name] = -1
		for i := range v.NumField() {
			f := v.Type().Field(i)
			tag, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if tag == key || f.Anonymous && options == "inline" && w.field(v.Field(i), key).IsValid() {
				w.fields[name] = i + 1
				break
			}
		}
	}
	i := w.fields[name] - 1
	if i < 0 {
		return reflect.Value{}
	}
	if f := v.Type().Field(i); f.Anonymous {
		return w.field(v.Field(i), key)
	}
	return v.Field(i)
}
