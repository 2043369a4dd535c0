package plan

import (
	"cmp"
	"slices"
)

// dependency says that a container depends on another one that is there.
type dependency struct{ container, on *Container }

// dependencies gives what containers depend on among themselves: those of the services that they need, by their
// own account and by more (nil: nothing more), and those that they join. Where the accounts go round in a ring, which
// they can as they come from different versions of a file, what closes it is left out.
func dependencies(all []*Container, more func(service string) []string) []dependency {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b *Container) int {
		return cmp.Or(compareStrings(a.Slot.Service, b.Slot.Service), cmp.Compare(a.Slot.Number, b.Slot.Number), compareStrings(a.ID, b.ID))
	})
	byID := map[string]*Container{}
	byService := map[string][]*Container{}
	for _, c := range all {
		byID[c.ID] = c
		if !c.Oneoff {
			byService[c.Slot.Service] = append(byService[c.Slot.Service], c)
		}
	}
	needs := func(c *Container) []*Container {
		var on []*Container
		services := c.Needs
		if more != nil && !c.Oneoff {
			services = slices.Concat(more(c.Slot.Service), services)
		}
		for _, id := range c.Joins {
			if o := byID[id]; o != nil {
				on = append(on, o)
			}
		}
		for _, s := range services {
			if s != c.Slot.Service {
				on = append(on, byService[s]...)
			}
		}
		return on
	}
	return withoutRings(all, needs)
}

// withoutRings walks the containers depth first and leaves out what leads back onto the walk's path.
func withoutRings(all []*Container, needs func(*Container) []*Container) []dependency {
	const (
		onPath = 1
		done   = 2
	)
	var out []dependency
	state := map[*Container]int{}
	var visit func(c *Container)
	visit = func(c *Container) {
		state[c] = onPath
		for _, o := range needs(c) {
			if state[o] == onPath {
				continue
			}
			out = append(out, dependency{container: c, on: o})
			if state[o] == 0 {
				visit(o)
			}
		}
		state[c] = done
	}
	for _, c := range all {
		if state[c] == 0 {
			visit(c)
		}
	}
	return out
}
