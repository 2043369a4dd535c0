package build

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/upload/uploadprovider"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/entitlements"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
)

// The names under which the session has the folders of a build.
const (
	contextMount    = "context"
	dockerfileMount = "dockerfile"
	builtStore      = "built"
)

// options says in BuildKit's words what is asked; hostAddress is what hostGateway stands for. release takes away what was
// made for the build on the host.
func (b *Builder) options(req Request, hostAddress string) (_ client.SolveOpt, release func(), err error) {
	o := &solving{opt: client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: attributes(req, hostAddress),
		LocalMounts:   map[string]fsutil.FS{},
		SharedKey:     digest.FromString(req.Context).Encoded(), // so that of a folder only what changed is sent again
		CacheExports:  cacheEntries(req.CacheTo),
		CacheImports:  cacheEntries(req.CacheFrom),
		Exports:       []client.ExportEntry{{Type: client.ExporterImage, Attrs: exported(req)}},
		Session:       []session.Attachable{logins{configured: req.Credentials}, secretStore(req.Secrets)},
	}}
	defer func() {
		if err != nil {
			o.release()
		}
	}()
	if len(req.Names) == 0 {
		return client.SolveOpt{}, nil, errors.New("no name is given for the image")
	}
	if req.Args["BUILDKIT_INLINE_CACHE"] == "1" {
		o.opt.CacheExports = append(o.opt.CacheExports, client.CacheOptionsEntry{Type: "inline"})
	}
	if req.HostNetwork || req.Network == "host" {
		o.opt.AllowedEntitlements = append(o.opt.AllowedEntitlements, string(entitlements.EntitlementNetworkHost))
	}
	if req.Privileged {
		o.opt.AllowedEntitlements = append(o.opt.AllowedEntitlements, string(entitlements.EntitlementSecurityInsecure))
	}
	if err := o.addContext(req); err != nil {
		return client.SolveOpt{}, nil, err
	}
	if err := o.addDockerfile(req, b.cfg.State); err != nil {
		return client.SolveOpt{}, nil, err
	}
	store := containerdsnapshot.NewContentStore(b.cfg.Client.ContentStore(), b.cfg.Client.DefaultNamespace())
	if err := o.addContexts(req, store); err != nil {
		return client.SolveOpt{}, nil, err
	}
	agents, err := agentsOf(req.SSH)
	if err != nil {
		return client.SolveOpt{}, nil, err
	}
	o.opt.Session = append(o.opt.Session, agents...)
	return o.opt, o.release, nil
}

// exported says what becomes of what was built.
func exported(req Request) map[string]string {
	attrs := map[string]string{
		string(exptypes.OptKeyName):   strings.Join(req.Names, ","),
		string(exptypes.OptKeyUnpack): "true",
	}
	if req.Portable {
		// Layers in the cache may have been packed for this host only.
		attrs[string(exptypes.OptKeyLayerCompression)], attrs[string(exptypes.OptKeyForceCompression)] = "gzip", "true"
		return attrs
	}
	attrs[string(exptypes.OptKeyLayerCompression)], attrs[string(exptypes.OptKeyCompressionLevel)] = "zstd", "1"
	return attrs
}

// solving is a client.SolveOpt in the making.
type solving struct {
	opt  client.SolveOpt
	temp string
}

func (o *solving) release() {
	if o.temp != "" {
		_ = os.RemoveAll(o.temp) // what stays goes when the next engine cleans up
	}
}

// addContext gives the build its main context.
func (o *solving) addContext(req Request) error {
	switch {
	case req.Context == "-":
		if req.Archive == nil {
			return errors.New("there is no archive on standard input")
		}
		up := uploadprovider.New()
		o.opt.FrontendAttrs[contextMount] = up.Add(io.NopCloser(req.Archive))
		o.opt.Session = append(o.opt.Session, up)
		return nil
	case isRemote(req.Context):
		o.opt.FrontendAttrs[contextMount] = req.Context
		return nil
	}
	return o.mount(contextMount, req.Context)
}

// mount has the session serve a folder.
func (o *solving) mount(name, folder string) error {
	fs, err := fsutil.NewFS(folder)
	if err != nil {
		return &Error{Reason: fmt.Sprintf("the build context %q can't be read: %v", folder, rootCause(err)), hint: "check build.context; it is a folder or the URL of a Git repository", cause: err}
	}
	o.opt.LocalMounts[name] = fs
	return nil
}

// inlineFolders are the names of folders with a Dockerfile that was given as text.
const inlineFolders = "dockerfile-*"

// addDockerfile says where the Dockerfile is.
func (o *solving) addDockerfile(req Request, state string) error {
	if req.Inline != "" {
		dir, err := os.MkdirTemp(state, inlineFolders)
		if err != nil {
			return err
		}
		o.temp = dir
		if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(req.Inline), 0o600); err != nil {
			return err
		}
		o.opt.FrontendAttrs["filename"] = "Dockerfile"
		o.opt.FrontendAttrs["dockerfilekey"] = dockerfileMount // also where the context is remote
		return o.mount(dockerfileMount, dir)
	}
	if req.Context == "-" || isRemote(req.Context) {
		if req.Dockerfile != "" {
			o.opt.FrontendAttrs["filename"] = req.Dockerfile
		}
		return nil
	}
	path, err := findDockerfile(req)
	if err != nil {
		return err
	}
	o.opt.FrontendAttrs["filename"] = filepath.Base(path)
	return o.mount(dockerfileMount, filepath.Dir(path))
}

