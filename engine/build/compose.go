package build

import (
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/util/entitlements"

	"berth/project"
)

// servicePrefix marks a context that is the image of another service.
const servicePrefix = types.ServicePrefix

// FromCompose says what a service's build section asks for. Built is left to the caller: Needs names the services whose
// images have to be built before, and Credentials, Push and Archive are not in a file.
// Source: compose-spec, build.md.
func FromCompose(p *project.Project, service string) (Request, error) {
	svc, ok := p.Services[service]
	if !ok {
		svc, ok = p.DisabledServices[service] // by its profile, but another one may be built from its image
	}
	if !ok {
		return Request{}, fmt.Errorf("build %q: there is no such service", service)
	}
	b := svc.Build
	if b == nil {
		return Request{}, fmt.Errorf("build %q: it has no build section", service)
	}
	c := composing{p: p, svc: svc, b: b}
	req := Request{
		Service: service, Context: b.Context, Inline: b.DockerfileInline, Contexts: map[string]string{},
		Args: map[string]string{}, Labels: c.labels(), Target: b.Target, Platforms: c.platforms(),
		NoCache: b.NoCache, NoCacheFilter: slices.Clone(b.NoCacheFilter), Pull: b.Pull,
		ShmBytes: int64(b.ShmSize), Privileged: b.Privileged, Provenance: b.Provenance, SBOM: b.SBOM,
	}
	req.Dockerfile = c.dockerfile()
	for key, value := range b.Args {
		if value != nil {
			req.Args[key] = *value
		}
	}
	for name, value := range b.AdditionalContexts {
		req.Contexts[name] = c.context(value)
	}
	req.ExtraHosts, req.Ulimits = c.hosts(), c.ulimits()
	for _, fill := range []func(*Request) error{c.names, c.network, c.caches, c.secrets, c.agents, c.entitlements} {
		if err := fill(&req); err != nil {
			return Request{}, err
		}
	}
	return req, nil
}

