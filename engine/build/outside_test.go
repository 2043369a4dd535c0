package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/engine/build"
	"berth/engine/credentials"
	"berth/engine/image"
	"berth/testing/registry"
)

// What follows is about what a build gets from outside of its Dockerfile, and gives out beside the image.

func theContextComesAsAnArchive(t *testing.T, b *bench) {
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	for name, text := range map[string]string{
		"Dockerfile": b.text("# syntax=docker/dockerfile:1\nFROM BASE\nCOPY sub/file /said\n"), "sub/file": "by default",
		"sub/Other": b.text("FROM BASE\nCOPY sub/file /other\n"),
	} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b.build(build.Request{Context: "-", Archive: bytes.NewReader(plain.Bytes())})
	if got := b.file("shop-web", "said"); got != "by default" {
		t.Errorf("from an archive came %q", got)
	}
	b.build(build.Request{Context: "-", Archive: bytes.NewReader(packed.Bytes()), Dockerfile: "sub/Other"})
	if got := b.file("shop-web", "other"); got != "by default" {
		t.Errorf("from a packed archive, with another Dockerfile, came %q", got)
	}
	_, err := b.builder.Build(b.ctx, b.whole(build.Request{Context: "-"}), nil)
	if err == nil || !strings.Contains(err.Error(), "standard input") {
		t.Errorf("without an archive it gave %v", err)
	}
}

func stepsSpeakToAnAgent(t *testing.T, b *bench) {
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+filepath.Join(dir, "agent"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	agent := exec.CommandContext(b.ctx, "ssh-agent", "-D", "-a", filepath.Join(dir, "agent"))
	said, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = agent.Process.Kill() // it waits to be ended
		_ = agent.Wait()
	}()
	if _, err := said.Read(make([]byte, 1)); err != nil { // it says where it listens once it does
		t.Fatal(err)
	}
	run("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "", "-f", filepath.Join(dir, "known"))
	run("ssh-add", "-q", filepath.Join(dir, "known"))
	run("ssh-keygen", "-q", "-t", "ed25519", "-N", "locked", "-C", "", "-f", filepath.Join(dir, "locked"))
	ctx := b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN --mount=type=ssh [\"/probe\", \"ssh-keys\"]\n"})
	// Of an agent that the file names and the command line names again, the latter counts.
	_, rec := b.build(build.Request{Context: ctx, NoCache: true, SSH: []build.Agent{{ID: "default", Path: "/none"}, {ID: "default", Path: filepath.Join(dir, "agent")}}})
	if got := rec.output.String(); got != "ecdsa-sha2-nistp256\n" {
		t.Errorf("the step saw %q", got)
	}
	for path, want := range map[string]string{
		"": "there is no SSH agent for \"default\"", "/no/such/key": "no such file", filepath.Join(dir, "locked"): "passphrase",
	} {
		_, err := b.builder.Build(b.ctx, b.whole(build.Request{Context: ctx, SSH: []build.Agent{{ID: "default", Path: path}}}), nil)
		if err == nil || !strings.HasPrefix(err.Error(), `build "web": `) || !strings.Contains(err.Error(), want) {
			t.Errorf("with %q it gave %v", path, err)
		}
	}
}

func proxiesComeFromTheDockerConfiguration(t *testing.T, b *bench) {
	config := b.folder(map[string]string{"config.json": `{"auths": {}, "proxies": {"default": {"httpProxy": "http://proxy.test:1", "noProxy": "not.this"}}}`})
	ctx := b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"env\", \"HTTP_PROXY\", \"http_proxy\", \"NO_PROXY\", \"no_proxy\"]\n"})
	_, rec := b.build(build.Request{Context: ctx, Credentials: credentials.Config{Folder: config}, NoCache: true, Args: map[string]string{"no_proxy": "own"}})
	if got := rec.output.String(); got != "http://proxy.test:1\nhttp://proxy.test:1\nown\nown\n" {
		t.Errorf("the step saw %q", got)
	}
	img, err := b.images.Get(b.ctx, "shop-web", "")
	if err != nil || strings.Contains(strings.Join(img.Config.Config.Env, " "), "proxy") {
		t.Errorf("the image has %v, %v", img.Config.Config.Env, err)
	}
	broken := b.folder(map[string]string{"config.json": "{"})
	if _, err := b.builder.Build(b.ctx, b.whole(build.Request{Context: ctx, Credentials: credentials.Config{Folder: broken}}), nil); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("a broken configuration gave %v", err)
	}
}

