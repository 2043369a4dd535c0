package creation

import (
	"path/filepath"
	"strings"
	"sync"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
)

// groups finds containers' cgroups.
type groups struct {
	mu sync.Mutex
	// tops are the folders in which paths of cgroups of version 1 begin, by hierarchy; nil until they have been looked for.
	// libcontainer would look for each of them for each container, with some ten system calls.
	tops map[string]string
}

// open gives the hand on a container's cgroups, whether they are there or not.
func (g *groups) open(c *cgroups.Cgroup) (m cgroups.Manager, unified bool, err error) {
	if unified = cgroups.IsCgroup2UnifiedMode(); unified {
		m, err = fs2.NewManager(c, "")
	} else {
		m, err = g.openHierarchies(c)
	}
	return m, unified, err
}

func (g *groups) openHierarchies(c *cgroups.Cgroup) (cgroups.Manager, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tops == nil {
		m, err := fs.NewManager(c, nil)
		if err != nil {
			return nil, err
		}
		g.tops = topsOf(m.GetPaths(), c.Path)
		return m, nil
	}
	paths := make(map[string]string, len(g.tops))
	for name, top := range g.tops {
		paths[name] = filepath.Join(top, c.Path)
	}
	return fs.NewManager(c, paths)
}

// topsOf gives what comes before a path in all of the folders that libcontainer has found for it, nil if it isn't in each.
func topsOf(paths map[string]string, path string) map[string]string {
	tops := make(map[string]string, len(paths))
	for name, folder := range paths {
		top, ok := strings.CutSuffix(folder, path)
		if !ok {
			return nil
		}
		tops[name] = top
	}
	return tops
}
