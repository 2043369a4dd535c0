package graph

import (
	"fmt"
	"strings"
)

// CycleError says that services depend on each other in a ring.
type CycleError struct {
	// Edges go round the ring once, beginning at the member whose name sorts first.
	Edges []Edge
}

// newCycleError finds the ring at the end of a path whose last edge leads back onto it.
func newCycleError(path []Edge) *CycleError {
	back := path[len(path)-1].To
	for i, e := range path {
		if e.From == back {
			path = path[i:]
			break
		}
	}
	first := 0
	for i, e := range path {
		if e.From < path[first].From {
			first = i
		}
	}
	ring := make([]Edge, 0, len(path))
	ring = append(ring, path[first:]...)
	return &CycleError{Edges: append(ring, path[:first]...)}
}

// Services gives the members of the ring in order.
func (e *CycleError) Services() []string {
	names := make([]string, len(e.Edges))
	for i, edge := range e.Edges {
		names[i] = edge.From
	}
	return names
}

func (e *CycleError) Error() string {
	var b strings.Builder
	b.WriteString("dependency cycle: ")
	for _, edge := range e.Edges {
		b.WriteString(edge.String() + " -> ")
	}
	fmt.Fprintf(&b, "%q", e.Edges[0].From)
	return b.String()
}

// Hint names the entries of which one has to go.
func (e *CycleError) Hint() string {
	fields := make([]string, len(e.Edges))
	for i, edge := range e.Edges {
		fields[i] = fmt.Sprintf("services.%s.%s", edge.From, edge.Kinds[len(edge.Kinds)-1])
		if edge.Kinds[len(edge.Kinds)-1] == DependsOn {
			fields[i] += "." + edge.To
		}
	}
	return "take one of these out of the file: " + strings.Join(fields, ", ")
}

// UndefinedError says that a service requires one that the project does not have.
type UndefinedError struct{ Edge Edge }

func (e *UndefinedError) Error() string {
	return fmt.Sprintf("services.%s.%s: service %q is not defined", e.Edge.From, e.Edge.Kinds[len(e.Edge.Kinds)-1], e.Edge.To)
}

// DisabledError says that a service requires one whose profiles are not active.
type DisabledError struct{ Edge Edge }

func (e *DisabledError) Error() string {
	return fmt.Sprintf("service %q depends on %q, which is not enabled", e.Edge.From, e.Edge.To)
}

func (e *DisabledError) Hint() string {
	return fmt.Sprintf("activate a profile of %q with --profile, or set services.%s.depends_on.%s.required to false", e.Edge.To, e.Edge.From, e.Edge.To)
}

// UnknownError says that a service that was asked for is not an enabled one of the project.
type UnknownError struct{ Service string }

func (e *UnknownError) Error() string { return fmt.Sprintf("no such service: %s", e.Service) }
