package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/pelletier/go-toml/v2"

	"berth/engine/credentials"
)

// source is a registry as one pull sees it: its endpoints with their connections, and the tokens that the caller's
// credentials gave. A pull has its own, as containerd remembers a token's failure for as long as its endpoints live.
type source struct {
	store  *Store
	lookUp func(host string) (user, secret string, err error)

	mu      sync.Mutex
	hosts   map[string][]docker.RegistryHost
	name    string
	fetcher remotes.Fetcher
}

// source is for one pull with the credentials of a docker configuration, which are looked up as long as ctx lasts; the
// caller closes it.
func (s *Store) source(ctx context.Context, c credentials.Config) *source {
	lookUp := func(host string) (string, string, error) { return c.Of(ctx, host) }
	return &source{store: s, lookUp: lookUp, hosts: map[string][]docker.RegistryHost{}}
}

// resolve asks for the descriptor of a reference, by HEAD.
func (src *source) resolve(ctx context.Context, ref string) (ocispec.Descriptor, error) {
	name, desc, err := src.resolver(ctx).Resolve(ctx, ref)
	src.mu.Lock()
	src.name = name
	src.mu.Unlock()
	return desc, err
}

// Fetch is remotes.Fetcher for what was resolved.
func (src *source) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	src.mu.Lock()
	f, name := src.fetcher, src.name
	src.mu.Unlock()
	if !images.IsNonDistributable(desc.MediaType) {
		desc.URLs = nil // other layers are the registry's to give, whatever addresses a manifest names
	}
	if f == nil {
		var err error
		if f, err = src.resolver(ctx).Fetcher(ctx, name); err != nil {
			return nil, err
		}
		src.mu.Lock()
		src.fetcher = f
		src.mu.Unlock()
	}
	return f.Fetch(ctx, desc)
}

// renew forgets connections and tokens, after a failure. Transfers that run are not touched.
func (src *source) renew() {
	src.mu.Lock()
	defer src.mu.Unlock()
	for _, list := range src.hosts {
		for _, h := range list {
			h.Client.CloseIdleConnections()
		}
	}
	clear(src.hosts)
	src.fetcher = nil
}

func (src *source) close() { src.renew() }

// pusher is for pushing what was set as the source's name.
func (src *source) pusher(ctx context.Context, tracker docker.StatusTracker) (remotes.Pusher, error) {
	return src.resolverWith(ctx, tracker).Pusher(ctx, src.name)
}

func (src *source) resolver(ctx context.Context) remotes.Resolver { return src.resolverWith(ctx, nil) }

// resolverWith makes a resolver; tracker is told of pushes, nil for none.
func (src *source) resolverWith(ctx context.Context, tracker docker.StatusTracker) remotes.Resolver {
	r := docker.NewResolver(docker.ResolverOptions{
		Hosts:   func(host string) ([]docker.RegistryHost, error) { return src.endpoints(ctx, host) },
		Headers: userAgent(),
		Tracker: tracker,
	})
	if o, ok := r.(remotes.ResolverWithOptions); ok {
		o.SetOptions(transfer.WithDownloadLimiter(src.store.connections))
	}
	return r
}

func (src *source) endpoints(ctx context.Context, host string) ([]docker.RegistryHost, error) {
	src.mu.Lock()
	defer src.mu.Unlock()
	if list, ok := src.hosts[host]; ok {
		return slices.Clone(list), nil
	}
	list, err := src.store.endpoints(context.WithoutCancel(ctx), host, src.lookUp)
	if err == nil {
		src.hosts[host] = list
	}
	return slices.Clone(list), err
}

func userAgent() http.Header { return http.Header{"User-Agent": []string{"berth"}} }

// endpoints reads the registry's folder and gives its mirrors and itself, in the order to try.
// A registry on a loopback address is spoken to by TLS if it can, else in plain HTTP.
func (s *Store) endpoints(ctx context.Context, host string, lookUp func(host string) (user, secret string, err error), auth ...docker.AuthorizerOpt) ([]docker.RegistryHost, error) {
	opts := config.HostOptions{
		Credentials:    lookUp,
		AuthorizerOpts: auth,
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
	list, err := config.ConfigureHosts(ctx, opts)(host)
	for i := range list {
		list[i].Authorizer = &turns{authorizer: list[i].Authorizer, turn: make(chan struct{}, 1)}
	}
	return list, err
}

// turns has requests authorized one after the other: containerd's authorizer looks at tokens that another request is
// still fetching.
type turns struct {
	authorizer docker.Authorizer
	turn       chan struct{}
}

// Authorize is docker.Authorizer.
func (t *turns) Authorize(ctx context.Context, req *http.Request) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.turn }()
	return t.authorizer.Authorize(ctx, req)
}

// AddResponses is docker.Authorizer.
func (t *turns) AddResponses(ctx context.Context, responses []*http.Response) error {
	return t.authorizer.AddResponses(ctx, responses)
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
		var de *toml.DecodeError
		if errors.As(err, &de) {
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
