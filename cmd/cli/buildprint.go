package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/cmd/ui"
	"berth/project"
)

// bakeFile is a file for docker buildx bake, with the keys in docker compose's order.
type bakeFile struct {
	Group  map[string]bakeGroup  `json:"group"`
	Target map[string]bakeTarget `json:"target"`
}

type bakeGroup struct {
	Targets []string `json:"targets"`
}

type bakeTarget struct {
	Context          string            `json:"context,omitempty"`
	Contexts         map[string]string `json:"contexts,omitempty"`
	Dockerfile       string            `json:"dockerfile,omitempty"`
	DockerfileInline string            `json:"dockerfile-inline,omitempty"`
	Args             map[string]string `json:"args,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	Tags             []string          `json:"tags,omitempty"`
	CacheFrom        []string          `json:"cache-from,omitempty"`
	CacheTo          []string          `json:"cache-to,omitempty"`
	Target           string            `json:"target,omitempty"`
	Secret           []string          `json:"secret,omitempty"`
	SSH              []string          `json:"ssh,omitempty"`
	Platforms        []string          `json:"platforms,omitempty"`
	Pull             bool              `json:"pull,omitempty"`
	NoCache          bool              `json:"no-cache,omitempty"`
	Network          string            `json:"network,omitempty"`
	NoCacheFilter    []string          `json:"no-cache-filter,omitempty"`
	ShmSize          types.UnitBytes   `json:"shm-size,omitempty"`
	Ulimits          []string          `json:"ulimits,omitempty"`
	Call             string            `json:"call,omitempty"`
	Entitlements     []string          `json:"entitlements,omitempty"`
	ExtraHosts       map[string]string `json:"extra-hosts,omitempty"`
	Output           []string          `json:"output,omitempty"`
	Attest           []string          `json:"attest,omitempty"`
}

// runBuildPrint prints what would be built in bake's words. Targets of all services are there, as contexts may refer to
// them; the group has those that are asked for.
func runBuildPrint(o buildOptions, u *ui.UI) error {
	b := baking{o: &o, targets: bakeTargets(o.target.project)}
	file := bakeFile{Group: map[string]bakeGroup{}, Target: map[string]bakeTarget{}}
	var group bakeGroup
	for _, name := range o.chosen() {
		group.Targets = append(group.Targets, b.targets[name])
	}
	file.Group["default"] = group
	for name := range b.targets {
		svc, _ := o.target.service(name)
		if svc.Build == nil {
			continue
		}
		one, err := b.target(svc)
		if err != nil {
			return err
		}
		file.Target[b.targets[name]] = one
	}
	enc := json.NewEncoder(u.Out())
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(file)
}

// bakeTargets gives each service a name that bake takes: dots become _, and no two are the same.
func bakeTargets(p *project.Project) map[string]string {
	targets, used := map[string]string{}, map[string]bool{}
	t := target{project: p}
	for _, name := range t.reach(slices.Sorted(maps.Keys(p.Services)), builtFrom) {
		t := strings.ReplaceAll(name, ".", "_")
		for used[t] {
			t += "_"
		}
		targets[name], used[t] = t, true
	}
	return targets
}

// baking words build sections for bake.
type baking struct {
	o       *buildOptions
	targets map[string]string
}

func (b baking) target(svc types.ServiceConfig) (bakeTarget, error) {
	p, s := b.o.target.project, svc.Build
	options, err := b.o.options()
	if err != nil {
		return bakeTarget{}, err
	}
	t := bakeTarget{
		Context: s.Context, Contexts: b.contexts(s), Dockerfile: bakeDockerfile(s), DockerfileInline: plainForBake(s.DockerfileInline),
		Args: map[string]string{}, Labels: map[string]string{},
		Tags: append(slices.Clone(s.Tags), p.ImageName(svc)), CacheFrom: s.CacheFrom, CacheTo: s.CacheTo, Target: s.Target,
		Secret: b.secrets(s), Platforms: s.Platforms, Pull: s.Pull || options.Refresh, NoCache: s.NoCache || options.NoCache,
		Network: s.Network, NoCacheFilter: s.NoCacheFilter, ShmSize: s.ShmSize, Entitlements: slices.Clone(s.Entitlements),
		ExtraHosts: map[string]string{},
	}
	for key, value := range s.Args {
		if value != nil {
			t.Args[key] = plainForBake(*value)
		}
	}
	for key, value := range options.Args {
		t.Args[key] = plainForBake(value)
	}
	maps.Copy(t.Labels, s.Labels)
	t.Labels[project.LabelProject], t.Labels[project.LabelService] = p.Name, svc.Name
	for host, addresses := range s.ExtraHosts {
		t.ExtraHosts[host] = strings.Join(addresses, ",")
	}
	for _, key := range s.SSH {
		t.SSH = append(t.SSH, agentForBake(key.ID, key.Path))
	}
	for _, a := range options.SSH {
		t.SSH = append(t.SSH, agentForBake(a.ID, a.Path))
	}
	if s.Privileged && !slices.Contains(t.Entitlements, "security.insecure") {
		t.Entitlements = append(t.Entitlements, "security.insecure")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Ulimits)) {
		t.Ulimits = append(t.Ulimits, limitForBake(name, s.Ulimits[name]))
	}
	t.Attest = slices.Concat(attestation("provenance", s.Provenance, options.Provenance), attestation("sbom", s.SBOM, options.SBOM))
	push := b.o.push && svc.Image != ""
	switch {
	case b.o.check:
		t.Call = "lint"
	case len(s.Platforms) > 1:
		t.Output = []string{fmt.Sprintf("type=image,push=%t", push)}
	case push:
		t.Output = []string{"type=registry"}
	default:
		t.Output = []string{"type=docker"}
	}
	return t, nil
}

// plainForBake keeps bake from replacing variables.
func plainForBake(s string) string { return strings.ReplaceAll(s, "${", "$${") }

func (b baking) contexts(s *types.BuildConfig) map[string]string {
	contexts := map[string]string{}
	for name, value := range s.AdditionalContexts {
		if service, ok := strings.CutPrefix(value, types.ServicePrefix); ok {
			value = "target:" + b.targets[service]
		}
		contexts[name] = value
	}
	return contexts
}

// bakeDockerfile is the path of the Dockerfile, in full where the context is a folder.
func bakeDockerfile(s *types.BuildConfig) string {
	if s.Dockerfile == "" || s.DockerfileInline != "" || filepath.IsAbs(s.Dockerfile) || !filepath.IsAbs(s.Context) {
		if s.DockerfileInline != "" {
			return ""
		}
		return s.Dockerfile
	}
	return filepath.Join(s.Context, s.Dockerfile)
}

func (b baking) secrets(s *types.BuildConfig) []string {
	var list []string
	for _, ref := range s.Secrets {
		id := ref.Target
		if id == "" {
			id = ref.Source
		}
		switch known := b.o.target.project.Secrets[ref.Source]; {
		case known.Environment != "":
			list = append(list, fmt.Sprintf("id=%s,type=env,env=%s", id, known.Environment))
		case known.File != "":
			list = append(list, fmt.Sprintf("id=%s,type=file,src=%s", id, known.File))
		}
	}
	return list
}

func agentForBake(id, path string) string {
	if path == "" {
		return id
	}
	return id + "=" + path
}

func limitForBake(name string, u *types.UlimitsConfig) string {
	if u.Single != 0 {
		return fmt.Sprintf("%s=%d", name, u.Single)
	}
	return fmt.Sprintf("%s=%d:%d", name, u.Soft, u.Hard)
}

// attestation words what the file says of one, or the flag in its place.
func attestation(kind, file, flag string) []string {
	value := file
	if flag != "" {
		value = flag
	}
	switch value {
	case "":
		return nil
	case "true":
		return []string{"type=" + kind}
	case "false":
		return []string{"type=" + kind + ",disabled=true"}
	}
	return []string{"type=" + kind + "," + value}
}
