package volumes

import (
	"fmt"
	"path"
	"slices"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project"
)

const (
	secretsFolder   = "/run/secrets"
	defaultFileMode = 0o444
)

// fromFiles are the mounts of secrets and configs, secrets first.
//
// One whose source is a file, and that asks for no owner or mode, is a read-only bind of that file or
// folder, so that the container sees changes and the host's permissions, as with docker compose. All
// others are files that the engine writes, with the owner and mode asked for.
func fromFiles(p *project.Project, svc types.ServiceConfig) ([]Mount, error) {
	var all []Mount
	for _, use := range svc.Secrets {
		ref := types.FileReferenceConfig(use)
		declared, ok := p.Secrets[ref.Source]
		m, err := file{p, "secret", secretsFolder, ref, types.FileObjectConfig(declared), ok}.mount(svc.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	for _, use := range svc.Configs {
		ref := types.FileReferenceConfig(use)
		declared, ok := p.Configs[ref.Source]
		m, err := file{p, "config", "/", ref, types.FileObjectConfig(declared), ok}.mount(svc.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return lastPerTarget(all), nil
}

// lastPerTarget leaves the later of two entries of one list.
func lastPerTarget(all []Mount) []Mount {
	var kept []Mount
	for i, m := range all {
		later := func(n Mount) bool { return n.Target == m.Target && sameList(n, m) }
		if !slices.ContainsFunc(all[i+1:], later) {
			kept = append(kept, m)
		}
	}
	return kept
}

func sameList(a, b Mount) bool { return a.Secret == b.Secret }

// file is one use of a config or secret.
type file struct {
	project  *project.Project
	kind     string // "config", "secret"
	folder   string // where a relative target is
	ref      types.FileReferenceConfig
	object   types.FileObjectConfig
	declared bool
}

func (f file) mount(service string) (Mount, error) {
	key := fmt.Sprintf("services.%s.%ss", service, f.kind)
	if !f.declared {
		return Mount{}, &Error{Key: key, Text: fmt.Sprintf("%s %q is not declared", f.kind, f.ref.Source), Help: fmt.Sprintf("declare it under %ss", f.kind)}
	}
	if f.object.External {
		return Mount{}, &Error{Key: f.kind + "s." + f.ref.Source, Text: "external " + f.kind + "s are not supported", Help: "use file, environment or content"}
	}
	target, err := cleanTarget(key, f.target())
	if err != nil {
		return Mount{}, err
	}
	m := Mount{Kind: File, Target: target, ReadOnly: true, FileMode: defaultFileMode, Secret: f.kind == "secret"}
	if f.object.File != "" && f.ref.UID == "" && f.ref.GID == "" && f.ref.Mode == nil {
		m.Kind, m.Source, m.FileMode = Bind, f.path(), 0
		m.Options = []string{"rbind", "rro"}
		return m, nil
	}
	if err := f.fill(&m, key); err != nil {
		return Mount{}, err
	}
	return m, nil
}

func (f file) target() string {
	target := f.ref.Target
	if target == "" {
		target = f.ref.Source
	}
	if path.IsAbs(target) {
		return target
	}
	return path.Join(f.folder, target)
}

func (f file) path() string {
	if path.IsAbs(f.object.File) {
		return path.Clean(f.object.File)
	}
	return path.Join(f.project.WorkingDir, f.object.File)
}

// fill sets content, owner and mode.
func (f file) fill(m *Mount, key string) error {
	var err error
	if m.UID, err = number(key+".uid", f.ref.UID); err != nil {
		return err
	}
	if m.GID, err = number(key+".gid", f.ref.GID); err != nil {
		return err
	}
	if f.ref.Mode != nil {
		m.FileMode = uint32(*f.ref.Mode)
	}
	switch {
	case f.object.File != "":
		m.SourceFile = f.path()
	case f.object.Environment != "" && f.object.Content == "":
		value, ok := f.project.Environment[f.object.Environment]
		if !ok {
			return &Error{
				Key:  f.kind + "s." + f.ref.Source + ".environment",
				Text: fmt.Sprintf("environment variable %q is not set", f.object.Environment),
				Help: "set it in the shell or in .env",
			}
		}
		m.Data = []byte(value)
	default:
		m.Data = []byte(f.object.Content)
	}
	return nil
}

func number(key, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, &Error{Key: key, Text: fmt.Sprintf("%q is not a number", text), Help: "names are not looked up here: use the number"}
	}
	return int(n), nil
}
