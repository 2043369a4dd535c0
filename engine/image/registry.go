package image

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/errdefs"
	"github.com/pelletier/go-toml/v2"
)

// registryCache holds the endpoints of registries that are in use: pulls that run at the same time share connections
// and tokens. With the last of them an endpoint is forgotten, so that a changed configuration or login counts from
// the next pull on.
type registryCache struct {
	mu sync.Mutex
	m  map[registryKey]*registryEntry
}

type registryKey struct{ host, credentials string }

type registryEntry struct {
	users int
	ready sync.Once
	hosts []docker.RegistryHost
	err   error
}

// registrySession is one pull's use of the cache.
type registrySession struct {
	store       *Store
	credentials string
	mu          sync.Mutex
	used        map[registryKey]*registryEntry
}

// resolver speaks to registries for one pull with the credentials of a docker configuration's folder. The caller
// calls done when it is through.
func (s *Store) resolver(ctx context.Context, credentials string) (r remotes.Resolver, done func()) {
	session := &registrySession{store: s, credentials: credentials, used: map[registryKey]*registryEntry{}}
	r = docker.NewResolver(docker.ResolverOptions{
		Hosts:   func(host string) ([]docker.RegistryHost, error) { return session.hosts(ctx, host) },
		Headers: http.Header{"User-Agent": []string{"berth"}},
	})
	if o, ok := r.(remotes.ResolverWithOptions); ok {
		o.SetOptions(transfer.WithDownloadLimiter(s.connections))
	}
	return r, session.close
}

func (rs *registrySession) hosts(ctx context.Context, host string) ([]docker.RegistryHost, error) {
	key := registryKey{host, rs.credentials}
	rs.mu.Lock()
	entry := rs.used[key]
	if entry == nil {
		entry = rs.store.registries.acquire(key)
		rs.used[key] = entry
	}
	rs.mu.Unlock()
	entry.ready.Do(func() { entry.hosts, entry.err = rs.store.endpoints(context.WithoutCancel(ctx), host, rs.credentials) })
	return slices.Clone(entry.hosts), entry.err
}

func (rs *registrySession) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for key, entry := range rs.used {
		rs.store.registries.release(key, entry)
	}
	clear(rs.used)
}

func (c *registryCache) acquire(key registryKey) *registryEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[registryKey]*registryEntry{}
	}
	entry := c.m[key]
	if entry == nil {
		entry = &registryEntry{}
		c.m[key] = entry
	}
	entry.users++
	return entry
}

func (c *registryCache) release(key registryKey, entry *registryEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry.users--; entry.users > 0 {
		return
	}
	delete(c.m, key)
	for _, h := range entry.hosts {
		if h.Client != nil {
			h.Client.CloseIdleConnections()
		}
	}
}

// endpoints reads the registry's folder and gives its mirrors and itself, in the order to try.
// A registry on a loopback address is spoken to by TLS if it can, else in plain HTTP.
func (s *Store) endpoints(ctx context.Context, host, credentials string) ([]docker.RegistryHost, error) {
	opts := config.HostOptions{
		Credentials: func(h string) (string, string, error) { return credentialsOf(credentials, h) },
		UpdateClient: func(c *http.Client) error {
			if t, ok := c.Transport.(*http.Transport); ok {
				t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, s.cfg.MaxConnections
			}
			return nil
		},
	}
	if s.cfg.HostsDir != "" {
		find := config.HostDirFromRoot(s.cfg.HostsDir)
		dir, err := find(host)
		if err == nil && dir != "" {
			err = checkHostsFile(filepath.Join(dir, "hosts.toml"))
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		opts.HostDir = find
	}
	return config.ConfigureHosts(ctx, opts)(host)
}

// hostsFile is what checkHostsFile looks at in a hosts.toml.
type hostsFile struct {
	Server       string                `toml:"server"`
	Capabilities []string              `toml:"capabilities"`
	Host         map[string]hostsEntry `toml:"host"`
}

type hostsEntry struct {
	Capabilities []string `toml:"capabilities"`
}

// checkHostsFile refuses a broken hosts.toml: containerd would log the error and pull past the mirror.
func checkHostsFile(path string) error {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	bad := func(reason string) error {
		return &Error{Op: "read registry configuration", Ref: path, Class: errdefs.ErrInvalidArgument, Reason: reason, cause: err,
			hint: "the format is containerd's: server = \"https://...\" and [host.\"https://...\"] tables"}
	}
	if err != nil {
		return bad(err.Error())
	}
	var f hostsFile
	if err = toml.Unmarshal(b, &f); err != nil {
		if de, ok := err.(*toml.DecodeError); ok {
			line, column := de.Position()
			return bad(fmt.Sprintf("line %d, column %d: %v", line, column, de))
		}
		return bad(err.Error())
	}
	if err = checkEntry(f.Server, f.Capabilities); err != nil {
		return bad(err.Error())
	}
	for name, h := range f.Host {
		if err = checkEntry(name, h.Capabilities); err != nil {
			return bad(err.Error())
		}
	}
	return nil
}

func checkEntry(server string, capabilities []string) error {
	if _, err := url.Parse(server); err != nil {
		return fmt.Errorf("server %q is no URL", server)
	}
	for _, c := range capabilities {
		if !slices.Contains([]string{"pull", "resolve", "push", "referrers"}, c) {
			return fmt.Errorf("unknown capability %q; there are pull, resolve and push", c)
		}
	}
	return nil
}
