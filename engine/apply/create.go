package apply

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/container"
	"berth/engine/health"
	"berth/engine/image"
	"berth/engine/restart"
	"berth/engine/spec"
	"berth/engine/spec/hostfacts"
	"berth/engine/trace"
	"berth/graph/plan"
	"berth/netplan"
	"berth/project"
)

// Annotations that the shim reads; see engine/shim.
const (
	annotationGroup      = "io.containerd.runc.v2.group"
	annotationResolver   = "berth.resolver"
	annotationNameserver = "berth.nameserver"
	annotationEngine     = "berth.engine"
	annotationStopped    = "berth.stopped"
)

// Oneoff is what makes a one-off container (run) different from a service's.
type Oneoff struct {
	Slug       string // 12 hex digits
	AutoRemove bool
	UseAliases bool
	Rows, Cols uint32
}

// Create makes the container of a slot; it does not start it.
func (s *Session) Create(ctx context.Context, do plan.CreateContainer) (*container.Container, error) {
	return s.create(ctx, do, s.Project.Services[do.Slot.Service], nil)
}

// CreateOneoff makes a one-off container of a service, whose configuration the caller has changed as the user asked.
func (s *Session) CreateOneoff(ctx context.Context, name string, svc types.ServiceConfig, o Oneoff) (*container.Container, error) {
	ctx, err := s.Lease(ctx)
	if err != nil {
		return nil, err
	}
	return s.create(ctx, plan.CreateContainer{Slot: project.Slot{Service: svc.Name}, Name: name}, svc, &o)
}

// making is one container in the making.
type making struct {
	*Session
	do     plan.CreateContainer
	svc    types.ServiceConfig
	oneoff *Oneoff
	img    image.Image
	proc   spec.Process
	rec    container.Record
	mounts []spec.Mount
	// unclaimed are the anonymous volumes that were made for it.
	unclaimed []string
	// undo takes away what was made so far, last first.
	undo []func(context.Context) error
}

func (s *Session) create(ctx context.Context, do plan.CreateContainer, svc types.ServiceConfig, o *Oneoff) (_ *container.Container, err error) {
	m := &making{Session: s, do: do, svc: svc, oneoff: o}
	defer func() {
		if err != nil {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			for _, f := range slices.Backward(m.undo) {
				err = errors.Join(err, f(clean))
			}
		}
	}()
	if err := trace.Do(ctx, "image", func(ctx context.Context) (err error) {
		m.img, err = s.cfg.Images.Get(ctx, plan.ImageRef(s.Project, svc.Name), svc.Platform)
		return err
	}); err != nil {
		return nil, err
	}
	m.proc = spec.Merge(svc, specImage(m.img))
	if err := m.identify(); err != nil {
		return nil, err
	}
	var sp *specs.Spec
	for _, part := range []struct {
		name string
		make func(context.Context) error
	}{
		{"addresses", m.network},
		{"snapshot", m.snapshot},
		{"mounts", m.mount},
		{"specification", func(ctx context.Context) (err error) { sp, err = m.specification(ctx); return err }},
	} {
		if err := trace.Do(ctx, part.name, part.make); err != nil {
			return nil, err
		}
	}
	var c *container.Container
	if err := trace.Do(ctx, "record", func(ctx context.Context) (err error) {
		c, err = s.cfg.Containers.Create(ctx, m.rec, sp)
		return err
	}); err != nil {
		return nil, fmt.Errorf("create container %q: %w", m.rec.Name, err)
	}
	for _, name := range m.unclaimed {
		if err := s.cfg.Volumes.Claim(name); err != nil {
			s.cfg.Log.ErrorContext(ctx, "the next engine claims a container's volume", "container", c.Name, "error", err)
		}
	}
	s.cfg.Events.Publish(c.Event("create"))
	s.ahead.made(c)
	return c, nil
}

