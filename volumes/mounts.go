package volumes

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project"
)

// Inputs is what Mounts needs beside the project.
type Inputs struct {
	// ImageVolumes are the VOLUMEs of the image.
	ImageVolumes []string
	// From has the mounts of the containers that volumes_from names, by the entry without its
	// mode: "db", "container:shop-db-1".
	From map[string][]Mount
	// Previous has the names of the anonymous volumes of the container that is replaced, by target.
	Previous map[string]string
	// NewName gives the name of a new anonymous volume (64 hex digits). Without it such a mount's
	// Source stays empty, for the caller to fill in.
	NewName func() string
}

// Mounts lists the mounts of a container of svc, parents before children. svc is the project's service of its name,
// or what a one-off container makes of it.
//
// Of two that want the same target, the one that stands closer to the service wins, as docker has
// it: volumes over secrets over configs over volumes_from over the image's VOLUMEs. Two volumes,
// or a volume and a tmpfs, at one target are an error.
func Mounts(p *project.Project, svc types.ServiceConfig, in Inputs) ([]Mount, error) {
	set := &set{service: svc.Name, byTarget: map[string]Mount{}}
	for _, v := range svc.Volumes {
		m, err := fromVolume(p, svc, v, in)
		if err != nil {
			return nil, err
		}
		if err := set.claim("volumes", m); err != nil {
			return nil, err
		}
	}
	for _, t := range svc.Tmpfs {
		m, err := fromTmpfs(svc.Name, t)
		if err != nil {
			return nil, err
		}
		if err := set.claim("tmpfs", m); err != nil {
			return nil, err
		}
	}
	files, err := fromFiles(p, svc)
	if err != nil {
		return nil, err
	}
	from, err := inherited(svc, in.From)
	if err != nil {
		return nil, err
	}
	for _, m := range slices.Concat(files, from) {
		set.offer(m)
	}
	for _, target := range in.ImageVolumes {
		set.offer(anonymous(path.Clean("/"+target), in))
	}
	return set.nameNew(in.NewName).sorted(), nil
}

// set has at most one mount per target.
type set struct {
	service  string
	byTarget map[string]Mount
}

// claim adds a mount whose target must be free.
func (s *set) claim(field string, m Mount) error {
	if old, taken := s.byTarget[m.Target]; taken {
		return &Error{
			Key:  "services." + s.service + "." + field,
			Text: fmt.Sprintf("two mounts at %q: %s and %s", m.Target, old.Kind, m.Kind),
			Help: "give one of them another target",
		}
	}
	s.byTarget[m.Target] = m
	return nil
}

// offer adds a mount unless its target is taken.
func (s *set) offer(m Mount) {
	if _, taken := s.byTarget[m.Target]; !taken {
		s.byTarget[m.Target] = m
	}
}

func (s *set) sorted() []Mount {
	all := make([]Mount, 0, len(s.byTarget))
	for _, m := range s.byTarget {
		all = append(all, m)
	}
	Sort(all)
	return all
}

// nameNew names the anonymous volumes that have no name yet, in the order of their targets.
func (s *set) nameNew(name func() string) *set {
	if name == nil {
		return s
	}
	for _, m := range s.sorted() {
		if m.Kind == Anonymous && m.Source == "" {
			m.Source = name()
			s.byTarget[m.Target] = m
		}
	}
	return s
}

// Sort orders mounts so that a parent's comes before its children's.
func Sort(all []Mount) {
	slices.SortFunc(all, func(a, b Mount) int {
		return cmp.Or(
			cmp.Compare(strings.Count(a.Target, "/"), strings.Count(b.Target, "/")),
			cmp.Compare(a.Target, b.Target))
	})
}

// fromVolume is the mount of one entry of volumes.
func fromVolume(p *project.Project, svc types.ServiceConfig, v types.ServiceVolumeConfig, in Inputs) (Mount, error) {
	key := "services." + svc.Name + ".volumes"
	target, err := cleanTarget(key, v.Target)
	if err != nil {
		return Mount{}, err
	}
	switch v.Type {
	case types.VolumeTypeBind:
		return bind(p, key, target, v)
	case types.VolumeTypeTmpfs:
		return tmpfsLong(target, v), nil
	case types.VolumeTypeVolume, "":
		if v.Source == "" {
			m := anonymous(target, in)
			return withVolumeOptions(m, v), nil
		}
		return withVolumeOptions(named(p, target, v), v), nil
	}
	return Mount{}, &Error{
		Key:  key,
		Text: fmt.Sprintf("type %q at %q is not supported", v.Type, v.Target),
		Help: "use bind, volume or tmpfs",
	}
}

func cleanTarget(key, target string) (string, error) {
	clean := path.Clean(target)
	if !path.IsAbs(clean) {
		help := "begin it with /"
		if len(target) > 1 && target[1] == ':' {
			help = `a single letter before ":" is a drive of Windows in compose files: give the volume a longer name, or write source and target on lines of their own`
		}
		return "", &Error{Key: key, Text: fmt.Sprintf("target %q is not an absolute path", target), Help: help}
	}
	if clean == "/" {
		return "", &Error{Key: key, Text: "target is /, the root of the container", Help: "mount into a folder below /"}
	}
	return clean, nil
}

