package apply

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/containerd/continuity/fs"

	"berth/engine/container"
	"berth/engine/spec"
)

// account is an image's /etc/passwd and /etc/group.
type account struct{ passwd, group []byte }

// userCache keeps them by chain id, so that thirty containers of one image read them once.
type userCache struct {
	mu    sync.Mutex
	byKey map[string]account
}

// maxAccounts bounds the cache.
const maxAccounts = 256

func (u *userCache) get(key string, read func() (account, error)) (account, error) {
	u.mu.Lock()
	a, ok := u.byKey[key]
	u.mu.Unlock()
	if ok {
		return a, nil
	}
	a, err := read()
	if err != nil {
		return a, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.byKey) >= maxAccounts {
		clear(u.byKey)
	}
	u.byKey[key] = a
	return a, nil
}

func readAccount(root string) (a account, err error) {
	for name, into := range map[string]*[]byte{"/etc/passwd": &a.passwd, "/etc/group": &a.group} {
		// A link in the image must not lead out of it.
		path, err := fs.RootPath(root, name)
		if err != nil {
			return a, err
		}
		if *into, err = os.ReadFile(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return a, err
		}
	}
	return a, nil
}

// user finds whom the process runs as, in the image's own files.
func (m *making) user(ctx context.Context) (spec.User, error) {
	a, err := m.users.get(m.img.ChainID.String(), func() (a account, err error) {
		err = m.withRootFS(ctx, func(root string) error {
			a, err = readAccount(root)
			return err
		})
		return a, err
	})
	if err != nil {
		return spec.User{}, err
	}
	return spec.LookupUser(m.proc.User, a.passwd, a.group, m.svc.GroupAdd)
}

// UserIn finds a user by name or number in a container that runs.
func (a *Applier) UserIn(c *container.Container, user string) (*spec.User, error) {
	acc, err := readAccount(c.RootFS())
	if err != nil {
		return nil, err
	}
	u, err := spec.LookupUser(user, acc.passwd, acc.group, nil)
	return &u, err
}
