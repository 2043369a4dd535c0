// Package firewall owns what an engine has in nftables: a table of its own, and a few accepting rules at the head of
// other people's forward chains.
//
// It knows networks as a bridge, subnets and "internal", and ports as mappings from the host to an address. It knows
// nothing of files, sockets, links or containers. Entry points are New, Table.SetNetwork, Table.SetPorts and
// Table.Assert.
//
// Invariants: a Table knows the whole of what has to be in the kernel, so Assert can write it anew in one
// transaction at any time, with no moment in which a rule is missing. Everything is marked with the engine's tag;
// nothing without the tag is ever changed. Without networks nothing of the engine is left in nftables. No program
// is started.
//
// # Design
//
// Ports are elements of maps, so their number costs a packet nothing and a container two messages to the kernel. A
// range whose ports keep their numbers is one element of an interval map; any other port is one element of a hash
// map. What a packet meets:
//
//	raw prerouting   from a bridge of ours to 127.0.0.0/8: dropped, as route_localnet lets it in
//	dstnat           to an address of the host (not the loopback's from outside): looked up in the maps
//	output, dstnat   the same for the host's own processes, 127.0.0.1 too
//	forward          established, or inside one bridge, or to a published port: accepted; internal networks, and
//	                 whatever else wants into a bridge of ours: dropped; the rest is not ours to judge
//	srcnat           leaving a subnet by another link, hairpins and what 127.0.0.1 sends: masqueraded
//
// A foreign base chain at the forward hook may drop what ours accepts, as each has its own say. So each of them gets
// two rules that accept what comes from or goes to our bridges; what must not pass is dropped by our own chain all
// the same. They are written as iptables-nft writes rules, so that iptables goes on understanding its tables.
package firewall
