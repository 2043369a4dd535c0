package step

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/system"
	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/spec"
	"berth/volumes"
)

// defaultHostname is BuildKit's: it may be seen in what steps make.
const defaultHostname = "buildkitsandbox"

func (s *step) hostname() string { return cmp.Or(s.meta.Hostname, defaultHostname) }

// service is a step in a service's words.
func (s *step) service(readonly bool) types.ServiceConfig {
	svc := types.ServiceConfig{Name: "RUN"}
	svc.Privileged = s.meta.SecurityMode == pb.SecurityMode_INSECURE
	svc.ReadOnly, svc.Tty, svc.CgroupParent = readonly, s.meta.Tty, s.meta.CgroupParent
	switch s.meta.NetMode {
	case pb.NetMode_HOST:
		svc.NetworkMode = "host"
	case pb.NetMode_NONE:
		svc.NetworkMode = "none"
	}
	for _, u := range s.meta.Ulimit {
		if svc.Ulimits == nil {
			svc.Ulimits = map[string]*types.UlimitsConfig{}
		}
		svc.Ulimits[u.Name] = &types.UlimitsConfig{Soft: int(u.Soft), Hard: int(u.Hard)}
	}
	if l := s.meta.LinuxResources; l != nil {
		svc.MemLimit, svc.MemSwapLimit = types.UnitBytes(l.Memory), types.UnitBytes(l.MemorySwap)
		svc.CPUShares, svc.CPUQuota, svc.CPUPeriod, svc.CPUSet = int64(l.CpuShares), l.CpuQuota, int64(l.CpuPeriod), l.CpusetCpus
	}
	return svc
}

// specify makes the step's specification: a service's, with the mounts that the step asks for.
func (s *step) specify(ctx context.Context, readonly bool, mounts []executor.Mount) error {
	in := spec.Input{
		ID: s.id, Service: s.service(readonly), Host: s.cfg.Host, Hostname: s.hostname(), Net: spec.Namespace(s.netns),
		Process: spec.Process{Args: s.meta.Args, WorkingDir: s.meta.Cwd},
		User:    spec.User{UID: s.user.UID, GID: s.user.GID, Groups: s.user.AdditionalGids},
		Mounts:  []spec.Mount{s.file("/etc/hosts"), s.file("/etc/resolv.conf")},
	}
	if s.meta.NetMode == pb.NetMode_HOST {
		in.Net = spec.HostNamespace
	}
	sp, notices, err := spec.Build(in)
	if err != nil {
		return err
	}
	for _, n := range notices {
		s.cfg.Log.WarnContext(ctx, "a build step runs otherwise than asked", "key", n.Key, "text", n.Text)
	}
	sp.Process.Env = s.meta.Env
	if l := s.meta.LinuxResources; l != nil && l.CpusetMems != "" {
		if sp.Linux.Resources.CPU == nil {
			sp.Linux.Resources.CPU = &specs.LinuxCPU{}
		}
		sp.Linux.Resources.CPU.Mems = l.CpusetMems
	}
	s.spec = sp
	return s.addMounts(ctx, mounts)
}

// file is the mount of a file that is written for the step.
func (s *step) file(target string) spec.Mount {
	source := filepath.Join(s.dir, filepath.Base(target))
	return spec.Mount{Mount: volumes.Mount{Kind: volumes.Bind, Source: source, Target: target, ReadOnly: true}}
}

// addMounts has BuildKit prepare the mounts that a step asks for, and puts them in the place of ours for the same target.
func (s *step) addMounts(ctx context.Context, mounts []executor.Mount) error {
	if len(mounts) == 0 {
		return nil
	}
	alone, err := network.NewNoneProvider().New(ctx, "", network.NamespaceOptions{})
	if err != nil {
		return err
	}
	theirs, release, err := oci.GenerateSpec(ctx, executor.Meta{Args: s.meta.Args, Cwd: s.meta.Cwd}, mounts, s.id, "", "", alone, "",
		oci.ProcessSandbox, nil, "", false, "", nil)
	if err != nil {
		return err
	}
	s.undo("", func(context.Context) error { release(); return nil })
	for _, m := range theirs.Mounts {
		asked := func(a executor.Mount) bool { return system.GetAbsolutePath(a.Dest) == m.Destination }
		if !slices.ContainsFunc(mounts, asked) {
			continue
		}
		at := slices.IndexFunc(s.spec.Mounts, func(o specs.Mount) bool { return o.Destination == m.Destination })
		if at < 0 {
			s.spec.Mounts = append(s.spec.Mounts, m)
		} else {
			s.spec.Mounts[at] = m
		}
	}
	return nil
}

// writeFiles writes /etc/hosts and /etc/resolv.conf.
func (s *step) writeFiles() error {
	f := spec.HostsFile{Own: s.addresses, Hostname: s.hostname(), Extra: types.HostsList{}}
	for _, h := range s.meta.ExtraHosts {
		f.Extra[h.Host] = append(f.Extra[h.Host], h.IP.String())
	}
	svc := s.service(false)
	switch svc.NetworkMode {
	case "host":
		f.Base, _ = os.ReadFile("/etc/hosts")
	case "none":
		// Programs that look themselves up, as sudo does, must not wait.
		f.Extra[s.hostname()] = append(f.Extra[s.hostname()], "127.0.0.1")
	}
	for name, text := range map[string][]byte{
		"hosts":       spec.Hosts(f),
		"resolv.conf": spec.ResolvConf(s.cfg.DNS(), svc, s.netns != ""),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
