package creation

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"berth/engine/shim/enter"
	"berth/engine/shim/ground"
)

// What the first process does is put together here, in the order in which runc's does it. Source: libcontainer's
// standard_init_linux.go and rootfs_linux.go.

// usualSteps is room for the steps of a container without anything special on a host with cgroups of version 1.
const usualSteps = 128

// list is the steps that are being put together.
type list struct {
	*configs.Config
	steps []enter.Step
	keeps int
	group int // where one more Keep can be put, 0 for nowhere
}

func (l *list) add(what enter.What, text ...string) *enter.Step {
	l.steps = append(l.steps, enter.Step{What: what, Text: text})
	return &l.steps[len(l.steps)-1]
}

// steps gives the steps of a container with the cgroups in groups. Its mount namespace is a copy of the one at base.
func steps(c *configs.Config, p *process, groups map[string]string, unified bool, base string) ([]enter.Step, error) {
	l := &list{Config: c, steps: make([]enter.Step, 0, usualSteps)}
	if err := l.namespaces(base); err != nil {
		return nil, err
	}
	l.add(enter.Root, ground.Root)
	for _, m := range c.Mounts {
		if err := l.mount(m, groups, unified); err != nil {
			return nil, err
		}
	}
	if err := l.devices(); err != nil {
		return nil, err
	}
	l.add(enter.Pivot)
	l.add(enter.Nulls)
	l.add(enter.Work, p.Cwd)
	l.finish(p)
	if l.keeps > enter.KeptMost {
		return nil, ErrOther
	}
	return l.steps, nil
}

// keep takes a copy of a mount of the host's, maybe with all below it. Going back to the host's mounts for that is what makes up for
// not having a copy of all of them: that costs more with each container that runs. Mounts have their numbers, and so their order in a
// table, by the time at which they are made; so copies are taken together only if no mount is made between their turns.
func (l *list) keep(path string, all bool) {
	if l.group == 0 {
		l.add(enter.Leave)
		l.group = len(l.steps)
		l.add(enter.Return)
	}
	l.steps = slices.Insert(l.steps, l.group, keep(path, all))
	l.group++
	l.keeps++
}

func keep(path string, all bool) enter.Step {
	s := enter.Step{What: enter.Keep, Text: []string{path}}
	if all {
		s.A = 1
	}
	return s
}

// orderOfNamespaces is that in which namespaces are entered.
var orderOfNamespaces = []configs.NamespaceType{configs.NEWIPC, configs.NEWUTS, configs.NEWNET, configs.NEWPID, configs.NEWNS, configs.NEWCGROUP}

func (l *list) namespaces(base string) error {
	for _, kind := range orderOfNamespaces {
		path := l.Namespaces.PathOf(kind)
		if path == "" {
			continue
		}
		// A PID namespace is entered by being born into it.
		if kind == configs.NEWPID || kind == configs.NEWNS || !configs.IsNamespaceSupported(kind) {
			return ErrOther
		}
		ns := configs.Namespace{Type: kind}
		l.add(enter.Join, path).A = uint32(ns.Syscall())
	}
	flags := l.Namespaces.CloneFlags() &^ unix.CLONE_NEWPID
	if flags&unix.CLONE_NEWNS == 0 {
		return ErrOther
	}
	l.steps = append(l.steps, keep(l.Rootfs, true))
	l.keeps++
	l.add(enter.Base, base)
	l.add(enter.Unshare).A = uint32(flags)
	if len(l.Networks) > 0 {
		l.add(enter.Loopback)
	}
	return nil
}

