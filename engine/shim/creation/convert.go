package creation

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/configs/validate"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// What is written in a specification becomes libcontainer's configuration here. libcontainer's own package for that can't be
// linked without a C compiler, and this program has none. So it is done for what specifications usually have, and ErrOther
// is said of everything else.

// Spec is a specification that has nothing but what is converted.
type Spec struct {
	Version     string            `json:"ociVersion"`
	Process     *process          `json:"process"`
	Root        *specs.Root       `json:"root"`
	Hostname    string            `json:"hostname"`
	Domainname  string            `json:"domainname"`
	Mounts      []specs.Mount     `json:"mounts"`
	Annotations map[string]string `json:"annotations"`
	Linux       *linux            `json:"linux"`
}

type process struct {
	User            specs.User               `json:"user"`
	Args            []string                 `json:"args"`
	Env             []string                 `json:"env"`
	Cwd             string                   `json:"cwd"`
	Capabilities    *specs.LinuxCapabilities `json:"capabilities"`
	Rlimits         []specs.POSIXRlimit      `json:"rlimits"`
	NoNewPrivileges bool                     `json:"noNewPrivileges"`
	ApparmorProfile string                   `json:"apparmorProfile"`
	OOMScoreAdj     *int                     `json:"oomScoreAdj"`
}

type linux struct {
	Sysctl        map[string]string      `json:"sysctl"`
	Resources     *resources             `json:"resources"`
	CgroupsPath   string                 `json:"cgroupsPath"`
	Namespaces    []specs.LinuxNamespace `json:"namespaces"`
	Seccomp       json.RawMessage        `json:"seccomp"`
	MaskedPaths   []string               `json:"maskedPaths"`
	ReadonlyPaths []string               `json:"readonlyPaths"`
}

type resources struct {
	Devices []specs.LinuxDeviceCgroup `json:"devices"`
	Memory  *struct {
		Limit       *int64 `json:"limit"`
		Reservation *int64 `json:"reservation"`
		Swap        *int64 `json:"swap"`
	} `json:"memory"`
	CPU *struct {
		Shares *uint64 `json:"shares"`
		Quota  *int64  `json:"quota"`
		Period *uint64 `json:"period"`
		Cpus   string  `json:"cpus"`
	} `json:"cpu"`
	Pids *specs.LinuxPids `json:"pids"`
}

// Read reads a bundle's specification. One with a member that is not converted is ErrOther, as is one that can't be read:
// runc says what is wrong with it.
func Read(bundle string) (*Spec, error) {
	f, err := os.Open(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var d Spec
	text := json.NewDecoder(f)
	text.DisallowUnknownFields()
	if err := text.Decode(&d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOther, err)
	}
	if d.Root == nil || d.Linux == nil || d.Process == nil || len(d.Process.Args) == 0 || !filepath.IsAbs(d.Process.Cwd) {
		return nil, ErrOther
	}
	return &d, nil
}

// convert makes a configuration of a bundle's specification, without the seccomp filter.
func convert(bundle string, d *Spec) (*configs.Config, error) {
	root := d.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(bundle, root)
	}
	c := &configs.Config{
		Rootfs: root, Readonlyfs: d.Root.Readonly, Hostname: d.Hostname, Domainname: d.Domainname, Version: specs.Version,
		MaskPaths: d.Linux.MaskedPaths, ReadonlyPaths: d.Linux.ReadonlyPaths, Sysctl: d.Linux.Sysctl,
		Hooks: configs.Hooks{}, Umask: d.Process.User.Umask, OomScoreAdj: d.Process.OOMScoreAdj, NoNewPrivileges: d.Process.NoNewPrivileges,
	}
	for _, key := range slices.Sorted(maps.Keys(d.Annotations)) {
		c.Labels = append(c.Labels, key+"="+d.Annotations[key])
	}
	c.Labels = append(c.Labels, "bundle="+bundle)
	if p := d.Process.Capabilities; p != nil {
		c.Capabilities = &configs.Capabilities{
			Bounding: p.Bounding, Effective: p.Effective, Inheritable: p.Inheritable, Permitted: p.Permitted, Ambient: p.Ambient,
		}
	}
	for _, m := range d.Mounts {
		mount, err := convertMount(m)
		if err != nil {
			return nil, err
		}
		c.Mounts = append(c.Mounts, mount)
	}
	if err := convertNamespaces(c, d.Linux.Namespaces); err != nil {
		return nil, err
	}
	var err error
	if c.Cgroups, err = convertGroups(d.Linux); err != nil {
		return nil, err
	}
	if ownsGroups(c) {
		uid := int(d.Process.User.UID)
		c.Cgroups.OwnerUID = &uid
	}
	for _, dev := range usualDevices {
		if dev.Path != "" {
			c.Devices = append(c.Devices, dev)
		}
		c.Cgroups.Resources.Devices = append(c.Cgroups.Resources.Devices, &dev.Rule)
	}
	return c, validate.Validate(c)
}

var (
	mountFlags = map[string]int{
		"bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC, "ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV,
		"noexec": unix.MS_NOEXEC, "strictatime": unix.MS_STRICTATIME,
	}
	clearedMountFlags = map[string]int{
		"rw": unix.MS_RDONLY, "suid": unix.MS_NOSUID, "dev": unix.MS_NODEV, "exec": unix.MS_NOEXEC,
	}
	propagation = map[string]int{
		"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC, "slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
	}
	// mountData are the options that a file system itself understands.
	mountData = map[string][]string{
		"tmpfs":  {"mode", "size", "uid", "gid", "nr_inodes"},
		"devpts": {"newinstance", "ptmxmode", "mode", "gid"},
	}
)

