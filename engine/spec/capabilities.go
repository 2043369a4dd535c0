package spec

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCapabilities are the 14 that docker gives.
var defaultCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// allCapabilities in the order of their numbers. Source: capability.h of Linux 6.
var allCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// AllCapabilities lists every one that is known, in the order of their numbers.
func AllCapabilities() []string { return slices.Clone(allCapabilities) }

// Capabilities lists those that a container with these fields has, by docker's rules: ALL in cap_add is all
// but the dropped; ALL in cap_drop leaves the added; else the defaults but the dropped, and the added.
// A name may come without CAP_ and in any case; an unknown one is returned in unknown.
func Capabilities(add, drop []string, privileged bool) (caps []string, unknown string) {
	if privileged {
		return slices.Clone(allCapabilities), ""
	}
	add, unknown = normalCapabilities(add)
	if unknown != "" {
		return nil, unknown
	}
	drop, unknown = normalCapabilities(drop)
	if unknown != "" {
		return nil, unknown
	}
	var base []string
	switch {
	case slices.Contains(add, "ALL"):
		base, add = allCapabilities, nil
	case slices.Contains(drop, "ALL"):
	default:
		base = defaultCapabilities
	}
	for _, c := range base {
		if !slices.Contains(drop, c) {
			caps = append(caps, c)
		}
	}
	for _, c := range add {
		if !slices.Contains(caps, c) {
			caps = append(caps, c)
		}
	}
	return caps, ""
}

func normalCapabilities(names []string) (all []string, unknown string) {
	for _, name := range names {
		c := strings.ToUpper(strings.TrimSpace(name))
		if c != "ALL" && !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if c == "CAP_ALL" {
			c = "ALL"
		}
		if c != "ALL" && !slices.Contains(allCapabilities, c) {
			return nil, name
		}
		all = append(all, c)
	}
	return all, ""
}

func (b *builder) capabilities() error {
	caps, unknown := Capabilities(b.Service.CapAdd, b.Service.CapDrop, b.Service.Privileged)
	if unknown != "" {
		field := "cap_drop"
		if slices.Contains(b.Service.CapAdd, unknown) {
			field = "cap_add"
		}
		return b.invalid(field, "see capabilities(7) for the names, for example NET_ADMIN", "no capability %q", unknown)
	}
	if b.Host.Capabilities != nil {
		caps = slices.DeleteFunc(caps, b.lacks)
	}
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{
		Bounding: caps, Effective: slices.Clone(caps), Permitted: slices.Clone(caps),
	}
	return nil
}

// lacks tells whether the engine can't hand out a capability, with a notice if the service named it.
func (b *builder) lacks(c string) bool {
	if slices.Contains(b.Host.Capabilities, c) {
		return false
	}
	named, _ := normalCapabilities(b.Service.CapAdd)
	if slices.Contains(named, c) {
		b.notice("cap_add", c+" is not among the engine's own capabilities, and left out")
	}
	return true
}
