package graph

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project"
)

// Kind is a field that makes one service depend on another.
type Kind string

const (
	DependsOn   Kind = "depends_on"
	Links       Kind = "links"
	VolumesFrom Kind = "volumes_from"
	NetworkMode Kind = "network_mode"
	Ipc         Kind = "ipc"
	Pid         Kind = "pid"
	Uts         Kind = "uts"
	Cgroup      Kind = "cgroup"
)

// Edge says that service From depends on service To.
type Edge struct {
	From, To string
	// Kinds are the fields that cause the edge, sorted as the constants are. DependsOn stands for
	// an entry of depends_on, be it the user's or one that compose-go added for another field.
	Kinds []Kind
	// Condition is one of types.ServiceConditionStarted, -Healthy, -CompletedSuccessfully.
	Condition string
	// Required: From can't be brought up without To.
	Required bool
	// Restart: when To is replaced or restarted, From is restarted after it.
	Restart bool
}

// Has reports whether the field k is one of those that cause the edge.
func (e Edge) Has(k Kind) bool { return slices.Contains(e.Kinds, k) }

// Joins reports whether containers of From use a namespace or volumes of a container of To, so that
// they can't outlive it.
func (e Edge) Joins() bool {
	return slices.ContainsFunc(e.Kinds, func(k Kind) bool { return k != DependsOn && k != Links })
}

// Graph holds the dependencies between the enabled services of a project.
type Graph struct {
	order      []string
	known      map[string]bool
	needs      map[string][]Edge // by From, sorted by To
	neededBy   map[string][]Edge // by To, sorted by From
	unresolved map[string][]Edge // by From: edges to disabled services
}

// Build reads the dependencies of a project's enabled services. It fails with a *CycleError, or with an
// *UndefinedError when a service requires one that the project does not have at all.
func Build(p *project.Project) (*Graph, error) {
	g := &Graph{
		known:      map[string]bool{},
		needs:      map[string][]Edge{},
		neededBy:   map[string][]Edge{},
		unresolved: map[string][]Edge{},
	}
	names := p.ServiceNames()
	for _, name := range names {
		g.known[name] = true
		for _, e := range edges(name, p.Services[name], p) {
			_, enabled := p.Services[e.To]
			_, disabled := p.DisabledServices[e.To]
			switch {
			case enabled:
				g.needs[e.From] = append(g.needs[e.From], e)
				g.neededBy[e.To] = append(g.neededBy[e.To], e)
			case disabled:
				g.unresolved[e.From] = append(g.unresolved[e.From], e)
			case e.Required:
				return nil, &UndefinedError{Edge: e}
			}
		}
	}
	return g, g.sort(names)
}

// edges gives the dependencies of one service, sorted by the service they lead to.
func edges(name string, svc types.ServiceConfig, p *project.Project) []Edge {
	found := map[string]*Edge{}
	add := func(to string, k Kind, restart bool) {
		e, ok := found[to]
		if !ok {
			e = &Edge{From: name, To: to, Condition: types.ServiceConditionStarted, Required: true, Restart: restart}
			found[to] = e
		}
		if !e.Has(k) {
			e.Kinds = append(e.Kinds, k)
		}
	}
	for to, d := range svc.DependsOn {
		condition := d.Condition
		if condition == "" {
			condition = types.ServiceConditionStarted
		}
		found[to] = &Edge{From: name, To: to, Kinds: []Kind{DependsOn}, Condition: condition, Required: d.Required, Restart: d.Restart}
	}
	for _, link := range svc.Links {
		to, _, _ := strings.Cut(link, ":")
		add(to, Links, true)
	}
	for _, from := range svc.VolumesFrom {
		if strings.HasPrefix(from, types.ContainerPrefix) {
			continue
		}
		to, _, _ := strings.Cut(from, ":")
		add(to, VolumesFrom, false)
	}
	for _, ns := range []struct {
		kind Kind
		mode string
	}{{NetworkMode, svc.NetworkMode}, {Ipc, svc.Ipc}, {Pid, svc.Pid}, {Uts, svc.Uts}, {Cgroup, svc.Cgroup}} {
		if to, ok := strings.CutPrefix(ns.mode, types.ServicePrefix); ok {
			add(to, ns.kind, true)
		}
	}
	all := make([]Edge, 0, len(found))
	for _, e := range found {
		e.Restart = e.Restart && !p.Legacy
		all = append(all, *e)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].To < all[j].To })
	return all
}

// sort sets the order of names: dependencies first, otherwise by name.
func (g *Graph) sort(names []string) error {
	const (
		onPath = 1
		done   = 2
	)
	state := map[string]int{}
	var path []Edge
	var visit func(name string) error
	visit = func(name string) error {
		state[name] = onPath
		for _, e := range g.needs[name] {
			path = append(path, e)
			switch state[e.To] {
			case onPath:
				return newCycleError(path)
			case 0:
				if err := visit(e.To); err != nil {
					return err
				}
			}
			path = path[:len(path)-1]
		}
		state[name] = done
		g.order = append(g.order, name)
		return nil
	}
	for _, name := range names {
		if state[name] == 0 {
			if err := visit(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Order gives all enabled services, each after those it depends on. The caller must not change it.
func (g *Graph) Order() []string { return g.order }

// Dependencies gives the edges from service, sorted by where they lead. The caller must not change them.
func (g *Graph) Dependencies(service string) []Edge { return g.needs[service] }

// Dependents gives the edges to service, sorted by where they come from. The caller must not change them.
func (g *Graph) Dependents(service string) []Edge { return g.neededBy[service] }

// Closure gives the services and all that they depend on, in Order; none means all. It fails with an
// *UnknownError for a service that is not enabled, and with a *DisabledError when one of them requires
// a service that is not.
func (g *Graph) Closure(services ...string) ([]string, error) {
	if len(services) == 0 {
		services = g.order
	}
	if err := g.Check(services...); err != nil {
		return nil, err
	}
	in := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		if in[name] {
			return nil
		}
		in[name] = true
		for _, e := range g.unresolved[name] {
			if e.Required {
				return &DisabledError{Edge: e}
			}
		}
		for _, e := range g.needs[name] {
			if err := visit(e.To); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range services {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return g.filter(in), nil
}

// Check fails with an *UnknownError unless all services are enabled ones of the project.
func (g *Graph) Check(services ...string) error {
	for _, name := range services {
		if !g.known[name] {
			return &UnknownError{Service: name}
		}
	}
	return nil
}

// WithDependents gives the services and all that depend on them, in Order, over the edges that follow accepts.
func (g *Graph) WithDependents(services []string, follow func(Edge) bool) []string {
	in := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if in[name] {
			return
		}
		in[name] = true
		for _, e := range g.neededBy[name] {
			if follow(e) {
				visit(e.From)
			}
		}
	}
	for _, name := range services {
		visit(name)
	}
	return g.filter(in)
}

func (g *Graph) filter(in map[string]bool) []string {
	var out []string
	for _, name := range g.order {
		if in[name] {
			out = append(out, name)
		}
	}
	return out
}

// String gives `"web" (depends_on, links)` as a message wants it.
func (e Edge) String() string {
	kinds := make([]string, len(e.Kinds))
	for i, k := range e.Kinds {
		kinds[i] = string(k)
	}
	return fmt.Sprintf("%q (%s)", e.From, strings.Join(kinds, ", "))
}