func convertMount(m specs.Mount) (*configs.Mount, error) {
	if m.UIDMappings != nil || m.GIDMappings != nil || !filepath.IsAbs(m.Destination) || strings.Contains(m.Source+m.Destination+m.Type, "\x00") {
		return nil, ErrOther
	}
	c := &configs.Mount{Source: m.Source, Destination: m.Destination, Device: m.Type}
	var data []string
	for _, o := range m.Options {
		key, _, _ := strings.Cut(o, "=")
		switch {
		case mountFlags[o] != 0:
			c.Flags |= mountFlags[o]
			c.ClearedFlags &^= mountFlags[o]
		case clearedMountFlags[o] != 0:
			c.Flags &^= clearedMountFlags[o]
			c.ClearedFlags |= clearedMountFlags[o]
		case propagation[o] != 0:
			c.PropagationFlags = append(c.PropagationFlags, propagation[o])
		case o == "rro":
			c.RecAttr = &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		case slices.Contains(mountData[m.Type], key):
			data = append(data, o)
		default:
			return nil, ErrOther
		}
	}
	c.Data = strings.Join(data, ",")
	if c.Flags&unix.MS_BIND != 0 {
		if c.Device = "bind"; !filepath.IsAbs(m.Source) {
			return nil, ErrOther // from runc's working folder
		}
	} else if c.Device == "bind" {
		return nil, ErrOther // it is none without the option
	}
	return c, nil
}

// namespaceKinds leaves out user and time: another one of those is prepared from outside.
var namespaceKinds = map[specs.LinuxNamespaceType]configs.NamespaceType{
	specs.PIDNamespace: configs.NEWPID, specs.NetworkNamespace: configs.NEWNET, specs.MountNamespace: configs.NEWNS,
	specs.IPCNamespace: configs.NEWIPC, specs.UTSNamespace: configs.NEWUTS, specs.CgroupNamespace: configs.NEWCGROUP,
}

func convertNamespaces(c *configs.Config, list []specs.LinuxNamespace) error {
	for _, ns := range list {
		kind, ok := namespaceKinds[ns.Type]
		if !ok || c.Namespaces.Contains(kind) {
			return ErrOther
		}
		c.Namespaces.Add(kind, ns.Path)
	}
	if c.Namespaces.IsPrivate(configs.NEWNET) {
		c.Networks = []*configs.Network{{Type: "loopback"}}
	}
	return nil
}

// ownsGroups says that the container may make cgroups below its own.
func ownsGroups(c *configs.Config) bool {
	return c.Namespaces.IsPrivate(configs.NEWCGROUP) && slices.ContainsFunc(c.Mounts, func(m *configs.Mount) bool {
		return m.Source == "cgroup" && filepath.Clean(m.Destination) == "/sys/fs/cgroup" && m.Flags&unix.MS_RDONLY == 0
	})
}

func convertGroups(l *linux) (*cgroups.Cgroup, error) {
	if !filepath.IsAbs(l.CgroupsPath) || filepath.Clean(l.CgroupsPath) != l.CgroupsPath {
		return nil, ErrOther
	}
	r := &cgroups.Resources{}
	c := &cgroups.Cgroup{Path: l.CgroupsPath, Resources: r}
	if l.Resources == nil {
		return c, nil
	}
	for _, d := range l.Resources.Devices {
		rule, err := convertRule(d)
		if err != nil {
			return nil, err
		}
		r.Devices = append(r.Devices, rule)
	}
	if m := l.Resources.Memory; m != nil {
		r.Memory, r.MemoryReservation, r.MemorySwap = value(m.Limit), value(m.Reservation), value(m.Swap)
	}
	if p := l.Resources.CPU; p != nil {
		if p.Shares != nil {
			r.CpuShares = *p.Shares
			r.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*p.Shares)
		}
		r.CpuQuota, r.CpuPeriod, r.CpusetCpus = value(p.Quota), value(p.Period), p.Cpus
	}
	if p := l.Resources.Pids; p != nil {
		r.PidsLimit = p.Limit
	}
	return c, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func convertRule(d specs.LinuxDeviceCgroup) (*devices.Rule, error) {
	rule := &devices.Rule{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: devices.Permissions(d.Access), Allow: d.Allow}
	switch d.Type {
	case "", "a":
	case "b":
		rule.Type = devices.BlockDevice
	case "c":
		rule.Type = devices.CharDevice
	default:
		return nil, ErrOther
	}
	if d.Access == "" {
		return nil, ErrOther
	}
	if d.Major != nil {
		rule.Major = *d.Major
	}
	if d.Minor != nil {
		rule.Minor = *d.Minor
	}
	return rule, nil
}

// usualDevices are what runc gives to each container: leave to make nodes, those that a program can't do without, and
// leave to use terminals and tunnels.
var usualDevices = []*devices.Device{
	{Rule: devices.Rule{Type: devices.CharDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "m", Allow: true}},
	{Rule: devices.Rule{Type: devices.BlockDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "m", Allow: true}},
	usualDevice("/dev/null", 1, 3),
	usualDevice("/dev/random", 1, 8),
	usualDevice("/dev/full", 1, 7),
	usualDevice("/dev/tty", 5, 0),
	usualDevice("/dev/zero", 1, 5),
	usualDevice("/dev/urandom", 1, 9),
	usualDevice("", 136, devices.Wildcard), // terminals
	usualDevice("", 5, 2),                  // what makes them
	usualDevice("", 10, 200),               // /dev/net/tun
}

func usualDevice(path string, major, minor int64) *devices.Device {
	d := &devices.Device{Path: path, Rule: devices.Rule{Type: devices.CharDevice, Major: major, Minor: minor, Permissions: "rwm", Allow: true}}
	if path != "" {
		d.FileMode = 0o666
	}
	return d
}
