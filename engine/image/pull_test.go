package image_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"berth/engine/image"
	hosttest "berth/testing/host"
	"berth/testing/registry"
)

func newStore(t testing.TB, h *host, r *registry.Registry) *image.Store {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
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
		"bin/su":        {Data: []byte("s"), Mode: fs.ModeSetuid | 0o755},
		"bin/same":      {Hard: true, Link: "bin/su"},
		"run/pipe":      {Mode: fs.ModeNamedPipe | 0o600},
		"opt/marked":    {Data: []byte("m"), Xattrs: map[string]string{"user.mark": "yes"}},
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
		var su, same, note unix.Stat_t
		for path, st := range map[string]*unix.Stat_t{"bin/su": &su, "bin/same": &same, "home/app/note": &note} {
			if err := unix.Lstat(filepath.Join(root, path), st); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if su.Ino != same.Ino || su.Mode&unix.S_ISUID == 0 {
			t.Errorf("a hard link and its target: %+v, %+v", su, same)
		}
		if note.Uid != 1000 || note.Gid != 1001 || note.Mode&0o777 != 0o600 {
			t.Errorf("a file of a user's: %+v", note)
		}
		if st, err := os.Lstat(filepath.Join(root, "run/pipe")); err != nil || st.Mode()&fs.ModeNamedPipe == 0 {
			t.Errorf("a named pipe: %v", err)
		}
		mark := make([]byte, 8)
		if n, err := unix.Getxattr(filepath.Join(root, "opt/marked"), "user.mark", mark); err != nil || string(mark[:n]) != "yes" {
			t.Errorf("an extended attribute: %q, %v", mark[:max(n, 0)], err)
		}
		if st, err := os.Stat(filepath.Join(root, "tmp")); err != nil || st.Mode().Perm() != 0o777 || st.Mode()&fs.ModeSticky == 0 {
			t.Errorf("tmp: %v, %v", st.Mode(), err)
		}
	})
}
