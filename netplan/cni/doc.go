// Package cni makes the networks of one engine on this host.
//
// It owns bridges, namespaces' links, addresses, published ports and rules, and keeps a record of each. It knows
// projects only as names in a netplan.Network and owners as opaque keys such as "shop/web/1". The way in is Open;
// after it an engine calls Restore once.
//
// Invariants: every method may be repeated, and finishes what a former call that was killed has begun. What is on
// the host carries the engine's id in its name or mark; nothing else is changed, so any number of engines share a
// host. No program is started, but for CNI plugin types that are not ours.
//
// # Design
//
// The links of a network of the driver bridge are made by package bridge, which is called directly: namespace, settings,
// links, addresses and routes of a container take one visit of a thread and four messages to the kernel. It was a CNI
// network list once, of plugin types that were functions of this program; libcni's reading and writing of lists, results
// and its cache was a third of what a container's network cost. Networks of other drivers are lists of one plugin of the
// host, which gets the reserved address by the type static. Rules belong to networks rather than to containers and ports
// come and go with tasks rather than with namespaces, so firewall and portmap are no plugins either: as types of a list
// they would be told of each change at the wrong moment.
//
// Subnets are chosen under a lock of the host, and the bridge with its address is made before it is let go: what one
// engine has taken, the next one sees as an address of the host. What a host-wide switch was before the first engine
// turned it (ip_forward) is kept as a name in each engine's nftables table, so the last engine to leave knows it, and
// a reboot, which resets the switch, forgets it too.
package cni
