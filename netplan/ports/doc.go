// Package ports holds ports of the host: it takes them, so that nobody else can, it names who has one, and it
// passes on to a container what the kernel's rules can't.
//
// It knows addresses, ports and protocols. It knows nothing of nftables, projects or files. Hold takes a port without
// answering on it, as the kernel rewrites the destination of a packet before a socket is looked for; Forward takes
// one and passes on what comes; Holder names a process. What Hold and Forward return is closed by the caller, and
// nothing is left running after Close.
package ports
