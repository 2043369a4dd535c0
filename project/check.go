package project

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project/tree"
)

// problem is something that the merged model says and that can't be. Its path is one of the model; in the files
// it may be written in another way.
type problem struct {
	path    []string
	others  [][]string // where else it may come from
	reason  string
	allowed string
}

// check looks for what doesn't fit together: references to what isn't declared, keys that contradict each other,
// circles. It covers what compose-go's own check covers, which is not asked: that one stops at whichever service it
// meets first, and its search for circles takes time that grows with the number of ways through the graph.
func (in *input) check(p *Project, o Options) error {
	c := checking{Project: p, literal: !o.NoInterpolate, unset: sortedKeys(in.unset)}
	for _, name := range sortedKeys(p.Services) {
		c.service(p.Services[name])
	}
	c.containerNames()
	c.resources()
	c.jobs()
	if len(c.problems) == 0 {
		c.circles()
	}
	if len(c.problems) == 0 {
		return nil
	}
	return in.firstOf(c.problems)
}

// firstOf is the error for the problem that comes first in the files.
func (in *input) firstOf(problems []problem) error {
	var first *FileError
	for _, p := range problems {
		err := in.errorFor(p.path, p.reason)
		for _, other := range p.others {
			if at, whole := in.locate(other...); whole {
				err = in.errorIn(at, p.reason)
				break
			}
		}
		err.Allowed = p.allowed
		if first == nil || err.File == first.File && err.Line > 0 && err.Line < first.Line {
			first = err
		}
	}
	return first
}

type checking struct {
	*Project
	literal  bool // variables are replaced
	problems []problem
	name     string   // of the service
	unset    []string // variables that were asked for and not set
}

// wrong notes a problem below the service.
func (c *checking) wrong(allowed string, path []string, format string, args ...any) *problem {
	c.problems = append(c.problems, problem{path: append([]string{"services", c.name}, path...),
		reason: fmt.Sprintf(format, args...), allowed: allowed})
	return &c.problems[len(c.problems)-1]
}

func (c *checking) service(svc types.ServiceConfig) {
	c.name = svc.Name
	c.image(svc)
	c.build(svc)
	c.references(svc)
	c.dependencies(svc)
	c.scale(svc)
	c.limits(svc)
	c.mounts(svc)
	c.hooks("post_start", svc.PostStart)
	c.hooks("pre_stop", svc.PreStop)
	c.addresses(svc)
	if h := svc.HealthCheck; h != nil && len(h.Test) > 0 && !slices.Contains([]string{"CMD", "CMD-SHELL", "NONE"}, h.Test[0]) {
		c.wrong(`a list starts with "CMD", "CMD-SHELL" or "NONE"; a text is run by a shell`, []string{"healthcheck", "test"},
			"%q is not a way to run a test", h.Test[0])
	}
	if svc.Develop != nil {
		for i, w := range svc.Develop.Watch {
			if w.Target == "" && w.Action != types.WatchActionRebuild && w.Action != types.WatchActionRestart {
				c.wrong("give the path in the container", []string{"develop", "watch", fmt.Sprintf("[%d]", i)}, "target is missing, which %s needs", w.Action)
			}
		}
	}
	if svc.Restart != "" && svc.Restart != "always" && svc.Restart != "unless-stopped" && c.literal && !restartPolicy().MatchString(svc.Restart) {
		c.wrong("allowed here: no, always, on-failure, on-failure:<number>, unless-stopped", []string{"restart"}, "%q is no restart policy", svc.Restart)
	}
}

var restartPolicy = lazily(`^(no|always|unless-stopped|on-failure(:[0-9]+)?)$`)

// imageReference is the form of a reference: [host[:port]/]path[:tag][@digest].
var imageReference = lazily(`^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(?::[0-9]+)?/|\[[0-9a-fA-F:]+\](?::[0-9]+)?/)?` +
	`[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*` +
	`(?::\w[\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$`)

