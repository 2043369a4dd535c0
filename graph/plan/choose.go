package plan

import (
	"cmp"
	"slices"

	"berth/project"
)

// choose gives the containers that a verb is about: those of the named services, or of all services that the file
// has enabled; without a file (p is nil) all there are. One-offs only if asked for. They are sorted by service and
// number, the newest of a slot first.
func choose(p *project.Project, have Observed, services []string, oneoffs bool) ([]*Container, error) {
	if err := checkServices(p, have, services); err != nil {
		return nil, err
	}
	named := set(services)
	var out []*Container
	for i := range have.Containers {
		c := &have.Containers[i]
		if c.Oneoff && !oneoffs {
			continue
		}
		switch {
		case len(named) > 0:
			if !named[c.Slot.Service] {
				continue
			}
		case p != nil:
			if _, ok := p.Services[c.Slot.Service]; !ok {
				continue
			}
		}
		out = append(out, c)
	}
	sortContainers(out)
	return out, nil
}

// checkServices fails for a service that the file doesn't have or, without a file, of which there is no container.
func checkServices(p *project.Project, have Observed, services []string) error {
	for _, name := range services {
		if p != nil {
			_, enabled := p.Services[name]
			_, disabled := p.DisabledServices[name]
			if !enabled && !disabled {
				return &UnknownServiceError{Service: name}
			}
			continue
		}
		if !slices.ContainsFunc(have.Containers, func(c Container) bool { return c.Slot.Service == name }) {
			return &UnknownServiceError{Service: name}
		}
	}
	return nil
}

func sortContainers(all []*Container) {
	slices.SortFunc(all, func(a, b *Container) int {
		return cmp.Or(
			compareStrings(a.Slot.Service, b.Slot.Service),
			cmp.Compare(a.Slot.Number, b.Slot.Number),
			-cmp.Compare(a.Created, b.Created),
			compareStrings(a.ID, b.ID))
	})
}

// newest leaves one container for each slot of sorted containers.
func newest(sorted []*Container) []*Container {
	return slices.CompactFunc(sorted, func(a, b *Container) bool {
		return !a.Oneoff && !b.Oneoff && a.Slot == b.Slot
	})
}

func projectName(p *project.Project, have Observed) string {
	if have.Project == "" && p != nil && p.Project != nil {
		return p.Name
	}
	return have.Project
}
