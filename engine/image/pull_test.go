package image_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/engine/image"
	"berth/testing/registry"
)

func newStore(t testing.TB, h *host, r *registry.Registry) *image.Store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: overlay mounts")
	}
	cfg := image.Config{Client: h.client, Snapshotter: "overlayfs"}
	if r != nil {
		cfg.HostsDir = r.HostsDir(t)
	}
	return image.New(cfg)
}

func TestAPulledImageIsUnpackedAsItsLayersSay(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := registry.Scratch("web", map[string]registry.File{
		"etc/motd":      registry.Text("one"),
		"etc/gone":      registry.Text("x"),
		"opt/data/old":  registry.Text("x"),
		"home/app/note": {Data: []byte("n"), UID: 1000, GID: 1001, Mode: 0o600},
		"tmp":           {Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}, ocispec.ImageConfig{Entrypoint: []string{"/bin/app"}, Env: []string{"A=b"}, Labels: map[string]string{"l": "v"}})
	web.Extra = map[string]any{"Healthcheck": map[string]any{"Test": []string{"CMD", "/bin/app", "ok"}, "Interval": 5000000000}}
	web.Add(registry.Zstd, map[string]registry.File{
		"etc/motd": registry.Text("two"),
		"etc/gone": {Whiteout: true},
		"opt/data": {Opaque: true, Mode: fs.ModeDir},
	}).Add(registry.Plain, map[string]registry.File{"etc/link": {Link: "motd"}, "opt/data/new": registry.Text("y")})
	r.Push(t, web)

	s := newStore(t, h, r)
	img, err := s.Pull(deadline(context.Background(), t), "web", image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if img.Name != "web:latest" || img.ID != web.ID() || img.Digest != web.Digest() || img.Config.Config.Entrypoint[0] != "/bin/app" || img.Labels["l"] != "v" {
		t.Errorf("the image is described as %+v", img)
	}
	if hc := img.Config.Config.Healthcheck; hc == nil || hc.Interval.Seconds() != 5 || len(hc.Test) != 3 {
		t.Errorf("health check: %+v", hc)
	}
	mounts, err := s.Prepare(h.ctx, img, "c1", false)
	if err != nil {
		t.Fatal(err)
	}
	within(t, mounts, func(root string) {
		for path, want := range map[string]string{"etc/motd": "two", "etc/link": "two", "opt/data/new": "y", "home/app/note": "n"} {
			if b, err := os.ReadFile(filepath.Join(root, path)); err != nil || string(b) != want {
				t.Errorf("%s: %q, %v; want %q", path, b, err, want)
			}
		}
		for _, path := range []string{"etc/gone", "opt/data/old"} {
			if _, err := os.Lstat(filepath.Join(root, path)); !os.IsNotExist(err) {
				t.Errorf("%s is still there: %v", path, err)
			}
		}
		if st, err := os.Stat(filepath.Join(root, "tmp")); err != nil || st.Mode().Perm() != 0o777 || st.Mode()&fs.ModeSticky == 0 {
			t.Errorf("tmp: %v, %v", st.Mode(), err)
		}
	})
}
