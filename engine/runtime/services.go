package runtime

import (
	"github.com/containerd/containerd/api/services/diff/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/introspection"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins"
	srv "github.com/containerd/containerd/v2/plugins/services"
	"github.com/containerd/plugin"
)

// services gives the client the services of this process. client.WithInMemoryServices does the same, but
// insists on the transfer service and the sandbox store, which berth does not have. Containers' records are reached directly:
// their service begins a transaction for each call.
func services(ic *plugin.InitContext, db *metadata.DB) []client.ServicesOpt {
	opts := []client.ServicesOpt{client.WithContainerStore(metadata.NewContainerStore(db))}
	single := func(t plugin.Type, f func(any) client.ServicesOpt) {
		if i, err := ic.GetSingle(t); err == nil {
			opts = append(opts, f(i))
		}
	}
	single(plugins.EventPlugin, func(i any) client.ServicesOpt { return client.WithEventService(i.(client.EventService)) })
	single(plugins.LeasePlugin, func(i any) client.ServicesOpt { return client.WithLeasesService(i.(leases.Manager)) })
	single(plugins.MountManagerPlugin, func(i any) client.ServicesOpt { return client.WithMountManager(i.(mount.Manager)) })
	all, err := ic.GetByType(plugins.ServicePlugin)
	if err != nil {
		return opts
	}
	for id, f := range map[string]func(any) client.ServicesOpt{
		srv.ContentService:       func(s any) client.ServicesOpt { return client.WithContentStore(s.(content.Store)) },
		srv.ImagesService:        func(s any) client.ServicesOpt { return client.WithImageClient(s.(imagesapi.ImagesClient)) },
		srv.SnapshotsService:     func(s any) client.ServicesOpt { return client.WithSnapshotters(s.(map[string]snapshots.Snapshotter)) },
		srv.TasksService:         func(s any) client.ServicesOpt { return client.WithTaskClient(s.(tasks.TasksClient)) },
		srv.DiffService:          func(s any) client.ServicesOpt { return client.WithDiffClient(s.(diff.DiffClient)) },
		srv.NamespacesService:    func(s any) client.ServicesOpt { return client.WithNamespaceClient(s.(namespacesapi.NamespacesClient)) },
		srv.IntrospectionService: func(s any) client.ServicesOpt { return client.WithIntrospectionService(s.(introspection.Service)) },
	} {
		if i := all[id]; i != nil {
			opts = append(opts, f(i))
		}
	}
	return opts
}
