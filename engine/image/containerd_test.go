package image_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/introspection"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins"
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/diff/walking/plugin"
	_ "github.com/containerd/containerd/v2/plugins/events"
	_ "github.com/containerd/containerd/v2/plugins/gc"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/mount"
	"github.com/containerd/containerd/v2/plugins/services"
	_ "github.com/containerd/containerd/v2/plugins/services/content"
	_ "github.com/containerd/containerd/v2/plugins/services/diff"
	_ "github.com/containerd/containerd/v2/plugins/services/images"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/services/snapshots"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/native/plugin"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/overlay/plugin"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"

	hosttest "berth/testing/host"
)

// TestMain has the tests run where no port is anybody else's, and no resolver of the host's says what it takes a name for that there is
// not.
func TestMain(m *testing.M) {
	code, done := hosttest.Apart()
	if !done {
		code = m.Run()
	}
	os.Exit(code)
}

// host is the part of containerd that images need, in this process, with its data in a folder of the test.
type host struct {
	t      testing.TB
	ctx    context.Context
	client *containerd.Client
	db     *metadata.DB
}

// newHost builds the plugins as containerd's server does; the services are the ones that the engine has.
func newHost(t testing.TB) *host {
	t.Helper()
	return newHostIn(t, t.TempDir())
}

func newHostIn(t testing.TB, root string) *host {
	t.Helper()
	if err := log.SetLevel("fatal"); err != nil {
		t.Fatal(err)
	}
	ctx := namespaces.WithNamespace(context.Background(), "berth")
	running, end := context.WithCancel(ctx)
	set := plugin.NewPluginSet()
	for _, r := range registry.Graph(func(r *plugin.Registration) bool { return r.Type == plugins.GRPCPlugin }) {
		ic := plugin.NewContext(running, set, map[string]string{
			plugins.PropertyRootDir: filepath.Join(root, "root", r.URI()), plugins.PropertyStateDir: filepath.Join(root, "state", r.URI())})
		ic.Config = r.Config
		p := r.Init(ic)
		if err := set.Add(p); err != nil {
			t.Fatal(err)
		}
		instance, err := p.Instance()
		if err != nil {
			if plugin.IsSkipPlugin(err) {
				continue
			}
			t.Fatalf("containerd's plugin %s: %v", r.URI(), err)
		}
		if c, ok := instance.(io.Closer); ok {
			t.Cleanup(func() { c.Close() })
		}
	}
	// Containerd's collector ends before the databases are closed. On finding that of the mounts closed it would keep the locks for
	// ever, and with them who removes a lease.
	t.Cleanup(end)
	service := func(id string) any {
		i, err := set.Get(plugins.ServicePlugin, id).Instance()
		if err != nil {
			t.Fatalf("containerd's service %s: %v", id, err)
		}
		return i
	}
	single := func(typ plugin.Type) any {
		for _, p := range set.GetAll() {
			if p.Registration.Type == typ {
				i, err := p.Instance()
				if err != nil {
					t.Fatal(err)
				}
				return i
			}
		}
		t.Fatalf("containerd has no %s", typ)
		return nil
	}
	client, err := containerd.New("", containerd.WithDefaultNamespace("berth"), containerd.WithServices(
		containerd.WithContentStore(service(services.ContentService).(content.Store)),
		containerd.WithImageClient(service(services.ImagesService).(imagesapi.ImagesClient)),
		containerd.WithSnapshotters(service(services.SnapshotsService).(map[string]snapshots.Snapshotter)),
		containerd.WithDiffClient(service(services.DiffService).(diffapi.DiffClient)),
		containerd.WithNamespaceClient(service(services.NamespacesService).(namespacesapi.NamespacesClient)),
		containerd.WithIntrospectionService(service(services.IntrospectionService).(introspection.Service)),
		containerd.WithLeasesService(single(plugins.LeasePlugin).(leases.Manager)),
	))
	if err != nil {
		t.Fatal(err)
	}
	return &host{t: t, ctx: ctx, client: client, db: single(plugins.MetadataPlugin).(*metadata.DB)}
}

// collect runs containerd's garbage collector now.
func (h *host) collect() {
	h.t.Helper()
	if _, err := h.db.GarbageCollect(h.ctx); err != nil {
		h.t.Fatalf("collect garbage: %v", err)
	}
}

// remains lists all that is in the stores.
func (h *host) remains(snapshotter string) (list []string) {
	h.t.Helper()
	add := func(kind, name string) { list = append(list, kind+" "+name) }
	err := h.client.ContentStore().Walk(h.ctx, func(i content.Info) error { add("content", i.Digest.String()); return nil })
	if err != nil {
		h.t.Fatal(err)
	}
	statuses, err := h.client.ContentStore().ListStatuses(h.ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range statuses {
		add("ingest", s.Ref)
	}
	err = h.client.SnapshotService(snapshotter).Walk(h.ctx, func(_ context.Context, i snapshots.Info) error { add("snapshot", i.Name); return nil })
	if err != nil {
		h.t.Fatal(err)
	}
	ls, err := h.client.LeasesService().List(h.ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, l := range ls {
		add("lease", l.ID)
	}
	return list
}

// within mounts a snapshot and has f look at it.
func within(t testing.TB, mounts []mount.Mount, f func(root string)) {
	t.Helper()
	dir := t.TempDir()
	if err := mount.All(mounts, dir); err != nil {
		t.Fatalf("mount a snapshot: %v", err)
	}
	defer func() {
		if err := mount.UnmountAll(dir, 0); err != nil {
			t.Errorf("unmount a snapshot: %v", err)
		}
	}()
	f(dir)
}

// deadline ends a test's context long before the test's own limit.
func deadline(ctx context.Context, t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(ctx, hosttest.Patience)
	t.Cleanup(cancel)
	return ctx
}