func specImage(i image.Image) spec.Image {
	out := spec.Image{ImageConfig: i.Config.Config.ImageConfig, Shell: i.Config.Config.Shell}
	if h := i.Config.Config.Healthcheck; h != nil {
		out.Healthcheck = &spec.Healthcheck{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod,
			StartInterval: h.StartInterval, Retries: h.Retries}
	}
	return out
}

// identify fills in what the record says of name, labels, image, policies.
func (m *making) identify() error {
	g, err := m.needs()
	if err != nil {
		return err
	}
	policy, err := restart.FromService(m.svc)
	if err != nil {
		return fmt.Errorf("services.%s.restart: %w", m.svc.Name, err)
	}
	p, svc := m.Project, m.svc
	r := &m.rec
	*r = container.Record{
		ID: container.NewID(), Name: m.do.Name, Project: p.Name, Slot: m.do.Slot, Legacy: p.Legacy, Created: time.Now(),
		Image: plan.ImageRef(p, svc.Name), ImageID: m.img.ID.String(), ImageDigest: m.img.Digest.String(),
		Platform: m.img.Platform.OS + "/" + m.img.Platform.Architecture,
		Command:  m.proc.Args, Env: m.proc.Env, Hash: m.wanted().Services[svc.Name],
		Hostname: svc.Hostname, Domainname: svc.DomainName,
		StopSignal: m.proc.StopSignal, Restart: policy, Health: healthConfig(m.proc), Shell: m.proc.Shell,
		TTY: svc.Tty, Stdin: svc.StdinOpen, PostStart: lifecycleHooks(svc.PostStart), PreStop: lifecycleHooks(svc.PreStop),
		DNS: container.DNS{Servers: svc.DNS, Search: svc.DNSSearch, Options: svc.DNSOpts},
	}
	for _, port := range m.proc.Exposed {
		r.Exposed = append(r.Exposed, container.Port{Number: port.Number, Protocol: port.Protocol})
	}
	if svc.StopGracePeriod != nil {
		// A record without a time has the usual one. None at all is a moment: the signal is sent, and then the process is killed.
		r.StopGrace = max(time.Duration(*svc.StopGracePeriod), time.Nanosecond)
	}
	if r.Hostname == "" {
		r.Hostname = container.Short(r.ID)
	}
	if svc.Logging != nil {
		r.LogDriver, r.LogOptions = svc.Logging.Driver, svc.Logging.Options
	}
	for _, e := range g.Dependencies(svc.Name) {
		r.Needs = append(r.Needs, e.To)
	}
	for name, addrs := range svc.ExtraHosts {
		for _, a := range addrs {
			r.ExtraHosts = append(r.ExtraHosts, container.HostEntry{Name: name, Address: a})
		}
	}
	slices.SortFunc(r.ExtraHosts, func(a, b container.HostEntry) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Address, b.Address))
	})
	r.Links = m.links()
	r.Labels = m.labels()
	r.Owner = p.Name + "/" + m.do.Slot.String()
	if o := m.oneoff; o != nil {
		r.Oneoff, r.AutoRemove = true, o.AutoRemove
		r.Owner = p.Name + "/run/" + o.Slug
		r.Restart = restart.Policy{}
	}
	return nil
}

func (m *making) labels() map[string]string {
	l := maps.Clone(m.proc.Labels)
	if l == nil {
		l = map[string]string{}
	}
	if o := m.oneoff; o != nil {
		maps.Copy(l, m.Project.OneoffLabels(m.svc.Name, o.Slug, m.img.Digest.String(), m.cfg.Version))
	} else {
		maps.Copy(l, m.Project.ContainerLabels(m.do.Slot, m.img.Digest.String(), m.cfg.Version))
	}
	maps.Copy(l, image.ContainerLabels(m.img))
	return l
}