func stepsAreDoneAgainIfAsked(t *testing.T, b *bench) {
	ctx := b.folder(map[string]string{"Dockerfile": "FROM BASE AS one\nRUN [\"/probe\", \"say\", \"first\"]\nRUN [\"/probe\", \"write\", \"/one\", \"x\"]\n" +
		"FROM BASE AS two\nRUN [\"/probe\", \"say\", \"second\"]\nCOPY --from=one /one /one\n"})
	for _, test := range []struct {
		name string
		req  build.Request
		want string
	}{
		{"at first", build.Request{NoCache: true}, "first\nsecond\n"},
		{"unchanged", build.Request{}, ""},
		{"no cache for a stage", build.Request{NoCacheFilter: []string{"two"}}, "second\n"},
		{"no cache for two stages", build.Request{NoCacheFilter: []string{"one", "two"}}, "first\nsecond\n"},
		{"no cache at all", build.Request{NoCache: true}, "first\nsecond\n"},
	} {
		test.req.Context = ctx
		_, rec := b.build(test.req)
		// The stages run side by side.
		got := rec.output.String()
		if got == "second\nfirst\n" {
			got = "first\nsecond\n"
		}
		if got != test.want {
			t.Errorf("%s, the steps said %q", test.name, got)
		}
	}
}

func aCacheThatIsNotThereIsNoReasonToFail(t *testing.T, b *bench) {
	ctx := b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"write\", \"/x\", \"y\"]\n"})
	for _, from := range []build.Cache{
		{Type: "registry", Attrs: map[string]string{"ref": b.registry + "/library/none"}},
		{Type: "local", Attrs: map[string]string{"src": filepath.Join(t.TempDir(), "none")}},
	} {
		b.build(build.Request{Context: ctx, CacheFrom: []build.Cache{from}})
	}
	// Where it was to go is the user's wish.
	for name, to := range map[string]build.Cache{
		"a registry that isn't there": {Type: "registry", Attrs: map[string]string{"ref": "127.0.0.1:1/library/none"}},
		"a file in place of a folder": {Type: "local", Attrs: map[string]string{"dest": filepath.Join(ctx, "Dockerfile")}},
	} {
		_, err := b.builder.Build(b.ctx, b.whole(build.Request{Context: ctx, CacheTo: []build.Cache{to}}), nil)
		if err == nil || !strings.HasPrefix(err.Error(), `build "web": `) {
			t.Errorf("%s gave %v", name, err)
		}
		t.Log(err)
	}
}