// bind is a path of the host. A missing path is made as a folder unless create_host_path is false.
func bind(p *project.Project, key, target string, v types.ServiceVolumeConfig) (Mount, error) {
	if v.Source == "" {
		return Mount{}, &Error{Key: key, Text: fmt.Sprintf("bind at %q has no source", target), Help: "set source to a path of the host"}
	}
	source := v.Source
	if !path.IsAbs(source) {
		source = path.Join(p.WorkingDir, source)
	}
	m := Mount{Kind: Bind, Target: target, Source: path.Clean(source), ReadOnly: v.ReadOnly}
	recursive, propagation := "", ""
	if v.Bind != nil {
		recursive, propagation = v.Bind.Recursive, v.Bind.Propagation
	}
	m.CreateSource = v.Bind == nil || bool(v.Bind.CreateHostPath)
	options, err := bindOptions(key, recursive, propagation, v.ReadOnly)
	m.Options = options
	return m, err
}

// bindOptions are "rbind" or "bind", the way of being read-only, and the propagation if one is asked
// for. "rro" makes mounts below the source read-only too.
func bindOptions(key, recursive, propagation string, readOnly bool) ([]string, error) {
	var options []string
	switch recursive {
	case "", "enabled":
		options = []string{"rbind"}
		if readOnly {
			options = append(options, "rro")
		}
	case "disabled":
		options = []string{"bind"}
		if readOnly {
			options = append(options, "ro")
		}
	case "writable":
		options = []string{"rbind"}
		if readOnly {
			options = append(options, "ro")
		}
	case "readonly":
		if !readOnly {
			return nil, &Error{Key: key, Text: "bind.recursive: readonly on a mount that is not read_only", Help: "set read_only: true"}
		}
		options = []string{"rbind", "rro"}
	default:
		return nil, &Error{Key: key, Text: fmt.Sprintf("bind.recursive: %q", recursive), Help: "use enabled, disabled, writable or readonly"}
	}
	switch propagation {
	case "":
	case "private", "rprivate", "shared", "rshared", "slave", "rslave":
		options = append(options, propagation)
	default:
		return nil, &Error{Key: key, Text: fmt.Sprintf("bind.propagation: %q", propagation), Help: "use private, rprivate, shared, rshared, slave or rslave"}
	}
	return options, nil
}

// named is a volume of the project. In a v1-format file there are no declarations: the source is the
// volume's name on the host.
func named(p *project.Project, target string, v types.ServiceVolumeConfig) Mount {
	m := Mount{Kind: Named, Target: target, Source: v.Source, ReadOnly: v.ReadOnly, CopyUp: true}
	if declared, ok := p.Volumes[v.Source]; ok {
		m.Volume = &declared
		if declared.Name != "" {
			m.Source = declared.Name
		}
	}
	return m
}

func withVolumeOptions(m Mount, v types.ServiceVolumeConfig) Mount {
	m.ReadOnly = v.ReadOnly
	if v.Volume != nil {
		m.CopyUp = m.CopyUp && !v.Volume.NoCopy
		m.Subpath = v.Volume.Subpath
		m.Labels = v.Volume.Labels
	}
	if m.Subpath != "" {
		// A folder inside a volume exists before the container: the image's content belongs to the whole.
		m.CopyUp = false
	}
	return m
}

// anonymous keeps the volume that the replaced container had at the same place.
func anonymous(target string, in Inputs) Mount {
	return Mount{Kind: Anonymous, Target: target, Source: in.Previous[target], CopyUp: true}
}

// inherited are the mounts of volumes_from: volumes and binds, not tmpfs and not files made for one
// container. Entries later in the list win.
func inherited(svc types.ServiceConfig, from map[string][]Mount) ([]Mount, error) {
	var all []Mount
	for _, entry := range slices.Backward(svc.VolumesFrom) {
		name, readOnly, err := SplitFrom(entry)
		if err != nil {
			return nil, &Error{Key: "services." + svc.Name + ".volumes_from", Text: err.Error(), Help: "write service, service:ro or container:name:ro"}
		}
		mounts, ok := from[name]
		if !ok {
			return nil, &Error{Key: "services." + svc.Name + ".volumes_from", Text: fmt.Sprintf("the mounts of %q are not known", name)}
		}
		for _, m := range mounts {
			if m.Kind == Tmpfs || m.Kind == File {
				continue
			}
			m.CopyUp, m.CreateSource = false, false
			if readOnly && !m.ReadOnly {
				m.ReadOnly = true
				m.Options = slices.Clone(m.Options)
				if m.Kind == Bind {
					m.Options = append(m.Options, "rro")
				}
			}
			all = append(all, m)
		}
	}
	return all, nil
}

// SplitFrom splits an entry of volumes_from into the key of Inputs.From and its mode: "db:ro" is "db",
// true; "container:shop-db-1" is itself, false.
func SplitFrom(entry string) (name string, readOnly bool, err error) {
	rest, prefix := entry, ""
	if after, ok := strings.CutPrefix(entry, types.ContainerPrefix); ok {
		rest, prefix = after, types.ContainerPrefix
	}
	name, mode, _ := strings.Cut(rest, ":")
	switch mode {
	case "", "rw", "z", "Z":
	case "ro":
		readOnly = true
	default:
		return "", false, fmt.Errorf("mode %q of %q is neither ro nor rw", mode, entry)
	}
	if name == "" {
		return "", false, fmt.Errorf("%q names nothing", entry)
	}
	return prefix + name, readOnly, nil
}

// Notices tells which parts of a service's volumes are not acted on.
func Notices(svc types.ServiceConfig) []project.Notice {
	var all []project.Notice
	for i, v := range svc.Volumes {
		key := fmt.Sprintf("services.%s.volumes[%d]", svc.Name, i)
		if v.Bind != nil && v.Bind.SELinux != "" {
			all = append(all, project.Notice{Key: key + ".bind.selinux", Text: "files are not relabelled for SELinux"})
		}
	}
	return all
}