// links gives the names under which links and external_links of the service are found. A v1-format file makes three
// names of each link, as docker-compose 1.29 did.
func (m *making) links() []container.Link {
	var out []container.Link
	for _, l := range m.svc.Links {
		service, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = service
		}
		if !m.Project.Legacy {
			out = append(out, container.Link{Alias: alias, Service: service})
			continue
		}
		slots := m.Project.Slots(service)
		for i, slot := range slots {
			if i == len(slots)-1 {
				out = append(out, container.Link{Alias: alias, Service: service, Number: slots[0].Number})
			}
			full := m.Project.ContainerName(slot)
			out = append(out, container.Link{Alias: fmt.Sprintf("%s_%d", service, slot.Number), Service: service, Number: slot.Number},
				container.Link{Alias: full, Service: service, Number: slot.Number})
		}
	}
	for _, l := range m.svc.ExternalLinks {
		name, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = name
		}
		out = append(out, container.Link{Alias: alias, External: name})
	}
	return out
}

func healthConfig(p spec.Process) *health.Config {
	h := p.Health
	if h == nil || len(h.Test) == 0 || h.Test[0] == "NONE" {
		return nil
	}
	return &health.Config{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries}
}

// network reserves the container's addresses, or finds the namespace that it shares.
func (m *making) network(ctx context.Context) error {
	r := &m.rec
	mode, target := netplan.Mode(m.svc)
	r.NetworkMode = mode
	switch mode {
	case "host":
		return nil
	case "service", "container":
		parent, err := m.named(mode, target)
		if err != nil {
			return fmt.Errorf("services.%s.network_mode: %w", m.svc.Name, err)
		}
		r.Parent, r.Netns, r.Hostname = parent.ID, parent.Netns, parent.Hostname
		r.Joins = append(r.Joins, parent.ID)
		if parent.Netns == "" {
			r.NetworkMode, r.Parent = "host", ""
		}
		return nil
	}
	// All in one folder, so that none is left with the last container of a project; a project's name has no dot.
	r.Netns = filepath.Join(m.cfg.State, "netns", strings.ReplaceAll(r.Owner, "/", "."))
	if mode == "none" {
		return nil
	}
	var err error
	if r.Endpoints, err = netplan.Endpoints(m.Project, m.do.Slot); err != nil {
		return err
	}
	if m.oneoff != nil && !m.oneoff.UseAliases {
		for i := range r.Endpoints {
			r.Endpoints[i].Aliases, r.Endpoints[i].IPv4, r.Endpoints[i].IPv6 = []string{r.Name}, noAddr, noAddr
		}
	}
	if r.Ports, err = netplan.Ports(m.svc, max(1, m.do.Slot.Number)); err != nil {
		return err
	}
	for _, e := range r.Endpoints {
		r.Networks = append(r.Networks, e.Network)
	}
	fresh := len(m.cfg.Networks.Addresses(r.Owner)) == 0
	if err := m.reserve(ctx, *r); err != nil {
		return err
	}
	if fresh {
		m.undo = append(m.undo, func(context.Context) error { return m.cfg.Networks.Release(r.Owner) })
	}
	r.Sysctls = map[string]string{}
	for k, v := range m.svc.Sysctls {
		if strings.HasPrefix(k, "net.") {
			r.Sysctls[k] = v
		}
	}
	return nil
}

// reserve takes the container's addresses. The shared bridge is made for it if need be, and not taken away in between.
func (a *Applier) reserve(ctx context.Context, r container.Record) error {
	if slices.Contains(r.Networks, netplan.DefaultBridge) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, err := a.cfg.Networks.EnsureNetwork(ctx, netplan.Bridge()); err != nil {
			return err
		}
	}
	_, err := a.cfg.Networks.Reserve(ctx, r.Owner, r.Endpoints)
	return err
}

// named finds the container that "service:x" or "container:x" means.
func (m *making) named(kind, target string) (*container.Container, error) {
	if kind == "container" {
		return m.cfg.Containers.Find(target)
	}
	return m.joined(target)
}

// joined finds the container of another service that the plan lets this one share something with; without a plan's word,
// as for a one-off, that is the first.
func (m *making) joined(service string) (*container.Container, error) {
	join, ok := m.do.Joined(service)
	switch {
	case !ok:
		return m.cfg.Containers.Slot(m.Project.Name, service, 1)
	case join.ID != "":
		return m.cfg.Containers.Get(join.ID)
	}
	return m.cfg.Containers.Slot(m.Project.Name, service, join.Slot.Number)
}