func (l *list) mount(m *configs.Mount, groups map[string]string, unified bool) error {
	path := filepath.Clean(m.Destination)
	if path == "/" || path == l.Rootfs || strings.HasPrefix(path, l.Rootfs+"/") {
		return ErrOther
	}
	if m.Device == "bind" {
		l.tree(m)
		l.add(enter.TreeAt, path)
		return nil
	}
	if len(m.PropagationFlags) > 0 || m.RecAttr != nil {
		return ErrOther
	}
	kind, flags, how := m.Device, m.Flags, uint32(0)
	switch m.Device {
	case "proc":
		if path != "/proc" {
			return ErrOther
		}
		how = enter.NoLinks | enter.OnProc
	case "sysfs":
		how = enter.NoLinks
	case "tmpfs":
		// A step at the end takes away the right to write.
		flags &^= unix.MS_RDONLY
		how = enter.OfTmpfs
	case "cgroup":
		if !unified {
			return l.cgroups(path, m, groups)
		}
		kind = "cgroup2"
	case "mqueue", "devpts":
	default:
		return ErrOther
	}
	if path == "/dev" && m.Device != "tmpfs" {
		return ErrOther
	}
	l.mountOf(kind, m.Source, m.Data, path, flags, how)
	if m.Device == "proc" {
		l.add(enter.Proc, path)
	}
	return nil
}

func (l *list) mountOf(kind, source, data, path string, flags int, how uint32) {
	l.group = 0
	s := l.add(enter.Mount, kind, source, data, path)
	s.A, s.B = how, uint64(flags)
}

