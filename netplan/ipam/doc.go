// Package ipam hands out addresses inside networks, and subnets to networks.
//
// It owns the networks with the subnets that were chosen, the reservations, and their files. It knows nothing of
// CNI, links or containers: an owner is an opaque key such as "shop/web/1", and what subnets the host has in use is
// told to it. OpenStore is the way in; Choose, Subnets and Length calculate.
//
// Reserve is idempotent per owner. A freed address is reused last. Every file is written under a temporary name and
// renamed, so a writer that is killed leaves the old content or the new. One Store writes a folder at a time.
package ipam
