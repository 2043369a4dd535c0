// Package bridge makes the links of networks: a bridge on the host for each network, and a pair of links from it
// into each container's namespace.
//
// It knows links, addresses and routes of the kernel. It knows nothing of files, nftables or the engine. Entry points
// are Open, Host.Ensure, Host.Remove and Host.Join. Everything may be repeated; a link that does not carry the engine's
// mark is never changed, but for a bridge that the user named.
package bridge