// attributes are the flags of a mount that is a copy of another one, with mount_setattr's name for each.
var attributes = []struct{ flag, attribute int }{
	{unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY}, {unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID}, {unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
	{unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC}, {unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW},
}

// tree takes what is to be bound, with its properties.
func (l *list) tree(m *configs.Mount) {
	l.keep(m.Source, m.Flags&unix.MS_REC != 0)
	l.add(enter.Tree)
	for _, p := range m.PropagationFlags {
		s := l.add(enter.TreeAttr)
		s.D = uint64(p &^ unix.MS_REC)
		if p&unix.MS_REC != 0 {
			s.A = unix.AT_RECURSIVE
		}
	}
	// What is asked for replaces what the source has, all of it. Only if nothing is asked for, all is left.
	if m.Flags&^(unix.MS_BIND|unix.MS_REC) != 0 || m.ClearedFlags != 0 {
		s := l.add(enter.TreeAttr)
		for _, a := range attributes {
			if m.Flags&a.flag != 0 {
				s.B |= uint64(a.attribute)
			} else {
				s.C |= uint64(a.attribute)
			}
		}
		if m.Flags&unix.MS_STRICTATIME != 0 {
			s.B |= unix.MOUNT_ATTR_STRICTATIME
			s.C |= unix.MOUNT_ATTR__ATIME | unix.MOUNT_ATTR_NODIRATIME
		}
	}
	if m.RecAttr != nil {
		s := l.add(enter.TreeAttr)
		s.A, s.B, s.C = unix.AT_RECURSIVE, m.RecAttr.Attr_set, m.RecAttr.Attr_clr
	}
}

// hierarchies are the host's cgroups of version 1.
var hierarchies = sync.OnceValues(func() ([]cgroups.Mount, error) { return cgroups.GetCgroupMounts(false) })

// cgroups shows a container its own cgroups of version 1: a folder for each hierarchy.
func (l *list) cgroups(path string, m *configs.Mount, groups map[string]string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	const usual = unix.MS_NOEXEC | unix.MS_NOSUID | unix.MS_NODEV
	l.mountOf("tmpfs", "tmpfs", "mode=755", path, usual, enter.OfTmpfs)
	l.folder(path, unix.TMPFS_MAGIC)
	for _, h := range all {
		name := filepath.Base(h.Mountpoint)
		if l.Namespaces.Contains(configs.NEWCGROUP) {
			source, data := "cgroup", name
			if name == "systemd" {
				source, data = "systemd", cgroups.CgroupNamePrefix+name
			}
			l.mountOf("cgroup", source, data, filepath.Join(path, name), usual|m.Flags&unix.MS_RDONLY, 0)
			continue
		}
		own, err := ownGroup(h, groups)
		if err != nil {
			return err
		}
		l.tree(&configs.Mount{Source: own, Flags: unix.MS_BIND | unix.MS_REC | m.Flags})
		l.add(enter.TreeIn, name)
	}
	for _, h := range all {
		if name := filepath.Base(h.Mountpoint); strings.Contains(name, ",") {
			for alias := range strings.SplitSeq(name, ",") {
				l.add(enter.Link, name, alias).A = 1
			}
		}
	}
	return nil
}

// ownGroup gives the folder of a container in a hierarchy. Where it has none of its own, it is the shim's.
func ownGroup(h cgroups.Mount, groups map[string]string) (string, error) {
	if len(h.Subsystems) == 0 {
		return "", ErrOther
	}
	name := h.Subsystems[0]
	for _, key := range []string{name, cgroups.CgroupNamePrefix + name} {
		if own, ok := groups[key]; ok {
			if own != h.Mountpoint && !strings.HasPrefix(own, h.Mountpoint+"/") {
				return "", fmt.Errorf("find cgroup %q in %s: %w", own, h.Mountpoint, ErrOther)
			}
			return own, nil
		}
	}
	shims, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	own, err := h.GetOwnCgroup(shims)
	if err != nil {
		return "", err
	}
	below, err := filepath.Rel(h.Root, own)
	return filepath.Join(h.Mountpoint, below), err
}

func (l *list) folder(path string, magic uint64) { l.add(enter.Folder, path).B = magic }

// hasKernelMemory says that there is something that /dev/core can be.
var hasKernelMemory = sync.OnceValue(func() bool {
	_, err := os.Stat("/proc/kcore")
	return err == nil
})

// devices fills a /dev that has just been mounted. Any other is a case for runc.
func (l *list) devices() error {
	const folder = "/dev"
	own := 0
	for _, m := range l.Mounts {
		if filepath.Clean(m.Destination) == folder {
			own++
		}
	}
	isNew := func(m *configs.Mount) bool { return filepath.Clean(m.Destination) == folder && m.Device == "tmpfs" }
	if own != 1 || !slices.ContainsFunc(l.Mounts, isNew) || !slices.ContainsFunc(l.steps, func(s enter.Step) bool { return s.What == enter.Proc }) {
		return ErrOther
	}
	l.folder(folder, unix.TMPFS_MAGIC)
	for _, d := range l.Devices {
		name, ok := strings.CutPrefix(d.Path, folder+"/")
		if !ok || name == "" || strings.Contains(name, "/") || d.Uid != 0 || d.Gid != 0 {
			return ErrOther
		}
		number, err := d.Mkdev()
		if err != nil {
			return err
		}
		s := l.add(enter.Node, name)
		s.A, s.B = unix.S_IFCHR|uint32(d.FileMode.Perm()), number
	}
	l.add(enter.Link, "pts/ptmx", "ptmx")
	links := [][2]string{{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}}
	if hasKernelMemory() {
		links = append(links, [2]string{"/proc/kcore", "core"})
	}
	for _, link := range links {
		l.add(enter.Link, link[0], link[1]).A = 1
	}
	return nil
}

// finish is what is done with the root in its place.
func (l *list) finish(p *process) {
	remount := func(path string, flags int) {
		l.add(enter.Remount, path).B = uint64(flags | unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY)
	}
	for _, m := range l.Mounts {
		if m.Flags&unix.MS_RDONLY != 0 && (m.Device == "tmpfs" || filepath.Clean(m.Destination) == "/dev") {
			remount(m.Destination, m.Flags)
		}
	}
	if l.Readonlyfs {
		remount("/", 0)
	}
	if l.Config.Hostname != "" {
		l.add(enter.Hostname, l.Config.Hostname)
	}
	if l.Config.Domainname != "" {
		l.add(enter.Domainname, l.Config.Domainname)
	}
	if p.ApparmorProfile != "" {
		l.add(enter.AppArmor, "exec "+p.ApparmorProfile)
	}
	for _, key := range slices.Sorted(maps.Keys(l.Sysctl)) {
		l.add(enter.Sysctl, strings.ReplaceAll(key, ".", "/"), l.Sysctl[key])
	}
	for _, path := range l.ReadonlyPaths {
		l.add(enter.ReadOnly, path)
	}
	seen := map[string]bool{}
	for _, path := range l.MaskPaths {
		if clean := filepath.Clean(path); !seen[clean] {
			seen[clean] = true
			l.add(enter.Mask, path)
		}
	}
}