// findDockerfile gives the path of a Dockerfile on this host; "dockerfile" does for "Dockerfile".
func findDockerfile(req Request) (string, error) {
	path := req.Dockerfile
	if path == "" {
		path = filepath.Join(req.Context, "Dockerfile")
	}
	_, err := os.Stat(path)
	if err == nil {
		return path, nil
	}
	if filepath.Base(path) == "Dockerfile" {
		lower := filepath.Join(filepath.Dir(path), "dockerfile")
		if _, err := os.Stat(lower); err == nil {
			return lower, nil
		}
	}
	if _, ctxErr := os.Stat(req.Context); ctxErr != nil {
		return "", &Error{Reason: fmt.Sprintf("the build context %q can't be read: %v", req.Context, rootCause(ctxErr)), cause: ctxErr,
			hint: "check build.context; it is a folder or the URL of a Git repository"}
	}
	return "", &Error{Reason: fmt.Sprintf("there is no Dockerfile at %q", path), cause: err, hint: "name it with build.dockerfile, from build.context on, or write it into build.dockerfile_inline"}
}

// addContexts gives the build its further contexts.
func (o *solving) addContexts(req Request, built content.Store) error {
	for _, name := range slices.Sorted(maps.Keys(req.Contexts)) {
		value := req.Contexts[name]
		key := "context:" + name
		service, isService := strings.CutPrefix(value, servicePrefix)
		switch {
		case isService:
			result, ok := req.Built[service]
			if !ok {
				return &Error{Reason: fmt.Sprintf("it needs the image of service %q, which is not built", service), hint: "build that first: berth build " + service}
			}
			o.opt.OCIStores = map[string]content.Store{builtStore: built}
			o.opt.FrontendAttrs[key] = "oci-layout://" + builtStore + "@" + result.Digest.String()
		case strings.HasPrefix(value, "docker-image://"), strings.HasPrefix(value, "oci-layout://"), isRemote(value):
			o.opt.FrontendAttrs[key] = value
		default:
			if err := o.mount("context-"+name, value); err != nil {
				return err
			}
			o.opt.FrontendAttrs[key] = "local:context-" + name
		}
	}
	return nil
}

// isRemote tells what BuildKit fetches itself from a folder's name.
func isRemote(context string) bool {
	for _, prefix := range []string{"https://", "http://", "git://", "ssh://", "github.com/", "git@"} {
		if strings.HasPrefix(context, prefix) {
			return true
		}
	}
	return false
}

// hostGateway stands for the host's address as steps see it.
const hostGateway = "host-gateway"

// attributes are the options of the Dockerfile frontend.
func attributes(req Request, hostAddress string) map[string]string {
	attrs := map[string]string{"image-resolve-mode": pb.AttrImageResolveModePreferLocal}
	set := func(key, value string) {
		if value != "" {
			attrs[key] = value
		}
	}
	for k, v := range req.Args {
		attrs["build-arg:"+k] = v
	}
	for k, v := range req.Labels {
		attrs["label:"+k] = v
	}
	set("target", req.Target)
	set("platform", strings.Join(req.Platforms, ","))
	set("no-cache", strings.Join(req.NoCacheFilter, ","))
	if req.NoCache {
		attrs["no-cache"] = ""
	}
	if req.Pull {
		attrs["image-resolve-mode"] = pb.AttrImageResolveModeForcePull
	}
	if req.Network != "default" {
		set("force-network-mode", req.Network)
	}
	var hosts, limits []string
	for _, h := range req.ExtraHosts {
		address := h.Address
		if address == hostGateway {
			address = hostAddress
		}
		hosts = append(hosts, h.Name+"="+address)
	}
	for _, u := range req.Ulimits {
		limits = append(limits, fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard))
	}
	set("add-hosts", joinCSV(hosts))
	set("ulimit", joinCSV(limits))
	if req.ShmBytes > 0 {
		attrs["shm-size"] = strconv.FormatInt(req.ShmBytes, 10)
	}
	attest(attrs, "provenance", req.Provenance)
	attest(attrs, "sbom", req.SBOM)
	return attrs
}

// attest asks for an attestation; "true" is one with its defaults.
func attest(attrs map[string]string, kind, value string) {
	on, err := strconv.ParseBool(value)
	switch {
	case value == "", err == nil && !on:
	case err == nil:
		attrs["attest:"+kind] = ""
	default:
		attrs["attest:"+kind] = value
	}
}

func joinCSV(fields []string) string {
	if len(fields) == 0 {
		return ""
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(fields) // into memory
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

func cacheEntries(list []Cache) []client.CacheOptionsEntry {
	var out []client.CacheOptionsEntry
	for _, c := range list {
		out = append(out, client.CacheOptionsEntry{Type: c.Type, Attrs: maps.Clone(c.Attrs)})
	}
	return out
}

// resultOf reads what the exporter said.
func resultOf(req Request, resp *client.SolveResponse) (Result, error) {
	d, err := digest.Parse(resp.ExporterResponse[exptypes.ExporterImageDigestKey])
	if err != nil {
		return Result{}, fmt.Errorf("build %q: read the image's digest: %w", req.Service, err)
	}
	return Result{Ref: req.Names[0], Digest: d, ImageID: digest.Digest(resp.ExporterResponse[exptypes.ExporterImageConfigDigestKey])}, nil
}
