package image

import (
	"context"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// Hosts gives the endpoints of a registry as they are configured, mirrors first, for others who speak to registries. Nobody
// is logged in to them: that is left to the caller.
func (s *Store) Hosts(host string) ([]docker.RegistryHost, error) {
	list, err := s.endpoints(context.Background(), host, nil)
	for i := range list {
		list[i].Authorizer = nil
	}
	return list, err
}