// Needs are the services whose images a request's contexts stand for, sorted.
func (r Request) Needs() []string {
	var list []string
	for _, value := range r.Contexts {
		if service, ok := strings.CutPrefix(value, servicePrefix); ok {
			list = append(list, service)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// composing reads one build section.
type composing struct {
	p   *project.Project
	svc types.ServiceConfig
	b   *types.BuildConfig
}

func (c composing) wrong(key, hint, format string, args ...any) error {
	return &Error{Service: c.svc.Name, Reason: fmt.Sprintf("services.%s.build.%s: ", c.svc.Name, key) + fmt.Sprintf(format, args...), hint: hint}
}

// names are the image's own name and build.tags, in full.
func (c composing) names(req *Request) error {
	for i, name := range append([]string{c.p.ImageName(c.svc)}, c.b.Tags...) {
		named, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			key := "tags"
			if i == 0 {
				return &Error{Service: c.svc.Name, Reason: fmt.Sprintf("services.%s.image: %q is not a valid image reference", c.svc.Name, name), cause: err}
			}
			return c.wrong(key, "", "%q is not a valid image reference", name)
		}
		if _, digested := named.(reference.Digested); digested {
			return &Error{Service: c.svc.Name, Reason: fmt.Sprintf("%q has a digest, and that of an image is not known before it is built", name), hint: "leave out what follows the @"}
		}
		if full := reference.TagNameOnly(named).String(); !slices.Contains(req.Names, full) {
			req.Names = append(req.Names, full)
		}
	}
	return nil
}

// labels are build.labels and those by which compose knows what an image was built for.
func (c composing) labels() map[string]string {
	labels := map[string]string{}
	for k, v := range c.b.Labels {
		labels[k] = v
	}
	labels[project.LabelProject], labels[project.LabelService] = c.p.Name, c.svc.Name
	return labels
}

// platforms are build.platforms, or the service's own.
func (c composing) platforms() []string {
	if len(c.b.Platforms) == 0 && c.svc.Platform != "" {
		return []string{c.svc.Platform}
	}
	return slices.Clone(c.b.Platforms)
}

// dockerfile is the path of the Dockerfile: absolute, but for a context that is no folder.
func (c composing) dockerfile() string {
	path := c.b.Dockerfile
	if path == "" || c.b.DockerfileInline != "" {
		return ""
	}
	if filepath.IsAbs(path) || isRemote(c.b.Context) || c.b.Context == "-" {
		return path
	}
	return filepath.Join(c.b.Context, path)
}

// context makes a folder's name absolute.
func (c composing) context(value string) string {
	if isRemote(value) || filepath.IsAbs(value) || strings.HasPrefix(value, servicePrefix) || strings.Contains(value, "://") {
		return value
	}
	return filepath.Join(c.p.WorkingDir, value)
}

func (c composing) network(req *Request) error {
	switch c.b.Network {
	case "", "default", "host", "none":
		req.Network = c.b.Network
		return nil
	}
	return c.wrong("network", "use host, none or default", "%q can't be used while building", c.b.Network)
}

func (c composing) hosts() []Host {
	var list []Host
	for name, addresses := range c.b.ExtraHosts {
		for _, a := range addresses {
			list = append(list, Host{name, strings.Trim(a, "[]")})
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

func (c composing) ulimits() []Ulimit {
	var list []Ulimit
	for name, u := range c.b.Ulimits {
		limit := Ulimit{Name: name, Soft: int64(u.Soft), Hard: int64(u.Hard)}
		if u.Single != 0 {
			limit.Soft, limit.Hard = int64(u.Single), int64(u.Single)
		}
		list = append(list, limit)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

func (c composing) caches(req *Request) error {
	for _, part := range []struct {
		key, path string
		from      []string
		to        *[]Cache
	}{
		{"cache_from", "src", c.b.CacheFrom, &req.CacheFrom},
		{"cache_to", "dest", c.b.CacheTo, &req.CacheTo},
	} {
		for _, text := range part.from {
			cache, err := parseCache(text)
			if err != nil {
				return c.wrong(part.key, "write it as type=registry,ref=NAME or type=local,"+part.path+"=FOLDER", "%q: %v", text, err)
			}
			if folder := cache.Attrs[part.path]; folder != "" && !filepath.IsAbs(folder) {
				cache.Attrs[part.path] = filepath.Join(c.p.WorkingDir, folder)
			}
			*part.to = append(*part.to, cache)
		}
	}
	return nil
}

// parseCache reads "type=local,src=FOLDER"; a name alone is that of an image.
func parseCache(text string) (Cache, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return Cache{}, err
	}
	c := Cache{Attrs: map[string]string{}}
	for _, f := range fields {
		key, value, ok := strings.Cut(f, "=")
		switch {
		case !ok && len(fields) == 1:
			return Cache{Type: "registry", Attrs: map[string]string{"ref": f}}, nil
		case !ok:
			return Cache{}, fmt.Errorf("%q is not KEY=VALUE", f)
		case key == "type":
			c.Type = value
		default:
			c.Attrs[key] = value
		}
	}
	switch c.Type {
	case "registry", "local", "inline":
		return c, nil
	case "":
		return Cache{}, fmt.Errorf("it has no type")
	}
	return Cache{}, fmt.Errorf("the type %q is not supported", c.Type)
}

func (c composing) secrets(req *Request) error {
	for _, s := range c.b.Secrets {
		known, ok := c.p.Secrets[s.Source]
		if !ok {
			return c.wrong("secrets", "declare it under the top-level key secrets:", "there is no secret %q", s.Source)
		}
		secret := Secret{ID: s.Target, File: known.File, Data: []byte(known.Content)}
		if secret.ID == "" {
			secret.ID = s.Source
		}
		if known.Environment != "" && known.Content == "" {
			secret.Data = []byte(c.p.Environment[known.Environment])
		}
		req.Secrets = append(req.Secrets, secret)
	}
	return nil
}

func (c composing) agents(req *Request) error {
	for _, key := range c.b.SSH {
		path := key.Path
		switch {
		case path == "":
			path = c.p.Environment["SSH_AUTH_SOCK"]
		case !filepath.IsAbs(path):
			path = filepath.Join(c.p.WorkingDir, path)
		}
		req.SSH = append(req.SSH, Agent{key.ID, path})
	}
	slices.SortFunc(req.SSH, func(a, b Agent) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

func (c composing) entitlements(req *Request) error {
	for _, e := range c.b.Entitlements {
		switch e {
		case string(entitlements.EntitlementNetworkHost):
			req.HostNetwork = true
		case string(entitlements.EntitlementSecurityInsecure):
			req.Privileged = true
		default:
			return c.wrong("entitlements", "there are network.host and security.insecure", "%q is not known", e)
		}
	}
	return nil
}
