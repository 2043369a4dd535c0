package legacy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Problem is something that a v1 file may not have. Key is the path in the file: "web.depends_on".
type Problem struct {
	Path    []string
	Reason  string
	Allowed string
	// Unknown says that the key is not one of the format, so that the caller may look for a similar one.
	Unknown bool
}

// keys are those that a service of the format may have.
var keys = []string{
	"build", "cap_add", "cap_drop", "cgroup_parent", "command", "container_name", "cpu_quota", "cpu_shares", "cpuset",
	"devices", "dns", "dns_search", "dockerfile", "domainname", "entrypoint", "env_file", "environment", "expose",
	"extends", "external_links", "extra_hosts", "hostname", "image", "ipc", "labels", "links", "log_driver", "log_opt",
	"mac_address", "mem_limit", "mem_swappiness", "memswap_limit", "net", "pid", "ports", "privileged", "read_only",
	"restart", "security_opt", "shm_size", "stdin_open", "stop_signal", "tty", "ulimits", "user", "volume_driver",
	"volumes", "volumes_from", "working_dir",
}

// Keys are the keys that a service of the format may have, sorted.
func Keys() []string { return slices.Clone(keys) }

// instead tells what the format has in the place of some keys of the current one.
var instead = map[string]string{
	"depends_on":   "links",
	"network_mode": "net",
	"logging":      "log_driver and log_opt",
}

// sections are the top-level keys of which one is enough to make a file a current one.
var sections = []string{"services", "networks", "volumes"}

// isServiceName tells whether a text has only letters, digits, ".", "_" and "-".
func isServiceName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

// Recognise tells whether a document is in the v1 format: services at the top level, without a version and without
// the sections of later formats; or with a "version" that is itself a mapping, and so a service of that name.
// A document without a single thing that looks like a service is left to the current format, whose messages fit.
func Recognise(doc map[string]any) bool {
	version, ok := doc["version"]
	if _, isService := version.(map[string]any); ok && !isService {
		return false
	}
	if !ok {
		for _, section := range sections {
			if _, ok := doc[section]; ok {
				return false
			}
		}
	}
	if _, ok := doc["include"].([]any); ok {
		return false
	}
	if _, ok := doc["name"].(string); ok {
		return false
	}
	for _, value := range doc {
		if looksLikeService(value) {
			return true
		}
	}
	return false
}

// looksLikeService tells whether a top-level value has what every service must have.
func looksLikeService(value any) bool {
	m, ok := value.(map[string]any)
	if !ok {
		return false
	}
	for _, key := range []string{"image", "build", "extends"} {
		if v, ok := m[key]; ok {
			_, isMap := v.(map[string]any)
			if !isMap || key != "image" {
				return true
			}
		}
	}
	return false
}

// skipped tells whether a top-level key is only there to be referred to.
func skipped(name string, value any) bool {
	return strings.HasPrefix(name, "x-") && !looksLikeService(value)
}

// Check lists what is wrong with the keys of a document, sorted by path. Wrong types are left to the schema of the
// current format, which has the same.
func Check(doc map[string]any) []Problem {
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		if skipped(name, doc[name]) {
			continue
		}
		if !isServiceName(name) {
			problems = append(problems, Problem{Path: []string{name}, Reason: fmt.Sprintf("%q can't be the name of a service", name),
				Allowed: "letters, digits, \".\", \"_\" and \"-\" are allowed in it"})
			continue
		}
		service, ok := doc[name].(map[string]any)
		if !ok {
			problems = append(problems, Problem{Path: []string{name}, Reason: "a service must be a mapping",
				Allowed: "this file is in the v1 format, in which every key at the top level is a service"})
			continue
		}
		problems = append(problems, checkService(name, service)...)
	}
	return problems
}

func checkService(name string, service map[string]any) []Problem {
	var problems []Problem
	for _, key := range slices.Sorted(maps.Keys(service)) {
		if _, known := slices.BinarySearch(keys, key); known {
			continue
		}
		p := Problem{Path: []string{name, key}, Reason: fmt.Sprintf("unknown key %q", key), Unknown: true}
		if other, ok := instead[key]; ok || current[key] {
			p.Unknown = false
			p.Reason = fmt.Sprintf("the key %s is of the current format, but this file is in the v1 format", key)
			p.Allowed = "put all services under a top-level key services: to make it a file of the current format"
			if ok {
				p.Allowed += ", or use " + other
			}
		}
		problems = append(problems, p)
	}
	if build, ok := service["build"]; ok {
		if _, isText := build.(string); !isText && build != nil {
			problems = append(problems, Problem{Path: []string{name, "build"}, Reason: "must be the path of a folder in a file in the v1 format",
				Allowed: "put all services under a top-level key services: to use build with more than a path"})
		}
		if _, both := service["image"]; both {
			problems = append(problems, Problem{Path: []string{name, "build"}, Reason: "has both build and image",
				Allowed: "in a file in the v1 format a service has exactly one of them"})
		}
	}
	return problems
}

// CheckMerged lists what is wrong with services whose extends and files are merged.
func CheckMerged(services map[string]any) []Problem {
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(services)) {
		service, ok := services[name].(map[string]any)
		if !ok {
			continue
		}
		_, image := service["image"]
		_, build := service["build"]
		_, dockerfile := service["dockerfile"]
		switch {
		case !image && !build:
			problems = append(problems, Problem{Path: []string{name}, Reason: "has neither image nor build",
				Allowed: "a service has exactly one of them"})
		case image && dockerfile:
			problems = append(problems, Problem{Path: []string{name, "dockerfile"}, Reason: "has no meaning beside image",
				Allowed: "use build with it, or leave it out"})
		}
	}
	return problems
}

// current are keys of a service that only later formats have.
var current = map[string]bool{
	"annotations": true, "attach": true, "blkio_config": true, "cgroup": true, "configs": true, "cpu_count": true,
	"cpu_percent": true, "cpu_period": true, "cpu_rt_period": true, "cpu_rt_runtime": true, "cpus": true,
	"credential_spec": true, "deploy": true, "depends_on": true, "develop": true, "device_cgroup_rules": true,
	"dns_opt": true, "gpus": true, "group_add": true, "healthcheck": true, "init": true, "isolation": true,
	"label_file": true, "logging": true, "mem_reservation": true, "models": true, "network_mode": true, "networks": true,
	"oom_kill_disable": true, "oom_score_adj": true, "pids_limit": true, "platform": true, "post_start": true,
	"pre_start": true, "pre_stop": true, "profiles": true, "provider": true, "pull_policy": true,
	"pull_refresh_after": true, "runtime": true, "scale": true, "secrets": true, "stop_grace_period": true,
	"storage_opt": true, "sysctls": true, "tmpfs": true, "umask": true, "use_api_socket": true, "userns_mode": true,
	"uts": true,
}