// plainReference tells whether a text is a path and perhaps a tag, as most references are; false leaves it open.
func plainReference(s string) bool {
	path := s
	if at := strings.LastIndexByte(s, ':'); at >= 0 {
		path = s[:at]
		tag := s[at+1:]
		if len(tag) == 0 || len(tag) > 128 || !isWord(tag[0]) {
			return false
		}
		for i := range len(tag) {
			if !isWord(tag[i]) && tag[i] != '.' && tag[i] != '-' {
				return false
			}
		}
	}
	apart := true
	for i := range len(path) {
		switch b := path[i]; {
		case b >= 'a' && b <= 'z' || b >= '0' && b <= '9':
			apart = false
		case apart || b != '/' && b != '.' && b != '_' && b != '-':
			return false
		default:
			apart = true
		}
	}
	return !apart
}

func isWord(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_'
}

func (c *checking) image(svc types.ServiceConfig) {
	if svc.Build == nil && svc.Image == "" && svc.Provider == nil {
		c.wrong("give it one of them", nil, "has neither image nor build")
		return
	}
	if svc.Image == "" || !c.literal || plainReference(svc.Image) || imageReference().MatchString(svc.Image) {
		return
	}
	allowed := "[HOST[:PORT]/]PATH[:TAG][@DIGEST], for example nginx:1.27 or registry.example.com/team/web"
	if lower := strings.ToLower(svc.Image); imageReference().MatchString(lower) {
		allowed = fmt.Sprintf("the path of an image is in lower case: %s", lower)
	} else if strings.HasSuffix(svc.Image, ":") {
		allowed = "there is no tag after the \":\""
		if len(c.unset) > 0 {
			allowed += "; not set: " + strings.Join(c.unset, ", ")
		}
	}
	c.wrong(allowed, []string{"image"}, "%q is not a valid image reference", svc.Image)
}

func (c *checking) build(svc types.ServiceConfig) {
	b := svc.Build
	if b == nil {
		return
	}
	if b.DockerfileInline != "" && b.Dockerfile != "" {
		c.wrong("keep one of them", []string{"build", "dockerfile_inline"}, "can't stand beside dockerfile")
	}
	for _, key := range sortedKeys(b.AdditionalContexts) {
		target, ok := strings.CutPrefix(b.AdditionalContexts[key], types.ServicePrefix)
		if !ok {
			continue
		}
		path := []string{"build", "additional_contexts", key}
		other, known := c.AllServices()[target]
		switch {
		case !known:
			c.wrong(tree.Suggestion(target, c.names()), path, "there is no service %q", target)
		case other.Build == nil:
			c.wrong("it can only be a service with build", path, "the service %q isn't built", target)
		}
	}
	if len(b.Platforms) > 0 && svc.Platform != "" && !slices.Contains(b.Platforms, svc.Platform) {
		c.wrong("add it there", []string{"platform"}, "%q is not among build.platforms", svc.Platform)
	}
	for _, s := range b.Secrets {
		c.declared("secret", s.Source, []string{"build", "secrets", s.Source}, sortedKeys(c.Secrets))
	}
}

// declared checks that there is a network, volume, config ... of that name.
func (c *checking) declared(kind, name string, path []string, known []string) {
	if slices.Contains(known, name) {
		return
	}
	allowed := fmt.Sprintf("declare it under the top-level key %ss:", kind)
	if near := tree.Nearest(name, known); near != "" {
		allowed = fmt.Sprintf("did you mean %q? Else %s", near, allowed)
	}
	if kind == "volume" {
		allowed += fmt.Sprintf(" or write ./%s for a folder", name)
	}
	c.wrong(allowed, path, "the %s %q is not declared", kind, name)
}

