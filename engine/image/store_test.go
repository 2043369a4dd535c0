package image_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimespec "github.com/opencontainers/runtime-spec/specs-go"

	"berth/engine/image"
	"berth/testing/registry"
)

// tree lists files with their sizes.
func tree(t testing.TB, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		rel, _ := filepath.Rel(root, path)
		fmt.Fprintf(&b, "%s %d\n", rel, info.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func otherPlatform(name string, text string) *registry.Image {
	i := registry.Scratch(name, map[string]registry.File{"bin/app": registry.Text(text)})
	i.Platform = ocispec.Platform{OS: "linux", Architecture: otherArchitecture()}
	return i
}

func otherArchitecture() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

func TestOnlyTheHostsPlatformIsFetched(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	here, there := registry.Scratch("web", map[string]registry.File{"bin/app": registry.Text("here")}), otherPlatform("web", "there")
	index := r.PushIndex(t, "web", there, here)
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	img, err := s.Pull(ctx, "web", image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest != index || img.ID != here.ID() || img.Manifest.Digest != here.Digest() {
		t.Errorf("pulled %+v", img)
	}
	if q := r.Requests("GET", there.LayerDigest(0).String()); len(q) > 0 {
		t.Errorf("the other platform's layer was fetched: %v", q)
	}
	if _, err := s.Get(ctx, "web", "linux/"+otherArchitecture()); !errdefs.IsNotFound(err) {
		t.Errorf("the other platform is said to be here: %v", err)
	}
	if _, err := s.Pull(ctx, "web", image.PullOptions{Platform: "linux/" + otherArchitecture()}); err != nil {
		t.Fatal(err)
	}
	h.collect()
	for platform, want := range map[string]digest.Digest{"": here.ID(), "linux/" + otherArchitecture(): there.ID()} {
		img, err := image.New(image.Config{Client: h.client, Snapshotter: "overlayfs"}).Get(ctx, "web", platform)
		if err != nil || img.ID != want {
			t.Errorf("platform %q after both were pulled: %s, %v", platform, img.ID, err)
			continue
		}
		if err := s.EnsureUnpacked(ctx, img); err != nil {
			t.Error(err)
		}
		for _, l := range img.Layers {
			if _, err := h.client.ContentStore().Info(ctx, l.Digest); err != nil {
				t.Errorf("platform %q: a layer was collected: %v", platform, err)
			}
		}
	}
}

func TestAMissingPlatformIsNamedWithThoseThatThereAre(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.PushIndex(t, "web", otherPlatform("web", "x"))
	r.Push(t, small("plain"), otherPlatform("alone", "y"))
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	_, err := s.Pull(ctx, "web", image.PullOptions{})
	want := fmt.Sprintf(`pull image "web": there is nothing in it for linux/%s, only for linux/%s`, runtime.GOARCH, otherArchitecture())
	if !errdefs.IsNotFound(err) || err.Error() != want || !strings.Contains(hintOf(err), "platform:") {
		t.Errorf("got %v\nwant %s", err, want)
	}
	_, err = s.Pull(ctx, "plain", image.PullOptions{Platform: "linux/s390x"})
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "nothing in it for linux/s390x, only for linux/"+runtime.GOARCH) {
		t.Errorf("an image without an index: %v", err)
	}
	img, err := s.Pull(ctx, "alone", image.PullOptions{})
	if err != nil || img.Platform.Architecture != otherArchitecture() {
		t.Errorf("an image that stands alone, when no platform was asked for: %+v, %v", img.Platform, err)
	}
	if _, err = s.Pull(ctx, "plain", image.PullOptions{Platform: "linux/6502"}); !errdefs.IsInvalidArgument(err) && !errdefs.IsNotFound(err) {
		t.Errorf("a platform that does not exist: %v", err)
	}
}

func TestAnImageIsFoundByEachOfItsNames(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := small("team/web:1")
	r.Push(t, web, small("other"))
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	pull(t, s, "team/web:1", "other")
	for _, ref := range []string{"team/web:1", "docker.io/team/web:1", "team/web@" + web.Digest().String(), "team/web:9@" + web.Digest().String(),
		web.ID().String(), web.ID().Encoded(), web.ID().Encoded()[:12], web.Digest().String(), "sha256:" + web.ID().Encoded()[:8]} {
		if img, err := s.Get(ctx, ref, ""); err != nil || img.ID != web.ID() {
			t.Errorf("%s: %s, %v", ref, img.ID, err)
		}
	}
	for _, ref := range []string{"team/web", "web:1", "elsewhere/web@" + web.Digest().String(), "sha256:0000", "abcdefabcdef"} {
		if _, err := s.Get(ctx, ref, ""); !errdefs.IsNotFound(err) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := s.Pull(ctx, "other:7@"+small("other").Digest().String(), image.PullOptions{Force: true}); err != nil {
		t.Errorf("by tag and digest: %v", err)
	}
}

func pull(t testing.TB, s *image.Store, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := s.Pull(deadline(t.Context(), t), n, image.PullOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
}

func names(t testing.TB, s *image.Store) string {
	t.Helper()
	list, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range list {
		out = append(out, i.Name)
	}
	return strings.Join(out, " ")
}

func TestNamesAreGivenAndTaken(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := small("web")
	r.Push(t, web, small("db"))
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	pull(t, s, "web", "db")
	for _, dst := range []string{"shop/web:2", "web:old"} {
		if err := s.Tag(ctx, "web", dst); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tag(ctx, "nothing", "x"); !errdefs.IsNotFound(err) {
		t.Errorf("a name for an image that is not here: %v", err)
	}
	if err := s.Tag(ctx, "web", "x@"+someDigest); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a digest as a name: %v", err)
	}
	if got := names(t, s); got != "db:latest shop/web:2 web:latest web:old" {
		t.Errorf("names: %s", got)
	}
	users := func(img image.Image) []string {
		if img.ID == web.ID() {
			return []string{"shop-web-1"}
		}
		return nil
	}
	untagged, deleted, err := s.Remove(ctx, []string{"web", "db"}, false, users)
	if err != nil || !slices.Equal(untagged, []string{"web:latest", "db:latest"}) || !slices.Equal(deleted, []string{small("db").ID().String()}) {
		t.Errorf("untagged %v, deleted %v, %v", untagged, deleted, err)
	}
	_, _, err = s.Remove(ctx, []string{web.ID().Encoded()[:12]}, false, nil)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "shop/web:2 and web:old") {
		t.Errorf("by the id of an image with two names: %v", err)
	}
	if _, _, err = s.Remove(ctx, []string{"web:old"}, false, users); err != nil {
		t.Errorf("one of two names of an image in use: %v", err)
	}
	_, _, err = s.Remove(ctx, []string{"shop/web:2"}, false, users)
	if !errdefs.IsFailedPrecondition(err) || err.Error() != `remove image "shop/web:2": it is needed by shop-web-1` {
		t.Errorf("the last name of an image in use: %v", err)
	}
	if _, deleted, err = s.Remove(ctx, []string{"shop/web:2"}, true, users); err != nil || len(deleted) != 0 {
		t.Errorf("the same by force: deleted %v, %v", deleted, err)
	}
	if left := h.remains("overlayfs"); len(left) > 0 {
		t.Errorf("after the last image went there is still %v", left)
	}
	if _, _, err = s.Remove(ctx, []string{"web"}, true, nil); !errdefs.IsNotFound(err) {
		t.Errorf("an image that is not here: %v", err)
	}
}

func TestATagThatMovedIsFetchedAndTheOldImageGoes(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	old := large("web", 30)
	r.Push(t, old)
	s := newStore(t, h, r)
	pull(t, s, "web")
	r.Push(t, small("web"))
	ctx := deadline(h.ctx, t)
	if img, err := s.Pull(ctx, "web", image.PullOptions{}); err != nil || img.ID != old.ID() {
		t.Errorf("without Force: %s, %v", img.ID, err)
	}
	img, err := s.Pull(ctx, "web", image.PullOptions{Force: true})
	if err != nil || img.ID != small("web").ID() {
		t.Errorf("with Force: %s, %v", img.ID, err)
	}
	h.collect()
	if left := h.remains("overlayfs"); slices.Contains(left, "content "+old.LayerDigest(0).String()) {
		t.Errorf("the old image is still here: %v", left)
	}
}

func TestWhatAStoppedContainerNeedsIsNotCollected(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := large("web", 31)
	r.Push(t, web)
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	pull(t, s, "web")
	img, err := s.Get(ctx, "web", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prepare(ctx, img, "c1", false); err != nil {
		t.Fatal(err)
	}
	h.collect()
	if _, err := s.Mounts(ctx, "c1"); err != nil {
		t.Fatalf("a root file system went before its container could be recorded: %v", err)
	}
	spec, err := typeurl.MarshalAny(&runtimespec.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	store := metadata.NewContainerStore(h.db)
	_, err = store.Create(ctx, containers.Container{ID: "c1", Snapshotter: "overlayfs", SnapshotKey: "c1", Labels: image.ContainerLabels(img),
		Runtime: containers.RuntimeInfo{Name: "io.containerd.runc.v2"}, Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(ctx); err != nil { // from here on the record alone keeps it
		t.Fatal(err)
	}
	if _, _, err := s.Remove(ctx, []string{"web"}, true, func(image.Image) []string { return []string{"c1"} }); err != nil {
		t.Fatal(err)
	}
	h.collect()
	left := h.remains("overlayfs")
	for _, want := range []string{"snapshot c1", "snapshot " + img.ChainID.String(), "content " + img.ID.String(), "content " + web.LayerDigest(0).String()} {
		if !slices.Contains(left, want) {
			t.Errorf("%s was collected", want)
		}
	}
	if err := store.Delete(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	h.collect()
	if err := errors.Join(s.Release(ctx, "c1"), s.Close(ctx)); err != nil {
		t.Error(err)
	}
	h.collect()
	if left := h.remains("overlayfs"); len(left) > 0 {
		t.Errorf("after the container went there is still %v", left)
	}
}

func TestWhatACrashLeftUnrecordedIsCollectedByTheNextEngine(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	pull(t, s, "web")
	ctx := deadline(h.ctx, t)
	img, err := s.Get(ctx, "web", "")
	if err == nil {
		_, err = s.Prepare(ctx, img, "lost", false)
	}
	if err != nil {
		t.Fatal(err)
	}
	next := newStore(t, h, r)
	if _, err := next.Prepare(ctx, img, "new", false); err != nil {
		t.Fatal(err)
	}
	if err := next.Collect(ctx); err != nil {
		t.Fatal(err)
	}
	left := h.remains("overlayfs")
	if slices.Contains(left, "snapshot lost") || !slices.Contains(left, "snapshot new") {
		t.Errorf("there is %v", left)
	}
	if err := errors.Join(next.Release(ctx, "new"), next.Close(ctx)); err != nil {
		t.Error(err)
	}
	if left := leasesOf(h); len(left) > 0 {
		t.Errorf("after Close there are %v", left)
	}
}

func TestARootFileSystemIsPreparedOnceAndReleased(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	pull(t, s, "web")
	ctx := deadline(h.ctx, t)
	img, err := s.Get(ctx, "web", "")
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Prepare(ctx, img, "c1", false)
	if err != nil {
		t.Fatal(err)
	}
	within(t, first, func(root string) { write(t, filepath.Join(root, "kept"), "by the container", 0o644) })
	again, err := s.Prepare(ctx, img, "c1", false)
	if err != nil {
		t.Fatal(err)
	}
	within(t, again, func(root string) {
		if got := tree(t, root); !strings.Contains(got, "kept 16") {
			t.Errorf("the second Prepare lost what was written:\n%s", got)
		}
	})
	if err := s.Release(ctx, "c1"); err != nil {
		t.Error(err)
	}
	if err := s.Release(ctx, "c1"); err != nil {
		t.Errorf("a second Release: %v", err)
	}
	empty := image.Image{Name: "empty"}
	if _, err := s.Prepare(ctx, empty, "c2", false); err != nil {
		t.Errorf("an image without layers: %v", err)
	}
}

func BenchmarkGet(b *testing.B) {
	h, r := newHost(b), registry.Start(b)
	if err := r.PushImage(small("web")); err != nil {
		b.Fatal(err)
	}
	s := newStore(b, h, r)
	pull(b, s, "web")
	for b.Loop() {
		if _, err := s.Get(h.ctx, "web", ""); err != nil {
			b.Fatal(err)
		}
	}
}
