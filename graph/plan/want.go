package plan

import (
	"berth/project"
	"berth/project/hash"
)

// Want is what a project's things are to be made from, as hashes. A missing or empty hash means unknown, and
// never makes a difference.
type Want struct {
	Services map[string]string // by service
	Networks map[string]string // by key in the file
	Volumes  map[string]string // by key in the file
}

// Wanted calculates the hashes of a project's enabled services, its networks and volumes.
func Wanted(p *project.Project) Want {
	w := Want{
		Services: make(map[string]string, len(p.Services)),
		Networks: make(map[string]string, len(p.Networks)),
		Volumes:  make(map[string]string, len(p.Volumes)),
	}
	for name, svc := range p.Services {
		w.Services[name] = hash.Service(svc)
	}
	for key, n := range p.Networks {
		w.Networks[key] = hash.Network(n)
	}
	for key, v := range p.Volumes {
		w.Volumes[key] = hash.Volume(v)
	}
	return w
}

// ImageRef is the reference of the image that containers of a service are made from: what the file says, else
// the name that a built image gets.
func ImageRef(p *project.Project, service string) string {
	svc, ok := p.Services[service]
	if !ok {
		svc = p.DisabledServices[service]
	}
	if svc.Image != "" {
		return svc.Image
	}
	return p.Name + p.Separator + service
}