func (c *checking) references(svc types.ServiceConfig) {
	if svc.NetworkMode != "" && len(svc.Networks) > 0 {
		c.wrong("keep one of them", []string{"networks"}, "can't stand beside network_mode")
	}
	for _, key := range sortedKeys(svc.Networks) {
		c.declared("network", key, []string{"networks", key}, sortedKeys(c.Networks))
	}
	for _, v := range svc.Volumes {
		if v.Type == types.VolumeTypeVolume && v.Source != "" {
			c.declared("volume", v.Source, []string{"volumes", v.Source}, sortedKeys(c.Volumes))
		}
	}
	for _, r := range svc.Configs {
		c.declared("config", r.Source, []string{"configs", r.Source}, sortedKeys(c.Configs))
	}
	for _, r := range svc.Secrets {
		c.declared("secret", r.Source, []string{"secrets", r.Source}, sortedKeys(c.Secrets))
	}
	for _, key := range sortedKeys(svc.Models) {
		c.declared("model", key, []string{"models", key}, sortedKeys(c.Models))
	}
	for _, ns := range []struct{ key, value string }{{"network_mode", svc.NetworkMode}, {"ipc", svc.Ipc}, {"pid", svc.Pid},
		{"uts", svc.Uts}, {"cgroup", svc.Cgroup}} {
		target, ok := strings.CutPrefix(ns.value, types.ServicePrefix)
		if _, known := c.Services[target]; ok && !known {
			c.wrong(c.whyNot(target), []string{ns.key}, "there is no service %q", target)
		}
	}
}

// whyNot says what to do about a service that isn't there.
func (c *checking) whyNot(name string) string {
	if svc, ok := c.DisabledServices[name]; ok && len(svc.Profiles) > 0 {
		return fmt.Sprintf("it is only there with the profile %s: add --profile %s", svc.Profiles[0], svc.Profiles[0])
	}
	return tree.Suggestion(name, slices.DeleteFunc(c.names(), func(s string) bool { return s == c.name }))
}

func (c *checking) dependencies(svc types.ServiceConfig) {
	for _, name := range sortedKeys(svc.DependsOn) {
		if _, ok := c.Services[name]; ok {
			continue
		}
		_, off := c.DisabledServices[name]
		if off && !svc.DependsOn[name].Required {
			continue
		}
		reason := fmt.Sprintf("there is no service %q", name)
		if off {
			reason = fmt.Sprintf("the service %q is not enabled", name)
		}
		if _, job := c.Jobs[name]; job {
			reason = fmt.Sprintf("%q is a job, and a service can't wait for one", name)
		}
		path := func(key string) []string { return []string{"services", c.name, key, name} }
		p := c.wrong(c.whyNot(name), []string{"depends_on", name}, "%s", reason)
		p.others = [][]string{path("depends_on"), path("links"), path("volumes_from"), {"services", c.name, "network_mode"},
			{"services", c.name, "ipc"}, {"services", c.name, "pid"}}
	}
}

func (c *checking) scale(svc types.ServiceConfig) {
	replicas := svc.Scale
	key := []string{"scale"}
	if d := svc.Deploy; d != nil && d.Replicas != nil {
		if replicas == nil {
			replicas, key = d.Replicas, []string{"deploy", "replicas"}
		} else if *replicas != *d.Replicas {
			c.wrong("give the number once", key, "differs from deploy.replicas, which is %d", *d.Replicas)
		}
	}
	if replicas == nil {
		return
	}
	if *replicas < 0 {
		c.wrong("0 or more", key, "%d is less than 0", *replicas)
	}
	if *replicas > 1 && svc.ContainerName != "" {
		c.wrong("remove container_name, as each container needs a name of its own", key,
			"%d containers can't all be called %q", *replicas, svc.ContainerName)
	}
}

// limits checks that what can be said in two places is the same in both.
func (c *checking) limits(svc types.ServiceConfig) {
	if svc.Deploy == nil {
		return
	}
	twice := func(key, other string) { c.wrong("give the value once", []string{key}, "differs from %s", other) }
	if l := svc.Deploy.Resources.Limits; l != nil {
		if svc.CPUS != 0 && l.NanoCPUs.Value() != svc.CPUS {
			twice("cpus", "deploy.resources.limits.cpus")
		}
		if svc.MemLimit != 0 && l.MemoryBytes != svc.MemLimit {
			twice("mem_limit", "deploy.resources.limits.memory")
		}
		if svc.PidsLimit != 0 && l.Pids != svc.PidsLimit {
			twice("pids_limit", "deploy.resources.limits.pids")
		}
	}
	if r := svc.Deploy.Resources.Reservations; r != nil && svc.MemReservation != 0 && r.MemoryBytes != svc.MemReservation {
		twice("mem_reservation", "deploy.resources.reservations.memory")
	}
}