func anInlineCacheComesWithTheImage(t *testing.T, b *bench) {
	ctx := b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"write\", \"/inline\", \"y\"]\n"})
	ref := b.registry + "/library/inline:1"
	b.build(build.Request{Context: ctx, Names: []string{ref}, Portable: true, Args: map[string]string{"BUILDKIT_INLINE_CACHE": "1"}})
	if _, err := b.images.Push(b.ctx, ref, image.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.images.Remove(b.ctx, []string{ref}, true, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.builder.Prune(b.ctx, build.PruneOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	_, rec := b.build(build.Request{Context: ctx, CacheFrom: []build.Cache{{Type: "registry", Attrs: map[string]string{"ref": ref}}}})
	if !rec.cached[`[2/2] RUN ["/probe", "write", "/inline", "y"]`] {
		t.Errorf("only %v came from the cache", rec.cached)
	}
	if got := b.file("shop-web", "inline"); got != "y\n" {
		t.Errorf("the file holds %q", got)
	}
}

// manifests reads the manifests of an image's index by the architectures they are for; attestations have "unknown".
func (b *bench) manifests(ref string) map[string]ocispec.Manifest {
	b.t.Helper()
	record, err := b.client.ImageService().Get(b.ctx, ref)
	if err != nil {
		b.t.Fatal(err)
	}
	var index ocispec.Index
	b.decode(record.Target, &index)
	list := map[string]ocispec.Manifest{}
	for _, d := range index.Manifests {
		var m ocispec.Manifest
		b.decode(d, &m)
		list[d.Platform.Architecture] = m
	}
	return list
}

func (b *bench) decode(d ocispec.Descriptor, v any) {
	b.t.Helper()
	text, err := content.ReadBlob(b.ctx, b.client.ContentStore(), d)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func whatWasDoneIsAttestedIfAsked(t *testing.T, b *bench) {
	hub := registry.Start(t)
	_, probe := programs(t)
	statement := `{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","predicate":{"name":"found"}}`
	hub.Push(t, registry.Scratch("scanner", map[string]registry.File{"probe": registry.Program(probe)}, ocispec.ImageConfig{
		Entrypoint: []string{"/probe", "write-into", "BUILDKIT_SCAN_DESTINATION", "found.spdx.json", statement}}))
	ctx := b.folder(map[string]string{"Dockerfile": "FROM BASE\nARG WHO\nRUN [\"/probe\", \"write\", \"/x\", \"y\"]\n"})
	for name, test := range map[string]struct {
		req       build.Request
		want, not []string // in the attestations
	}{
		"the least provenance": {build.Request{Provenance: "mode=min"}, []string{"slsa.dev/provenance", "dockerfile.v0"}, []string{"args-secret"}},
		"all provenance":       {build.Request{Provenance: "mode=max"}, []string{"slsa.dev/provenance", "args-secret"}, nil},
		"a list of contents":   {build.Request{SBOM: "generator=" + hub.Addr + "/library/scanner"}, []string{"spdx.dev/Document", "found"}, []string{"slsa.dev"}},
	} {
		test.req.Context, test.req.Args = ctx, map[string]string{"WHO": "args-secret"}
		b.build(test.req)
		var said strings.Builder
		for _, layer := range b.manifests("docker.io/library/shop-web:latest")["unknown"].Layers {
			var statement any
			b.decode(layer, &statement)
			text, err := json.Marshal(statement)
			if err != nil {
				t.Fatal(err)
			}
			said.Write(text)
		}
		for _, want := range test.want {
			if !strings.Contains(said.String(), want) {
				t.Errorf("%s: %q is not in %s", name, want, said.String())
			}
		}
		for _, not := range test.not {
			if strings.Contains(said.String(), not) {
				t.Errorf("%s: %q is in %s", name, not, said.String())
			}
		}
		if got := b.file("shop-web", "x"); got != "y\n" {
			t.Errorf("%s: the image's file holds %q", name, got)
		}
	}
	b.build(build.Request{Context: ctx})
	img, err := b.client.ImageService().Get(b.ctx, "docker.io/library/shop-web:latest")
	if err != nil || img.Target.MediaType != ocispec.MediaTypeImageManifest {
		t.Errorf("not asked for, it is a %s (%v) and no plain image", img.Target.MediaType, err)
	}
}

func layersForOthersAreGzip(t *testing.T, b *bench) {
	ctx := b.folder(map[string]string{"Dockerfile": "FROM BASE\nRUN [\"/probe\", \"write\", \"/packed\", \"y\"]\nCOPY Dockerfile /\n"})
	kinds := func(req build.Request) string {
		t.Helper()
		req.Context = ctx
		b.build(req)
		img, err := b.images.Get(b.ctx, "shop-web", "")
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, l := range img.Layers {
			list = append(list, l.MediaType[strings.LastIndex(l.MediaType, ".")+1:])
		}
		return strings.Join(list, " ")
	}
	if got := kinds(build.Request{}); got != "tar+gzip tar+zstd tar+zstd" {
		t.Errorf("for this host the layers are %s", got)
	}
	local, err := b.images.Get(b.ctx, "shop-web", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := kinds(build.Request{Portable: true}); got != "tar+gzip tar+gzip tar+gzip" {
		t.Errorf("for others the layers are %s", got)
	}
	if portable, err := b.images.Get(b.ctx, "shop-web", ""); err != nil || portable.ID != local.ID {
		t.Errorf("packing makes %s of %s (%v)", portable.ID, local.ID, err)
	}
	if got := b.file("shop-web", "packed"); got != "y\n" {
		t.Errorf("the file holds %q", got)
	}
}

func TestBuildsWithoutOverlay(t *testing.T) {
	require(t)
	b := newBenchWith(t, t.TempDir(), func(c *build.Config) { c.Snapshotter = "native" })
	defer func() {
		if err := b.builder.Close(); err != nil {
			t.Error(err)
		}
	}()
	b.registry = startRegistry(t)
	b.build(build.Request{Context: b.folder(map[string]string{"f": "of the context", "Dockerfile": "FROM BASE AS one\nRUN [\"/probe\", \"write\", \"/x\", \"y\"]\nRUN [\"/probe\", \"remove\", \"/etc/passwd\"]\n" +
		"FROM one\nCOPY f /f\nCOPY --link f /linked\nRUN --mount=type=cache,target=/cache [\"/probe\", \"write\", \"/cache/x\", \"y\"]\n"})})
	if got := b.file("shop-web", "x") + b.file("shop-web", "f") + b.file("shop-web", "linked") + b.file("shop-web", "etc/passwd"); got != "y\nof the contextof the context" {
		t.Errorf("the files hold %q", got)
	}
}

func TestARepositoryNeedsGit(t *testing.T) {
	require(t)
	b := newBenchWith(t, t.TempDir(), func(*build.Config) {})
	defer func() {
		if err := b.builder.Close(); err != nil {
			t.Error(err)
		}
	}()
	t.Setenv("PATH", t.TempDir())
	_, err := b.builder.Build(b.ctx, b.whole(build.Request{Context: "http://127.0.0.1:1/repository.git"}), nil)
	var e *build.Error
	if !errors.As(err, &e) || !strings.Contains(e.Error(), "without the program git") || !strings.Contains(e.Hint(), "install git") {
		t.Errorf("it gave %v", err)
	}
	_, err = b.builder.Build(b.ctx, b.whole(build.Request{Context: b.folder(map[string]string{"Dockerfile": "FROM scratch\nADD http://127.0.0.1:1/repository.git /\n"})}), nil)
	if !errors.As(err, &e) || !strings.Contains(e.Error(), "without the program git") {
		t.Errorf("ADD gave %v", err)
	}
}

// TestABaseIsUnpackedOnce has BuildKit and the image store need the same layer, which is to be on the disk once.
func TestABaseIsUnpackedOnce(t *testing.T) {
	for name, pull := range map[string]bool{"for the build": false, "when it was pulled": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			base := b.registry + "/library/probe"
			if pull {
				img, err := b.images.Pull(b.ctx, base, image.PullOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if err := b.images.EnsureUnpacked(b.ctx, img); err != nil {
					t.Fatal(err)
				}
			}
			b.build(build.Request{Context: b.folder(map[string]string{"x": "y\n", "Dockerfile": "FROM BASE\nCOPY x /x\nRUN [\"/probe\", \"cat\", \"/x\"]\n"})})
			if got := b.file("shop-web", "x"); got != "y\n" {
				t.Errorf("the file holds %q", got)
			}
			b.collect()
			if got := b.bottoms(); len(got) != 1 {
				t.Errorf("the base's layer is unpacked as %q", got)
			}
		})
	}
}

// bottoms names the snapshots that have no other below them, and something in them.
func (b *bench) bottoms() (names []string) {
	b.t.Helper()
	store := b.client.SnapshotService("overlayfs")
	err := store.Walk(b.ctx, func(ctx context.Context, info snapshots.Info) error {
		u, err := store.Usage(ctx, info.Name)
		if info.Kind == snapshots.KindCommitted && info.Parent == "" && u.Size > 1<<20 {
			names = append(names, info.Name)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return names
}
