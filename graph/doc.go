// Package graph knows which service of a project depends on which, and why.
//
// It owns the edges (depends_on, links, volumes_from, and namespaces shared with "service:"), the check
// for cycles and the order that follows. It knows nothing of containers, hosts or plans: graph/plan asks
// it what comes first.
//
// Build is the entry point. A built Graph has no cycle, holds enabled services only, is never changed,
// and answers in an order that depends on nothing but the project.
//
// # Design
//
// There is one Edge for each pair of services, whatever the number of fields that cause it. compose-go
// adds a depends_on entry for each link, volumes_from and shared namespace when it loads a file; Build
// does the same by itself, so that it does not matter how a project came to be. What the file says
// explicitly of a dependency wins over what a field implies.
//
// A file in the v1 format knows no depends_on: its links give an order and nothing else, so no edge of a
// legacy project asks for restarts.
package graph