// mounts checks that no path in the container is taken twice.
func (c *checking) mounts(svc types.ServiceConfig) {
	taken := map[string]string{}
	take := func(path, key string, i int) {
		if first, ok := taken[path]; ok {
			c.wrong("give each mount a path of its own", []string{key, fmt.Sprintf("[%d]", i)}, "%s is already the place of %s", path, first)
			return
		}
		taken[path] = fmt.Sprintf("%s[%d]", key, i)
	}
	for i, t := range svc.Tmpfs {
		path, _, _ := strings.Cut(t, ":")
		take(path, "tmpfs", i)
	}
	for i, v := range svc.Volumes {
		take(v.Target, "volumes", i)
		c.subpath(i, v)
	}
}

// hooks checks that there is something to run.
func (c *checking) hooks(key string, hooks []types.ServiceHook) {
	for i, h := range hooks {
		if len(h.Command) == 0 || h.Command[0] == "" {
			c.wrong("a program with its arguments, or remove the hook", []string{key, fmt.Sprintf("[%d]", i), "command"}, "names no program")
		}
	}
}

// subpath checks that a part of a volume is one by its text. What the volume has there is seen when a container is made.
func (c *checking) subpath(i int, v types.ServiceVolumeConfig) {
	if v.Type != types.VolumeTypeVolume || v.Volume == nil || v.Volume.Subpath == "" || !c.literal {
		return
	}
	sub := v.Volume.Subpath
	path := []string{"volumes", v.Target, "volume", "subpath"}
	var p *problem
	switch inside := strings.TrimLeft(sub, "/"); {
	case v.Source == "":
		p = c.wrong("give it a source, or remove subpath", path, "an anonymous volume is mounted as a whole")
	case filepath.IsLocal(sub):
		return
	case filepath.IsLocal(inside):
		p = c.wrong(fmt.Sprintf("it starts at the volume's root: write %s", inside), path, "%q is not relative to the volume", sub)
	default:
		p = c.wrong("a path inside the volume, for example data/uploads", path, "%q leads out of the volume", sub)
	}
	// The target finds it in each of several files, unless it is written in another way there.
	p.others = [][]string{p.path, {"services", c.name, "volumes", fmt.Sprintf("[%d]", i), "volume", "subpath"}}
}

func (c *checking) addresses(svc types.ServiceConfig) {
	for _, key := range sortedKeys(svc.Networks) {
		n := svc.Networks[key]
		if n == nil || !c.literal {
			continue
		}
		if a, err := netip.ParseAddr(n.Ipv4Address); n.Ipv4Address != "" && (err != nil || !a.Is4()) {
			c.wrong("for example 172.20.0.10", []string{"networks", key, "ipv4_address"}, "%q is no IPv4 address", n.Ipv4Address)
		}
		if a, err := netip.ParseAddr(n.Ipv6Address); n.Ipv6Address != "" && (err != nil || !a.Is6()) {
			c.wrong("for example fd00::10", []string{"networks", key, "ipv6_address"}, "%q is no IPv6 address", n.Ipv6Address)
		}
	}
}

// containerNames checks that no two services ask for the same name.
func (c *checking) containerNames() {
	taken := map[string]string{}
	for _, name := range sortedKeys(c.Services) {
		svc := c.Services[name]
		if svc.ContainerName == "" {
			continue
		}
		c.name = name
		if c.literal && !containerName().MatchString(svc.ContainerName) {
			c.wrong("letters, digits, \".\", \"_\" and \"-\" are allowed in it, and it starts with a letter or digit",
				[]string{"container_name"}, "%q can't be the name of a container", svc.ContainerName)
		}
		if first, ok := taken[svc.ContainerName]; ok {
			c.wrong("give each its own", []string{"container_name"}, "%q is already the name of service %q", svc.ContainerName, first)
		}
		taken[svc.ContainerName] = name
	}
}

