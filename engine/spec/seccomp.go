package spec

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// seccomp sets the default profile, or the one of security_opt. The default depends on capabilities.
func (b *builder) seccomp() error {
	switch {
	case b.opts.seccomp == "unconfined":
	case b.opts.seccomp != "":
		if b.Host.Seccomp == nil {
			return b.invalid("security_opt", "leave it out, or use seccomp=unconfined", "seccomp profile: the host's kernel has no seccomp")
		}
		profile, err := parseProfile(b.opts.seccomp, b.Host, b.spec.Process.Capabilities.Bounding)
		if err != nil {
			return b.invalid("security_opt", "seccomp takes unconfined, builtin or a profile in docker's JSON format", "seccomp profile: %v", err)
		}
		b.spec.Linux.Seccomp = profile
	case b.Host.Seccomp != nil && !b.Service.Privileged:
		b.spec.Linux.Seccomp = b.Host.Seccomp(b.spec)
	}
	return nil
}

// profile is docker's format: OCI's, with rules that depend on architecture, capabilities and kernel.
type profile struct {
	DefaultAction    specs.LinuxSeccompAction `json:"defaultAction"`
	DefaultErrnoRet  *uint                    `json:"defaultErrnoRet"`
	Architectures    []specs.Arch             `json:"architectures"`
	ArchMap          []archMap                `json:"archMap"`
	Flags            []specs.LinuxSeccompFlag `json:"flags"`
	ListenerPath     string                   `json:"listenerPath"`
	ListenerMetadata string                   `json:"listenerMetadata"`
	Syscalls         []rule                   `json:"syscalls"`
}

type archMap struct {
	Architecture     specs.Arch   `json:"architecture"`
	SubArchitectures []specs.Arch `json:"subArchitectures"`
}

type rule struct {
	specs.LinuxSyscall
	Name     string `json:"name"` // the older form of names
	Includes filter `json:"includes"`
	Excludes filter `json:"excludes"`
}

type filter struct {
	Arches    []string `json:"arches"`
	Caps      []string `json:"caps"`
	MinKernel string   `json:"minKernel"`
}

// seccompArch are the names of Go's architectures in profiles: the one of rules, and the one of archMap.
var seccompArch = map[string]struct {
	rule string
	arch specs.Arch
}{
	"386":     {"x86", specs.ArchX86},
	"amd64":   {"amd64", specs.ArchX86_64},
	"arm":     {"arm", specs.ArchARM},
	"arm64":   {"arm64", specs.ArchAARCH64},
	"ppc64le": {"ppc64le", specs.ArchPPC64LE},
	"riscv64": {"riscv64", specs.ArchRISCV64},
	"s390x":   {"s390x", specs.ArchS390X},
	"loong64": {"loong64", specs.ArchLOONGARCH64},
}

// parseProfile keeps the rules that hold for this host and these capabilities.
func parseProfile(text string, host Host, caps []string) (*specs.LinuxSeccomp, error) {
	var p profile
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, err
	}
	if p.DefaultAction == "" {
		return nil, fmt.Errorf("it has no defaultAction")
	}
	if len(p.Architectures) > 0 && len(p.ArchMap) > 0 {
		return nil, fmt.Errorf("it has both architectures and archMap")
	}
	out := &specs.LinuxSeccomp{
		DefaultAction: p.DefaultAction, DefaultErrnoRet: p.DefaultErrnoRet, Architectures: p.Architectures,
		Flags: p.Flags, ListenerPath: p.ListenerPath, ListenerMetadata: p.ListenerMetadata,
	}
	for _, m := range p.ArchMap {
		if m.Architecture == seccompArch[host.Arch].arch {
			out.Architectures = append([]specs.Arch{m.Architecture}, m.SubArchitectures...)
		}
	}
	for _, r := range p.Syscalls {
		if r.Name != "" {
			if len(r.Names) > 0 {
				return nil, fmt.Errorf("a rule has both name %q and names", r.Name)
			}
			r.Names = []string{r.Name}
		}
		holds, err := r.holds(host, caps)
		if err != nil {
			return nil, err
		}
		if holds {
			out.Syscalls = append(out.Syscalls, r.LinuxSyscall)
		}
	}
	return out, nil
}

// holds: every include must hold, and no exclude.
func (r rule) holds(host Host, caps []string) (bool, error) {
	arch := seccompArch[host.Arch].rule
	has := func(c string) bool { return slices.Contains(caps, c) }
	if slices.Contains(r.Excludes.Arches, arch) || slices.ContainsFunc(r.Excludes.Caps, has) {
		return false, nil
	}
	if len(r.Includes.Arches) > 0 && !slices.Contains(r.Includes.Arches, arch) {
		return false, nil
	}
	for _, c := range r.Includes.Caps {
		if !has(c) {
			return false, nil
		}
	}
	if k := r.Excludes.MinKernel; k != "" {
		at, err := atLeast(host.Kernel, k)
		if err != nil || at {
			return false, err
		}
	}
	if k := r.Includes.MinKernel; k != "" {
		return atLeast(host.Kernel, k)
	}
	return true, nil
}

func atLeast(kernel [2]int, version string) (bool, error) {
	major, minor, _ := strings.Cut(version, ".")
	a, err1 := strconv.Atoi(major)
	m, err2 := strconv.Atoi(minor)
	if err1 != nil || err2 != nil {
		return false, fmt.Errorf("minKernel %q is not like 4.8", version)
	}
	return kernel[0] > a || kernel[0] == a && kernel[1] >= m, nil
}
