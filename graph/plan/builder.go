package plan

import (
	"container/heap"
	"errors"
	"slices"
)

// node is a step that has no number yet.
type node struct {
	do    Action
	why   string
	after []*node
	// index is the place at which the node was added, and breaks ties.
	index int
	id    int
	open  int // nodes of after that have no number yet
	next  []*node
}

// builder collects steps in any order.
type builder struct{ nodes []*node }

// add puts a step into the plan that needs the steps after; nil ones don't count.
func (b *builder) add(do Action, why string, after ...*node) *node {
	n := &node{do: do, why: why, index: len(b.nodes)}
	b.nodes = append(b.nodes, n)
	n.needs(after...)
	return n
}

// needs says that n may start only when the others have succeeded.
func (n *node) needs(others ...*node) {
	for _, o := range others {
		if o != nil && o != n {
			n.after = append(n.after, o)
		}
	}
}

var errCycle = errors.New("plan: steps wait for each other")

// steps numbers the nodes from 1, each after those it needs, otherwise in the order in which they were added.
func (b *builder) steps() ([]Step, error) {
	var ready nodeHeap
	for _, n := range b.nodes {
		n.after = unique(n.after)
	}
	reduced := make([][]*node, len(b.nodes))
	for i, n := range b.nodes {
		reduced[i] = n.direct()
	}
	for i, n := range b.nodes {
		n.after = reduced[i]
		n.open = len(n.after)
		for _, o := range n.after {
			o.next = append(o.next, n)
		}
		if n.open == 0 {
			ready = append(ready, n)
		}
	}
	heap.Init(&ready)
	steps := make([]Step, 0, len(b.nodes))
	for ready.Len() > 0 {
		n := heap.Pop(&ready).(*node)
		n.id = len(steps) + 1
		steps = append(steps, Step{ID: n.id, Do: n.do, After: n.afterIDs(), Why: n.why})
		for _, o := range n.next {
			if o.open--; o.open == 0 {
				heap.Push(&ready, o)
			}
		}
	}
	if len(steps) < len(b.nodes) {
		return nil, errCycle
	}
	return steps, nil
}

// direct gives the nodes that n needs without those that another one of them needs anyway. It looks one level down, which
// is where the rules of this package repeat themselves.
func (n *node) direct() []*node {
	if len(n.after) < 2 {
		return n.after
	}
	implied := map[*node]bool{}
	for _, o := range n.after {
		for _, p := range o.after {
			implied[p] = true
		}
	}
	out := make([]*node, 0, len(n.after))
	for _, o := range n.after {
		if !implied[o] {
			out = append(out, o)
		}
	}
	return out
}

func (n *node) afterIDs() []int {
	if len(n.after) == 0 {
		return nil
	}
	ids := make([]int, len(n.after))
	for i, o := range n.after {
		ids[i] = o.id
	}
	slices.Sort(ids)
	return ids
}

// unique drops repeated nodes, in place.
func unique(nodes []*node) []*node {
	if len(nodes) < 2 {
		return nodes
	}
	slices.SortFunc(nodes, func(a, b *node) int { return a.index - b.index })
	return slices.Compact(nodes)
}

// nodeHeap gives the node that was added first.
type nodeHeap []*node

func (h nodeHeap) Len() int           { return len(h) }
func (h nodeHeap) Less(i, j int) bool { return h[i].index < h[j].index }
func (h nodeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *nodeHeap) Push(x any)        { *h = append(*h, x.(*node)) }
func (h *nodeHeap) Pop() any {
	last := len(*h) - 1
	n := (*h)[last]
	*h = (*h)[:last]
	return n
}
