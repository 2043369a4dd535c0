// Package hash tells what of a service, network or volume counts as a change.
//
// It owns the rule by which two configurations are the same: docker compose's, byte for byte, so that a hash
// means the same to both. It knows nothing of containers or of a project's other parts. What doesn't change a
// container is left out: how its image is built and pulled, how many there are, what they wait for.
// Entry points: Service, Network, Volume. Equal input gives equal output, whatever the order of maps.
//
// # Design
//
// The content of configs, secrets and bound files is not part of it, as in docker compose: a changed file is
// seen by the container, or takes effect when it is made again for another reason. References to other
// services (network_mode: service:db) are hashed as they are written; that the other service's container is
// another one now is for the plan to see, which compares attachments.
package hash

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/compose-spec/compose-go/v2/types"
)

// Service is the hash of what containers of a service are made from.
func Service(svc types.ServiceConfig) string {
	svc.Build = nil
	svc.PullPolicy = ""
	svc.Scale = nil
	if svc.Deploy != nil {
		deploy := *svc.Deploy
		deploy.Replicas = nil
		svc.Deploy = &deploy
	}
	svc.DependsOn = nil
	svc.Profiles = nil
	return sum(svc)
}

// Network is the hash of what a network is made from.
func Network(n types.NetworkConfig) string { return sum(n) }

// Volume is the hash of what a volume is made from.
func Volume(v types.VolumeConfig) string {
	if v.Driver == "" {
		v.Driver = "local"
	}
	return sum(v)
}

func sum(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		// Only a number that JSON has no word for gets here; it still is a configuration of its own.
		data = []byte(err.Error())
	}
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}