var containerName = lazily(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// resources checks the sections beside the services.
func (c *checking) resources() {
	wrong := func(allowed string, path []string, format string, args ...any) {
		c.problems = append(c.problems, problem{path: path, reason: fmt.Sprintf(format, args...), allowed: allowed})
	}
	for _, key := range sortedKeys(c.Secrets) {
		if s := c.Secrets[key]; !bool(s.External) && s.File == "" && s.Environment == "" {
			wrong("give it file or environment", []string{"secrets", key}, "has no content")
		}
	}
	if !c.literal {
		return
	}
	for _, key := range sortedKeys(c.Networks) {
		for i, pool := range c.Networks[key].Ipam.Config {
			path := []string{"networks", key, "ipam", "config", fmt.Sprintf("[%d]", i)}
			prefix, err := netip.ParsePrefix(pool.Subnet)
			if pool.Subnet != "" && err != nil {
				wrong("for example 172.28.0.0/16", append(path, "subnet"), "%q is no subnet", pool.Subnet)
				continue
			}
			gateway, err := netip.ParseAddr(pool.Gateway)
			if pool.Gateway == "" {
				continue
			}
			if err != nil {
				wrong("for example 172.28.0.1", append(path, "gateway"), "%q is no address", pool.Gateway)
			} else if pool.Subnet != "" && !prefix.Contains(gateway) {
				wrong("", append(path, "gateway"), "%s is not in the subnet %s", pool.Gateway, pool.Subnet)
			}
		}
	}
}

func (c *checking) jobs() {
	wrong := func(allowed string, path []string, format string, args ...any) {
		c.problems = append(c.problems, problem{path: path, reason: fmt.Sprintf(format, args...), allowed: allowed})
	}
	for _, name := range sortedKeys(c.AllJobs()) {
		if _, ok := c.AllServices()[name]; ok {
			wrong("rename one of them", []string{"jobs", name}, "%q is a service as well", name)
		}
	}
	for _, name := range sortedKeys(c.Jobs) {
		for _, dep := range sortedKeys(c.Jobs[name].DependsOn) {
			_, job := c.Jobs[dep]
			_, service := c.Services[dep]
			_, off := c.DisabledServices[dep]
			if !job && !service && (!off || c.Jobs[name].DependsOn[dep].Required) {
				wrong(c.whyNot(dep), []string{"jobs", name, "depends_on", dep}, "there is no service or job %q", dep)
			}
		}
	}
}

// circles looks for services that wait for each other.
func (c *checking) circles() {
	done := map[string]bool{}
	var way []string
	var visit func(name string) bool
	visit = func(name string) bool {
		if i := slices.Index(way, name); i >= 0 {
			c.circle(way[i:])
			return true
		}
		if done[name] {
			return false
		}
		way = append(way, name)
		for _, dep := range sortedKeys(c.Services[name].DependsOn) {
			if visit(dep) {
				return true
			}
		}
		way = way[:len(way)-1]
		done[name] = true
		return false
	}
	for _, name := range sortedKeys(c.Services) {
		if visit(name) {
			return
		}
	}
}

// circle notes a circle of services, each of which waits for the next.
func (c *checking) circle(members []string) {
	c.name = members[0]
	next := members[1%len(members)]
	if len(members) == 1 {
		c.wrong("remove it", []string{"depends_on", next}, "the service %q waits for itself", next)
	} else {
		c.wrong("remove one of these dependencies", []string{"depends_on", next}, "services wait for each other: %s",
			strings.Join(append(slices.Clone(members), members[0]), " -> "))
	}
	p := &c.problems[len(c.problems)-1]
	for _, key := range []string{"depends_on", "links", "volumes_from"} {
		p.others = append(p.others, []string{"services", c.name, key, next})
	}
	for _, key := range []string{"network_mode", "ipc", "pid", "uts", "cgroup"} {
		p.others = append(p.others, []string{"services", c.name, key})
	}
}
