package legacy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Convert turns services of the v1 format, with their extends and files merged, into a document of the current
// format.
func Convert(services map[string]any) map[string]any {
	c := converter{services: services, volumes: map[string]any{}}
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		service := services[name]
		if skipped(name, service) {
			continue
		}
		if m, ok := service.(map[string]any); ok {
			out[name] = c.service(m)
		} else {
			out[name] = service
		}
	}
	doc := map[string]any{"services": out}
	if len(c.volumes) > 0 {
		doc["volumes"] = c.volumes
	}
	return doc
}

type converter struct {
	services map[string]any
	volumes  map[string]any
}

func (c *converter) service(in map[string]any) map[string]any {
	out := maps.Clone(in)
	delete(out, "extends")
	if dockerfile, ok := out["dockerfile"]; ok {
		delete(out, "dockerfile")
		out["build"] = map[string]any{"context": in["build"], "dockerfile": dockerfile}
	}
	logging := map[string]any{}
	move(out, "log_driver", logging, "driver")
	move(out, "log_opt", logging, "options")
	if len(logging) > 0 {
		out["logging"] = logging
	}
	delete(out, "net")
	out["network_mode"] = c.networkMode(in["net"])
	if from, ok := in["volumes_from"].([]any); ok {
		out["volumes_from"] = c.volumesFrom(from)
	}
	if dependencies := c.linked(in["links"]); len(dependencies) > 0 {
		out["depends_on"] = dependencies
	}
	delete(out, "volume_driver")
	if volumes, ok := in["volumes"].([]any); ok {
		out["volumes"] = c.declare(volumes, in["volume_driver"])
	}
	return out
}

func move(from map[string]any, key string, to map[string]any, newKey string) {
	if value, ok := from[key]; ok {
		delete(from, key)
		to[newKey] = value
	}
}

func (c *converter) isService(name string) bool {
	service, ok := c.services[name]
	return ok && !skipped(name, service)
}

// networkMode is what net stands for. Without it a container is on the shared bridge.
func (c *converter) networkMode(net any) any {
	if net == nil {
		return "bridge"
	}
	mode, ok := net.(string)
	if !ok {
		return net
	}
	if name, ok := strings.CutPrefix(mode, "container:"); ok && c.isService(name) {
		return "service:" + name
	}
	return mode
}

// linked are the services that a service has links to, as dependencies that don't restart it with them: in this
// format a link lasts when its target is replaced.
func (c *converter) linked(links any) map[string]any {
	out := map[string]any{}
	for _, link := range asList(links) {
		name, _, _ := strings.Cut(fmt.Sprint(link), ":")
		if c.isService(name) {
			out[name] = map[string]any{"condition": "service_started", "restart": false, "required": true}
		}
	}
	return out
}

// volumesFrom marks the names that are no services as containers, as the current format asks for.
func (c *converter) volumesFrom(from []any) []any {
	var out []any
	for _, item := range from {
		spec := fmt.Sprint(item)
		name, _, _ := strings.Cut(spec, ":")
		if !c.isService(name) && name != "container" {
			spec = "container:" + spec
		}
		out = append(out, spec)
	}
	return out
}

// declare declares the named volumes among those of a service, under their bare names. Of services that name
// different drivers for one volume the first by name is followed, as the volume was made once. An anonymous volume of a
// service with a volume_driver stays anonymous with the default driver, as it has no place to name one.
func (c *converter) declare(volumes []any, driver any) []any {
	for _, item := range volumes {
		source, _, ok := strings.Cut(fmt.Sprint(item), ":")
		if !ok || source == "" || strings.ContainsAny(source[:1], "./~") {
			continue
		}
		volume, ok := c.volumes[source].(map[string]any)
		if !ok {
			volume = map[string]any{"name": source}
			c.volumes[source] = volume
		}
		if _, ok := volume["driver"]; !ok && driver != nil {
			volume["driver"] = driver
		}
	}
	return volumes
}
