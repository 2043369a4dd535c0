package image

import (
	"slices"
	"sync"
)

// holds are the names that commands at work need; each may be held several times.
type holds struct {
	mu    sync.Mutex
	names map[string]int // full
}

// Hold keeps names from Remove and Prune until release is called, so that what was found or fetched under a name is still
// there when a container is made of it. A name may stand for nothing yet; what can't be read as a name is left out.
func (s *Store) Hold(refs ...string) (release func()) {
	var names []string
	for _, ref := range refs {
		if r, err := ParseRef(ref); err == nil {
			names = append(names, r.String())
		}
	}
	s.holds.mu.Lock()
	defer s.holds.mu.Unlock()
	if s.holds.names == nil {
		s.holds.names = map[string]int{}
	}
	for _, n := range names {
		s.holds.names[n]++
	}
	return sync.OnceFunc(func() {
		s.holds.mu.Lock()
		defer s.holds.mu.Unlock()
		for _, n := range names {
			if s.holds.names[n]--; s.holds.names[n] == 0 {
				delete(s.holds.names, n)
			}
		}
	})
}

// unlessHeld calls f if none of the names is held, and lets nobody take hold of them meanwhile.
func (h *holds) unlessHeld(names []string, f func() error) (held bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(names, func(n string) bool { return h.names[n] > 0 }) {
		return true, nil
	}
	return false, f()
}