// snapshot makes the container's file system on top of its image.
func (m *making) snapshot(ctx context.Context) error {
	if _, err := m.cfg.Images.Prepare(ctx, m.img, m.rec.ID, false); err != nil {
		return fmt.Errorf("make the file system of container %q: %w", m.rec.Name, err)
	}
	m.undo = append(m.undo, func(ctx context.Context) error { return m.cfg.Images.Release(ctx, m.rec.ID) })
	return nil
}

// specification builds the OCI specification, with all that is now known.
func (m *making) specification(ctx context.Context) (*specs.Spec, error) {
	r := &m.rec
	dir := m.cfg.Containers.Dir(r.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	m.undo = append(m.undo, func(context.Context) error { return os.RemoveAll(dir) })
	u, err := m.user(ctx)
	if err != nil {
		return nil, err
	}
	r.UID, r.GID = u.UID, u.GID
	if m.svc.SecurityOpt, err = withProfiles(m.svc, m.Project.WorkingDir); err != nil {
		return nil, err
	}
	in := spec.Input{
		ID: r.ID, Name: r.Name, Project: r.Project, Slot: r.Slot, Service: m.svc, Process: m.proc, User: u, Host: m.cfg.Host,
		Hostname: r.Hostname, Domainname: r.Domainname, Net: spec.Namespace(r.Netns), Mounts: m.mounts,
		InitPath: m.cfg.Init, Annotations: m.annotations(),
		Files: m.fileNames(),
	}
	if r.NetworkMode == "host" {
		in.Net = spec.HostNamespace
	}
	if m.svc.Hostname == "" && r.NetworkMode == "host" {
		in.Hostname, _ = os.Hostname()
	}
	if m.oneoff != nil {
		in.Rows, in.Cols = m.oneoff.Rows, m.oneoff.Cols
	}
	if err := m.namespaces(&in); err != nil {
		return nil, err
	}
	if in.Devices, in.BlockDevices, err = deviceNodes(m.svc); err != nil {
		return nil, err
	}
	if r.Legacy || m.linkEnvAsked() {
		in.LinkEnv = spec.LinkEnv(r.Name, m.linkEnv())
	}
	sp, notices, err := spec.Build(in)
	if err != nil {
		return nil, err
	}
	for _, n := range notices {
		m.Warn(n.Key, n.Text)
	}
	return sp, nil
}

// withProfiles puts the content of seccomp profiles in the place of their files' names, which are relative to the project.
func withProfiles(svc types.ServiceConfig, dir string) ([]string, error) {
	out := slices.Clone(svc.SecurityOpt)
	for i, o := range out {
		key, value, ok := strings.Cut(o, "=")
		if !ok {
			key, value, ok = strings.Cut(o, ":")
		}
		if !ok || key != "seccomp" || value == "unconfined" || value == "builtin" || strings.HasPrefix(value, "{") {
			continue
		}
		if !filepath.IsAbs(value) {
			value = filepath.Join(dir, value)
		}
		b, err := os.ReadFile(value)
		if err != nil {
			return nil, &spec.Error{Key: fmt.Sprintf("services.%s.security_opt[%d]", svc.Name, i), Text: "read the seccomp profile: " + err.Error(),
				Help: "name a file with a profile in docker's JSON format, or unconfined"}
		}
		out[i] = "seccomp=" + string(b)
	}
	return out, nil
}

func (m *making) linkEnvAsked() bool {
	asked, _ := m.svc.Extensions["x-link-env"].(bool)
	return asked
}

// namespaces enters the pid and ipc namespaces: a container's is known only when it runs, and entered then.
func (m *making) namespaces(in *spec.Input) error {
	r := &m.rec
	for _, n := range []struct {
		key, value string
		into       *spec.Namespace
		join       *string
	}{{"pid", m.svc.Pid, &in.PID, &r.JoinPID}, {"ipc", m.svc.Ipc, &in.IPC, &r.JoinIPC}} {
		kind, target, ok := strings.Cut(n.value, ":")
		switch {
		case n.value == "host":
			*n.into = spec.HostNamespace
		case ok && (kind == "service" || kind == "container"):
			c, err := m.named(kind, target)
			if err != nil {
				return fmt.Errorf("services.%s.%s: %w", m.svc.Name, n.key, err)
			}
			*n.into, *n.join = "/proc/self/ns/"+spec.Namespace(n.key), c.ID
			r.Joins = append(r.Joins, c.ID)
			if n.key == "ipc" {
				in.Shm = c.Shm
			}
		}
	}
	if m.svc.Ipc == "shareable" {
		r.Shm, r.ShmBytes = filepath.Join(m.cfg.State, "containers", r.ID, "shm"), int64(m.svc.ShmSize)
		in.Shm = r.Shm
	}
	if m.svc.Uts == "host" {
		in.UTS = spec.HostNamespace
	}
	return nil
}

func (m *making) annotations() map[string]string {
	engine, err := json.Marshal(m.cfg.Daemon)
	if err != nil {
		engine = nil
	}
	a := map[string]string{
		annotationGroup:   m.rec.Project,
		annotationEngine:  string(engine),
		annotationStopped: m.cfg.Stopped,
	}
	if len(m.rec.Endpoints) > 0 {
		a[annotationResolver] = m.cfg.Resolver.ZoneFile(m.rec.Project)
		if slices.ContainsFunc(m.rec.Exposed, func(p container.Port) bool { return p.Number == 53 }) {
			// It may be a name server itself, which must be able to bind the port.
			a[annotationNameserver] = "1"
		}
	}
	return a
}

// linkEnv collects what link variables are made of: addresses that are reserved, ports and variables of the targets.
func (m *making) linkEnv() []spec.Link {
	var out []spec.Link
	for _, l := range m.rec.Links {
		for _, t := range m.cfg.Containers.List(func(t *container.Container) bool { return linksTo(&container.Container{Record: m.rec}, l, t) }) {
			addr, ok := m.linkAddress(t)
			if !ok {
				continue
			}
			link := spec.Link{Alias: l.Alias, Addr: addr, Env: t.Env}
			for _, p := range t.Exposed {
				link.Ports = append(link.Ports, spec.Port{Number: p.Number, Protocol: p.Protocol})
			}
			out = append(out, link)
		}
	}
	return out
}

func deviceNodes(svc types.ServiceConfig) (map[string][]specs.LinuxDevice, map[string][2]int64, error) {
	nodes := map[string][]specs.LinuxDevice{}
	for i, d := range svc.Devices {
		list, err := hostfacts.Devices(d.Source)
		if err != nil {
			return nil, nil, &spec.Error{Key: fmt.Sprintf("services.%s.devices[%d]", svc.Name, i), Text: fmt.Sprintf("device %q: %v", d.Source, rootCause(err)),
				Help: "name a device that this host has"}
		}
		nodes[d.Source] = list
	}
	blocks := map[string][2]int64{}
	if b := svc.BlkioConfig; b != nil {
		var paths []string
		for _, w := range b.WeightDevice {
			paths = append(paths, w.Path)
		}
		for _, list := range [][]types.ThrottleDevice{b.DeviceReadBps, b.DeviceReadIOps, b.DeviceWriteBps, b.DeviceWriteIOps} {
			for _, t := range list {
				paths = append(paths, t.Path)
			}
		}
		for _, p := range paths {
			n, err := hostfacts.BlockDevice(p)
			if err != nil {
				return nil, nil, &spec.Error{Key: "services." + svc.Name + ".blkio_config", Text: fmt.Sprintf("device %q: %v", p, rootCause(err))}
			}
			blocks[p] = n
		}
	}
	return nodes, blocks, nil
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// newVolumeName names an anonymous volume.
func newVolumeName() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
