package image_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"berth/engine/image"
	hosttest "berth/testing/host"
	"berth/testing/registry"
)

// container prepares a root file system and changes it, as a container does.
func container(t testing.TB, h *host, s *image.Store, img image.Image, key string, change func(root string)) {
	t.Helper()
	mounts, err := s.Prepare(h.ctx, img, key, false)
	if err != nil {
		t.Fatal(err)
	}
	within(t, mounts, change)
}

func TestACommittedContainerIsAnImageWithWhatItChanged(t *testing.T) {
	h, r, to := newHost(t), registry.Start(t), registry.Start(t)
	web := registry.Scratch("web", map[string]registry.File{
		"etc/motd": registry.Text("old"), "etc/gone": registry.Text("x"), "opt/same": registry.Text("s"),
	}, ocispec.ImageConfig{Cmd: []string{"/app"}, Env: []string{"A=1"}, Labels: map[string]string{"l": "v"}})
	r.Push(t, web)
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	parent, err := s.Pull(ctx, "web", image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	container(t, h, s, parent, "c1", func(root string) {
		write(t, filepath.Join(root, "etc/motd"), "new", 0o600)
		write(t, filepath.Join(root, "var/made/deep"), "made", 0o644)
		if err := errors.Join(os.Remove(filepath.Join(root, "etc/gone")), os.Chown(filepath.Join(root, "etc/motd"), 1000, 1001),
			os.Chmod(filepath.Join(root, "etc/motd"), 0o600)); err != nil {
			t.Fatal(err)
		}
	})
	ref := to.Addr + "/team/snapshot:1"
	img, err := s.Commit(ctx, "c1", parent, image.CommitOptions{Ref: ref, Author: "ann", Message: "by hand",
		Changes: []string{`CMD ["/app", "-v"]`, "ENV A=2 B=3", "EXPOSE 80", "LABEL m=w", "USER app", "WORKDIR /srv", "ENTRYPOINT run it"}})
	if err != nil {
		t.Fatal(err)
	}
	config := img.Config.Config
	if img.Name != ref || !slices.Equal(config.Cmd, []string{"/app", "-v"}) || !slices.Equal(config.Env, []string{"A=2", "B=3"}) || config.User != "app" ||
		config.WorkingDir != "/srv" || !slices.Equal(config.Entrypoint, []string{"/bin/sh", "-c", "run it"}) || len(config.ExposedPorts) != 1 ||
		!reflect.DeepEqual(config.Labels, map[string]string{"l": "v", "m": "w"}) || len(img.Layers) != 2 || img.Layers[0].Digest != web.LayerDigest(0) {
		t.Errorf("the new image is %+v", img)
	}
	if parent.Config.Config.Labels["m"] != "" || len(parent.Config.Config.Env) != 1 {
		t.Errorf("the parent was changed: %+v", parent.Config.Config)
	}
	if _, err := s.Push(ctx, ref, image.PushOptions{}); err != nil {
		t.Errorf("it can't be pushed: %v", err)
	}
	if err := errors.Join(s.Release(ctx, "c1"), s.Collect(ctx)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Remove(ctx, []string{"web"}, false, nil); err != nil {
		t.Fatal(err)
	}
	check := func(h *host, s *image.Store, img image.Image) {
		t.Helper()
		container(t, h, s, img, "c2", func(root string) {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(root, "etc/motd"), &st); err != nil || st.Uid != 1000 || st.Gid != 1001 || st.Mode&0o777 != 0o600 {
				t.Errorf("a changed file: %+v, %v", st, err)
			}
			if got := tree(t, root); got != "etc/motd 3\nopt/same 1\nvar/made/deep 4\n" {
				t.Errorf("the root file system has\n%s", got)
			}
		})
	}
	check(h, s, img)
	other := newHost(t)
	fromThere := newStore(t, other, to)
	again, err := fromThere.Pull(deadline(other.ctx, t), ref, image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	check(other, fromThere, again)
	steps, err := s.History(ctx, ref, "")
	if err != nil || len(steps) != 2 || steps[0].Comment != "by hand" || steps[0].ID != img.ID || steps[0].Size == 0 || steps[1].CreatedBy != "testing/registry" {
		t.Errorf("history: %+v, %v", steps, err)
	}
	if left := leasesOf(h); len(left) != 1 { // the one of root file systems
		t.Errorf("leases: %v", left)
	}
}

func TestACommitThatFailsLeavesNothing(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	parent, err := s.Pull(ctx, "web", image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := h.remains("overlayfs")
	if _, err := s.Commit(ctx, "nobody", parent, image.CommitOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("a container that is not there: %v", err)
	}
	for _, change := range []string{"RUN rm -rf /", "NONSENSE", "CMD [", "ENV"} {
		_, err := s.Commit(ctx, "c", parent, image.CommitOptions{Changes: []string{change}})
		if change == "CMD [" { // docker takes that as shell form too
			continue
		}
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), change) || hintOf(err) == "" {
			t.Errorf("%s: %v", change, err)
		}
	}
	if _, err := s.Commit(ctx, "c", parent, image.CommitOptions{Ref: "Web"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a bad name: %v", err)
	}
	if after := h.remains("overlayfs"); !slices.Equal(before, after) {
		t.Errorf("before %v\nafter  %v", before, after)
	}
}

func TestACommitOnAFullDiskIsReportedAndGivenBack(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h, r := newHostIn(t, filepath.Join(dir, "data")), registry.Start(t)
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	parent, err := s.Pull(ctx, "web", image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	container(t, h, s, parent, "c1", func(root string) { write(t, filepath.Join(root, "data"), string(noise(74, 5<<20)), 0o644) })
	before := h.remains("overlayfs")
	_, err = s.Commit(ctx, "c1", parent, image.CommitOptions{Ref: "web:2"})
	if !errdefs.IsResourceExhausted(err) || err.Error() != `commit container "c1": no space left on the disk; what was written is removed again` {
		t.Errorf("got %v", err)
	}
	if after := h.remains("overlayfs"); !slices.Equal(before, after) {
		t.Errorf("before %v\nafter  %v", before, after)
	}
}

func TestAContainersFileSystemIsExportedAsOneArchive(t *testing.T) {
	for _, snapshotter := range []string{"overlayfs", "native"} {
		t.Run(snapshotter, func(t *testing.T) {
			h, r := newHost(t), registry.Start(t)
			r.Push(t, registry.Scratch("web", map[string]registry.File{"a": registry.Text("1"), "gone": registry.Text("x"), "bin/su": {Data: []byte("s"), UID: 7}}).
				Add(registry.Gzip, map[string]registry.File{"bin/same": {Data: []byte("t")}, "dir/link": {Link: "../a"}}))
			newStore(t, h, r) // skips where it can't run
			s := image.New(image.Config{Client: h.client, Snapshotter: snapshotter, HostsDir: r.HostsDir(t)})
			img, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{})
			if err != nil {
				t.Fatal(err)
			}
			mounts, err := s.Prepare(h.ctx, img, "c1", false)
			if err != nil {
				t.Fatal(err)
			}
			within(t, mounts, func(root string) { // it stays mounted, as for a container that runs
				write(t, filepath.Join(root, "dir/own"), "own", 0o644)
				if err := os.Remove(filepath.Join(root, "gone")); err != nil {
					t.Fatal(err)
				}
				var b bytes.Buffer
				if err := s.Export(h.ctx, "c1", &b); err != nil {
					t.Fatal(err)
				}
				got := map[string]*tar.Header{}
				for r := tar.NewReader(&b); ; {
					hd, err := r.Next()
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					got[strings.Trim(hd.Name, "/")] = hd
				}
				for _, want := range []string{"a", "bin", "bin/su", "bin/same", "dir", "dir/link", "dir/own"} {
					if got[want] == nil {
						t.Errorf("%s is missing in %v", want, got)
					}
				}
				if len(got) != 7 || got["bin/su"].Uid != 7 || got["dir/link"].Linkname != "../a" {
					t.Errorf("the archive has %+v", got)
				}
			})
			if n, err := s.Written(h.ctx, "c1"); err != nil || n <= 0 {
				t.Errorf("written: %d, %v", n, err)
			}
			if err := s.Export(h.ctx, "nobody", io.Discard); !errdefs.IsNotFound(err) {
				t.Errorf("a container that is not there: %v", err)
			}
		})
	}
}

func TestAnImageIsInspectedAsDockerShowsIt(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := registry.Scratch("web", map[string]registry.File{"a": registry.Text("1")},
		ocispec.ImageConfig{Cmd: []string{"/app"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}, User: "app"})
	r.Push(t, web)
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	pull(t, s, "web")
	if err := s.Tag(ctx, "web", "team/web:2"); err != nil {
		t.Fatal(err)
	}
	seen, err := s.Inspect(ctx, web.ID().Encoded()[:12], "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(seen)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	d := web.Digest().String()
	for key, want := range map[string]any{
		"Id": web.ID().String(), "RepoTags": []any{"team/web:2", "web:latest"}, "RepoDigests": []any{"team/web@" + d, "web@" + d},
		"Created": "2023-11-14T22:13:20Z", "Os": "linux", "Architecture": web.Platform.Architecture,
		"Config":      map[string]any{"User": "app", "ExposedPorts": map[string]any{"80/tcp": map[string]any{}}, "Cmd": []any{"/app"}},
		"GraphDriver": map[string]any{"Name": "overlayfs", "Data": nil},
		"RootFS":      map[string]any{"Type": "layers", "Layers": []any{web.Layers[0].DiffID.String()}},
	} {
		if !reflect.DeepEqual(got[key], want) {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if _, err := s.Inspect(ctx, "nothing", ""); !errdefs.IsNotFound(err) {
		t.Errorf("an image that is not here: %v", err)
	}
}

func TestOnlyWhatNobodyNeedsIsPruned(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	labelled := small("labelled")
	labelled.Config.Labels = map[string]string{"keep": "yes"}
	young := small("young")
	young.Created = time.Now()
	r.Push(t, large("web", 70), small("used"), labelled, young)
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	pull(t, s, "web", "used", "labelled", "young")
	unnamed := plainWeb()
	unnamed.Name = ""
	loaded, err := s.Load(ctx, bytes.NewReader(archiveOf(t, registry.WriteOCI, unnamed)), nil)
	if err != nil || loaded[0].Name != "<none>" {
		t.Fatalf("%+v, %v", loaded, err)
	}
	users := func(img image.Image) []string {
		if img.Name == "used:latest" {
			return []string{"shop-used-1"}
		}
		return nil
	}
	out, err := s.Prune(ctx, image.PruneOptions{}, func(image.Image) []string { return []string{"somebody"} })
	if err != nil || len(out.Deleted) != 0 {
		t.Errorf("when all is needed: %+v, %v", out, err)
	}
	out, err = s.Prune(ctx, image.PruneOptions{}, users)
	if err != nil || !slices.Equal(out.Deleted, []string{unnamed.ID().String()}) || len(out.Untagged) != 0 || out.Reclaimed <= 0 {
		t.Errorf("without names: %+v, %v", out, err)
	}
	out, err = s.Prune(ctx, image.PruneOptions{All: true, Labels: []string{"keep=no"}}, users)
	if err != nil || len(out.Deleted) != 0 || out.Reclaimed != 0 {
		t.Errorf("by a label that no image has: %+v, %v", out, err)
	}
	out, err = s.Prune(ctx, image.PruneOptions{All: true, NotLabels: []string{"keep"}, Before: time.Now().Add(-time.Hour)}, users)
	if err != nil || !slices.Equal(out.Untagged, []string{"web:latest"}) || out.Reclaimed < 2<<20 { // packed and unpacked
		t.Errorf("old ones without a label: %+v, %v", out, err)
	}
	if got := names(t, s); got != "labelled:latest used:latest young:latest" {
		t.Errorf("left are %s", got)
	}
	if out, err = s.Prune(ctx, image.PruneOptions{All: true}, users); err != nil || len(out.Deleted) != 2 || names(t, s) != "used:latest" {
		t.Errorf("all: %+v, %v; left are %s", out, err, names(t, s))
	}
	img, err := s.Get(ctx, "used", "")
	if err == nil {
		_, err = s.Prepare(ctx, img, "c1", false)
	}
	if err != nil {
		t.Errorf("what is needed can't be used any more: %v", err)
	}
}

func TestWhatACommandAtWorkNeedsIsNeitherPrunedNorRemoved(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"), small("other"))
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	pull(t, s, "web", "other")
	first, second := s.Hold("web", "not yet there", "Not/a/Name"), s.Hold("docker.io/library/web:latest")
	for _, release := range []func(){first, second} {
		if out, err := s.Prune(ctx, image.PruneOptions{All: true}, nil); err != nil || names(t, s) != "web:latest" {
			t.Errorf("prune: %+v, %v; left are %s", out, err, names(t, s))
		}
		_, _, err := s.Remove(ctx, []string{"web"}, false, nil)
		if !errdefs.IsFailedPrecondition(err) || err.Error() != `remove image "web": a command that is at work needs it` {
			t.Errorf("remove: %v", err)
		}
		release()
		release()
	}
	if out, err := s.Prune(ctx, image.PruneOptions{All: true}, nil); err != nil || names(t, s) != "" {
		t.Errorf("prune in the end: %+v, %v; left are %s", out, err, names(t, s))
	}
}

func TestAHeldImageCanBeRemovedByForce(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	pull(t, s, "web")
	defer s.Hold("web")()
	if _, _, err := s.Remove(deadline(h.ctx, t), []string{"web"}, true, nil); err != nil || names(t, s) != "" {
		t.Errorf("%v; left are %s", err, names(t, s))
	}
}

func TestPruneGivesBackWhatACutOffPullHadFetched(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := large("web", 71)
	r.Push(t, web)
	r.Fault(registry.Fault{Path: "/blobs/" + web.LayerDigest(0).String(), Status: 503})
	s := newStore(t, h, r)
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{}); !errdefs.IsUnavailable(err) {
		t.Fatal(err)
	}
	if len(h.remains("overlayfs")) == 0 {
		t.Error("nothing was kept for a further try")
	}
	if _, err := s.Prune(h.ctx, image.PruneOptions{All: true}, nil); err != nil {
		t.Error(err)
	}
	if left := h.remains("overlayfs"); len(left) > 0 {
		t.Errorf("there is still %v", left)
	}
}

func TestTheSpaceOfImagesIsMeasuredWithWhatTheyShare(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	a, b := large("a", 72), large("b", 72)
	b.Add(registry.Gzip, map[string]registry.File{"more": {Data: noise(73, 300_000)}})
	r.Push(t, a, b)
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	pull(t, s, "a", "b")
	if err := s.Tag(ctx, "a", "a:2"); err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Images) != 2 || strings.Join(u.Images[0].Names, " ") != "a:2 a:latest" {
		t.Fatalf("images: %+v", u.Images)
	}
	const layer = 2 << 20 // a megabyte packed, and one unpacked
	ua, ub := u.Images[0], u.Images[1]
	if ua.Shared < layer || ua.Shared > layer+layer/10 || ua.Shared != ub.Shared || ua.Unique > 10_000 || ub.Unique < 600_000 {
		t.Errorf("a: %d shared, %d alone; b: %d, %d", ua.Shared, ua.Unique, ub.Shared, ub.Unique)
	}
	if u.Total != ua.Shared+ua.Unique+ub.Unique || u.Other != 0 {
		t.Errorf("total %d, other %d", u.Total, u.Other)
	}
	if _, _, err := s.Remove(ctx, []string{"b"}, false, nil); err != nil {
		t.Fatal(err)
	}
	if u, err = s.Usage(ctx); err != nil || len(u.Images) != 1 || u.Images[0].Shared != 0 || u.Images[0].Unique != u.Total {
		t.Errorf("after b went: %+v, %v", u, err)
	}
}

func TestALayerThatUnpacksToSomethingElseThanItsImageSaysIsRefused(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := small("web")
	web.Layers[0].DiffID = someDigest
	r.Push(t, web)
	s := newStore(t, h, r)
	_, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{})
	if err == nil {
		t.Fatal("it was taken")
	}
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "unpacks to something else than it says") {
		t.Errorf("it was refused with: %v", err)
	}
	if left := h.remains("overlayfs"); len(left) > 0 {
		t.Errorf("left is %v", left)
	}
}

func TestLayersOfEveryKindAreTaken(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := registry.Scratch("web", nil).
		Add(registry.Gzip, map[string]registry.File{"0": registry.Text("0")}).Add(registry.Plain, map[string]registry.File{"1": registry.Text("1")}).
		Add(registry.Zstd, map[string]registry.File{"2": registry.Text("2")}).Add(registry.Zstd, map[string]registry.File{"3": registry.Text("3")})
	web.Layers[0].MediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	web.Layers[1].MediaType = "application/vnd.docker.image.rootfs.diff.tar"
	web.Layers[2].MediaType = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	web.Layers[3].Annotations = map[string]string{"containerd.io/snapshot/stargz/toc.digest": someDigest, "org.example.other": "x"}
	r.Push(t, web)
	s := newStore(t, h, r)
	img, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	container(t, h, s, img, "c1", func(root string) {
		if got := tree(t, root); got != "0 1\n1 1\n2 1\n3 1\n" {
			t.Errorf("the root file system has\n%s", got)
		}
	})
}
