package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/errdefs"

	"berth/project"
)

// keptProjects remembers each project as its last up resolved it, so that verbs work without the files and stacks
// come back in order after a crash.
type keptProjects struct {
	dir string
	mu  sync.Mutex
}

// kept is the file of one project.
type kept struct {
	Project json.RawMessage
}

func (k *keptProjects) file(name string) string { return filepath.Join(k.dir, name+".json") }

// Put writes a project down.
func (k *keptProjects) Put(p *project.Project) error {
	b, err := project.Encode(p)
	if err != nil {
		return err
	}
	return k.write(p.Name, kept{Project: b})
}

// Get gives a project as it was kept.
func (k *keptProjects) Get(name string) (*project.Project, error) {
	k.mu.Lock()
	v, err := k.read(name)
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	p, err := project.Decode(v.Project)
	if err != nil {
		return nil, fmt.Errorf("read kept project %q: %w", name, err)
	}
	return p, nil
}

// Names lists the projects that were kept.
func (k *keptProjects) Names() []string {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	return names
}

// Forget drops a project.
func (k *keptProjects) Forget(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := os.Remove(k.file(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (k *keptProjects) read(name string) (kept, error) {
	var v kept
	b, err := os.ReadFile(k.file(name))
	if errors.Is(err, os.ErrNotExist) {
		return v, fmt.Errorf("project %q is not known: %w", name, errdefs.ErrNotFound)
	}
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("read kept project %q: %w", name, err)
	}
	return v, nil
}

func (k *keptProjects) write(name string, v kept) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// An up that changes nothing has nothing to write down, and does not wait for the disk.
	if old, err := os.ReadFile(k.file(name)); err == nil && bytes.Equal(old, b) {
		return nil
	}
	tmp := k.file(name) + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	// On the disk before it replaces the old one: half a file would be worse than an old one.
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, k.file(name))
}
