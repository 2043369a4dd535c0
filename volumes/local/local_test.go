package local_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"berth/testing/host"
	"berth/volumes/local"
)

func open(t *testing.T) (*local.Driver, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "volumes")
	d, err := local.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return d, root
}

func ensure(t *testing.T, d *local.Driver, s local.Spec) local.Volume {
	t.Helper()
	v, err := d.Ensure(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAVolumeIsMadeOnceAndKept(t *testing.T) {
	d, root := open(t)
	spec := local.Spec{Name: "shop_data", Labels: map[string]string{"a": "b"}, Project: "shop", Key: "data"}
	v := ensure(t, d, spec)
	must(t, os.WriteFile(filepath.Join(v.Mountpoint, "f"), []byte("kept"), 0o600))
	again := ensure(t, d, local.Spec{Name: "shop_data", Labels: map[string]string{"a": "other"}})
	if again.Labels["a"] != "b" || !again.Created.Equal(v.Created) {
		t.Errorf("the volume changed: %+v", again)
	}
	reopened, err := local.Open(root)
	must(t, err)
	got, err := reopened.Get("shop_data")
	must(t, err)
	if got.Project != "shop" || got.Key != "data" || got.Mountpoint != v.Mountpoint {
		t.Errorf("got %+v", got)
	}
	if info, err := os.Stat(v.Mountpoint); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("data folder: %v, %v", info.Mode(), err)
	}
	ensure(t, d, local.Spec{Name: "another", Anonymous: true})
	all, err := reopened.List()
	must(t, err)
	if len(all) != 2 || all[0].Name != "another" || !all[0].Anonymous || all[1].Name != "shop_data" {
		t.Errorf("list %+v", all)
	}
	must(t, d.Remove("shop_data"))
	if _, err := d.Get("shop_data"); !errdefs.IsNotFound(err) {
		t.Errorf("after remove: %v", err)
	}
	if err := d.Remove("shop_data"); !errdefs.IsNotFound(err) {
		t.Errorf("second remove: %v", err)
	}
	if names := ls(t, root); !slices.Equal(names, []string{"another"}) {
		t.Errorf("left behind: %v", names)
	}
}

func TestBadSpecsAreRefused(t *testing.T) {
	d, root := open(t)
	for name, s := range map[string]local.Spec{
		"a name that leads out":    {Name: "../x"},
		"a name with a slash":      {Name: "a/b"},
		"a hidden name":            {Name: ".new-1"},
		"no name":                  {},
		"another driver":           {Name: "x", Driver: "rexray"},
		"an unknown option":        {Name: "x", DriverOpts: map[string]string{"typ": "nfs"}},
		"a type without a device":  {Name: "x", DriverOpts: map[string]string{"type": "tmpfs"}},
		"options without a type":   {Name: "x", DriverOpts: map[string]string{"o": "bind", "device": "/x"}},
		"a size, which is a quota": {Name: "x", DriverOpts: map[string]string{"size": "1G"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := d.Ensure(t.Context(), s); !errdefs.IsInvalidArgument(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, name := range []string{"", "..", "a/b", ".new-1"} {
		if _, err := d.Get(name); !errdefs.IsNotFound(err) {
			t.Errorf("get %q: %v", name, err)
		}
		if err := d.Remove(name); !errdefs.IsNotFound(err) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	if names := ls(t, root); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestManyAtOnceMakeOneVolume(t *testing.T) {
	d, root := open(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := d.Ensure(context.Background(), local.Spec{Name: "v"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if names := ls(t, root); !slices.Equal(names, []string{"v"}) {
		t.Errorf("left behind: %v", names)
	}
}

func TestOpenClearsAwayWhatACrashLeft(t *testing.T) {
	d, root := open(t)
	ensure(t, d, local.Spec{Name: "v"})
	must(t, os.MkdirAll(filepath.Join(root, ".new-1", "_data"), 0o700))
	must(t, os.MkdirAll(filepath.Join(root, ".gone-2", "v", "_data", "x"), 0o700))
	d, err := local.Open(root)
	must(t, err)
	if names := ls(t, root); !slices.Equal(names, []string{"v"}) {
		t.Errorf("there are %v", names)
	}
	if _, err := d.Get("v"); err != nil {
		t.Error(err)
	}
}

func TestAnAnonymousVolumeIsToBeClaimed(t *testing.T) {
	d, root := open(t)
	ensure(t, d, local.Spec{Name: "named"})
	ensure(t, d, local.Spec{Name: "left", Anonymous: true})
	ensure(t, d, local.Spec{Name: "claimed", Anonymous: true})
	must(t, d.Claim("claimed"))
	must(t, d.Claim("claimed"))
	must(t, d.Claim("named"))
	d, err := local.Open(root)
	must(t, err)
	ensure(t, d, local.Spec{Name: "claimed", Anonymous: true})
	if names, err := d.Unclaimed(); err != nil || !slices.Equal(names, []string{"left"}) {
		t.Errorf("unclaimed are %v, %v", names, err)
	}
	must(t, d.Remove("left"))
	if names, err := d.Unclaimed(); err != nil || len(names) > 0 {
		t.Errorf("unclaimed are %v, %v", names, err)
	}
}

// image makes a root file system with something of every kind below /var/lib/app.
func image(t *testing.T) string {
	t.Helper()
	host.Require(t, host.Root)
	root := t.TempDir()
	app := filepath.Join(root, "var/lib/app")
	must(t, os.MkdirAll(filepath.Join(app, "sub/deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(app, "file"), []byte("content"), 0o644))
	must(t, os.Chown(filepath.Join(app, "file"), 33, 34))
	must(t, os.Chmod(filepath.Join(app, "file"), 0o640|os.ModeSetuid))
	must(t, os.WriteFile(filepath.Join(app, "sub/empty"), nil, 0o600))
	must(t, os.Link(filepath.Join(app, "file"), filepath.Join(app, "sub/hard")))
	must(t, os.Symlink("../../../../../../etc/passwd", filepath.Join(app, "link")))
	must(t, os.Lchown(filepath.Join(app, "link"), 7, 8))
	must(t, unix.Mkfifo(filepath.Join(app, "pipe"), 0o600))
	must(t, unix.Mknod(filepath.Join(app, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Lsetxattr(filepath.Join(app, "file"), "user.note", []byte("hello"), 0))
	sparse, err := os.Create(filepath.Join(app, "sparse"))
	must(t, err)
	_, err = sparse.WriteAt([]byte("end"), 64<<20)
	must(t, err)
	must(t, sparse.Close())
	must(t, os.Chown(filepath.Join(app, "sub"), 1, 2))
	must(t, os.Chmod(filepath.Join(app, "sub"), 0o1777))
	must(t, os.Chown(app, 999, 998))
	must(t, os.Chmod(app, 0o700))
	old := time.Date(2001, 2, 3, 4, 5, 6, 700, time.UTC)
	for _, f := range []string{"file", "sub/empty", "sub", "."} {
		must(t, os.Chtimes(filepath.Join(app, f), old, old))
	}
	return root
}

func TestCopyUpIsAFaithfulCopy(t *testing.T) {
	rootfs := image(t)
	d, root := open(t)
	v := ensure(t, d, local.Spec{Name: "v"})
	must(t, d.CopyUp(t.Context(), "v", rootfs, "/var/lib/app"))
	wantSame(t, filepath.Join(rootfs, "var/lib/app"), v.Mountpoint)
	if a, b := stat(t, filepath.Join(rootfs, "var/lib/app")), stat(t, v.Mountpoint); a.Mtim != b.Mtim {
		t.Errorf("the folder's time is %v, want %v", b.Mtim, a.Mtim)
	}
	a, b := stat(t, filepath.Join(v.Mountpoint, "file")), stat(t, filepath.Join(v.Mountpoint, "sub/hard"))
	if a.Ino != b.Ino {
		t.Error("the hard link became a copy")
	}
	if s := stat(t, filepath.Join(v.Mountpoint, "sparse")); s.Blocks*512 > 1<<20 {
		t.Errorf("the sparse file takes %d bytes", s.Blocks*512)
	}
	if names := ls(t, filepath.Join(root, "v")); !slices.Equal(names, []string{"_data", "volume.json"}) {
		t.Errorf("left behind: %v", names)
	}
}

// An image is an overlay mount, whose own attributes a folder may have and must not show.
func TestCopyUpFromAnOverlayMount(t *testing.T) {
	host.Require(t, host.Root, host.Overlay)
	dir := t.TempDir()
	for _, d := range []string{"lower/data", "upper/data", "work", "merged"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "lower/data/hidden"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "upper/data/file"), nil, 0o644))
	must(t, unix.Lsetxattr(filepath.Join(dir, "upper/data"), "trusted.overlay.opaque", []byte("y"), 0))
	rootfs := filepath.Join(dir, "merged")
	must(t, unix.Mount("overlay", rootfs, "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)))
	defer func() { must(t, unix.Unmount(rootfs, 0)) }()
	d, _ := open(t)
	v := ensure(t, d, local.Spec{Name: "v"})
	must(t, d.CopyUp(t.Context(), "v", rootfs, "/data"))
	if names := ls(t, v.Mountpoint); !slices.Equal(names, []string{"file"}) {
		t.Errorf("there are %v", names)
	}
}

func TestCopyUpLeavesContentAlone(t *testing.T) {
	rootfs := image(t)
	d, _ := open(t)
	v := ensure(t, d, local.Spec{Name: "v"})
	if needs, err := d.NeedsCopyUp("v"); err != nil || !needs {
		t.Errorf("an empty one needs a copy: %v, %v", needs, err)
	}
	must(t, os.WriteFile(filepath.Join(v.Mountpoint, "mine"), nil, 0o600))
	if needs, err := d.NeedsCopyUp("v"); err != nil || needs {
		t.Errorf("one with content needs a copy: %v, %v", needs, err)
	}
	must(t, d.CopyUp(t.Context(), "v", rootfs, "/var/lib/app"))
	if names := ls(t, v.Mountpoint); !slices.Equal(names, []string{"mine"}) {
		t.Errorf("there are %v", names)
	}
}

func TestCopyUpOfNothing(t *testing.T) {
	rootfs := image(t)
	must(t, os.MkdirAll(filepath.Join(rootfs, "empty"), 0o755))
	must(t, os.Chown(filepath.Join(rootfs, "empty"), 5, 6))
	d, _ := open(t)
	for _, target := range []string{"/not/there", "/var/lib/app/file", "/empty"} {
		name := "v" + strings.ReplaceAll(target, "/", "-")
		v := ensure(t, d, local.Spec{Name: name})
		must(t, d.CopyUp(t.Context(), name, rootfs, target))
		if names := ls(t, v.Mountpoint); len(names) != 0 {
			t.Errorf("%s: there are %v", target, names)
		}
	}
	// The owner of an empty folder counts: the program that runs as that user wants to write there.
	v, err := d.Get("v-empty")
	must(t, err)
	if s := stat(t, v.Mountpoint); s.Uid != 5 || s.Gid != 6 {
		t.Errorf("owner %d:%d", s.Uid, s.Gid)
	}
}

func TestCopyUpStaysInsideTheImage(t *testing.T) {
	rootfs := image(t)
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600))
	must(t, os.Symlink(outside, filepath.Join(rootfs, "evil")))
	must(t, os.Symlink("/var/lib/app", filepath.Join(rootfs, "good")))
	d, _ := open(t)
	for target, want := range map[string]int{"/evil": 0, "/../../.." + outside: 0, "/good": 6} {
		name := "v" + strings.NewReplacer("/", "-").Replace(target)
		v := ensure(t, d, local.Spec{Name: name})
		must(t, d.CopyUp(t.Context(), name, rootfs, target))
		if names := ls(t, v.Mountpoint); len(names) != want {
			t.Errorf("%s: there are %v", target, names)
		}
	}
}

func TestCopyUpAfterACrash(t *testing.T) {
	rootfs := image(t)
	for name, crashed := range map[string]func(t *testing.T, folder string){
		"in the middle of copying": func(t *testing.T, folder string) {
			must(t, os.MkdirAll(filepath.Join(folder, "_copy.part", "sub"), 0o700))
			must(t, os.WriteFile(filepath.Join(folder, "_copy.part", "fi"), []byte("con"), 0o600))
		},
		"before the first move": func(t *testing.T, folder string) {
			must(t, exec.Command("cp", "-a", "--sparse=always", filepath.Join(rootfs, "var/lib/app"), filepath.Join(folder, "_copy")).Run())
		},
		"between two moves": func(t *testing.T, folder string) {
			must(t, exec.Command("cp", "-a", "--sparse=always", filepath.Join(rootfs, "var/lib/app"), filepath.Join(folder, "_copy")).Run())
			must(t, os.Rename(filepath.Join(folder, "_copy", "sub"), filepath.Join(folder, "_data", "sub")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, root := open(t)
			v := ensure(t, d, local.Spec{Name: "v"})
			crashed(t, filepath.Join(root, "v"))
			if needs, err := d.NeedsCopyUp("v"); err != nil || !needs {
				t.Errorf("needs a copy: %v, %v", needs, err)
			}
			must(t, d.CopyUp(t.Context(), "v", rootfs, "/var/lib/app"))
			wantSame(t, filepath.Join(rootfs, "var/lib/app"), v.Mountpoint)
			if names := ls(t, filepath.Join(root, "v")); !slices.Equal(names, []string{"_data", "volume.json"}) {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

func TestCopyUpCanBeStopped(t *testing.T) {
	rootfs := image(t)
	d, root := open(t)
	v := ensure(t, d, local.Spec{Name: "v"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.CopyUp(ctx, "v", rootfs, "/var/lib/app"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if names := ls(t, v.Mountpoint); len(names) != 0 {
		t.Errorf("there are %v", names)
	}
	if names := ls(t, filepath.Join(root, "v")); !slices.Equal(names, []string{"_data", "volume.json"}) {
		t.Errorf("left behind: %v", names)
	}
}

func TestVolumesWithOptionsAreMounted(t *testing.T) {
	host.Require(t, host.Root)
	source := t.TempDir()
	must(t, os.WriteFile(filepath.Join(source, "there"), nil, 0o600))
	for name, c := range map[string]struct {
		opts map[string]string
		want []string
	}{
		"a path of the host": {map[string]string{"type": "none", "o": "bind", "device": source}, []string{"there"}},
		"a tmpfs":            {map[string]string{"type": "tmpfs", "o": "size=1m,uid=33,mode=700", "device": "tmpfs"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := open(t)
			v := ensure(t, d, local.Spec{Name: "v", DriverOpts: c.opts})
			for range 2 {
				path, err := d.Mount(t.Context(), "v")
				must(t, err)
				if path != v.Mountpoint {
					t.Errorf("mounted at %s", path)
				}
			}
			if names := ls(t, v.Mountpoint); !slices.Equal(names, c.want) {
				t.Errorf("there are %v", names)
			}
			must(t, d.Unmount("v"))
			must(t, d.Unmount("v"))
			if names := ls(t, v.Mountpoint); len(names) != 0 {
				t.Errorf("still mounted: %v", names)
			}
			_, err := d.Mount(t.Context(), "v")
			must(t, err)
			must(t, d.Remove("v"))
			if text := mountTable(t); strings.Contains(text, v.Mountpoint) {
				t.Errorf("a mount stayed behind:\n%s", text)
			}
		})
	}
	if names := ls(t, source); !slices.Equal(names, []string{"there"}) {
		t.Errorf("the bound folder has %v", names)
	}
}

func TestCopyUpIntoAMountedVolume(t *testing.T) {
	rootfs := image(t)
	d, _ := open(t)
	v := ensure(t, d, local.Spec{Name: "v", DriverOpts: map[string]string{"type": "tmpfs", "device": "tmpfs"}})
	_, err := d.Mount(t.Context(), "v")
	must(t, err)
	t.Cleanup(func() { must(t, d.Remove("v")) })
	must(t, d.CopyUp(t.Context(), "v", rootfs, "/var/lib/app"))
	if names := ls(t, v.Mountpoint); !slices.Equal(names, []string{"file", "link", "null", "pipe", "sparse", "sub"}) {
		t.Errorf("there are %v", names)
	}
	if s := stat(t, v.Mountpoint); s.Uid != 999 || s.Gid != 998 {
		t.Errorf("owner %d:%d", s.Uid, s.Gid)
	}
}

// holder is a process with a mount namespace of its own that has source mounted, as a container has.
func holder(t *testing.T, source string) (stop func()) {
	t.Helper()
	at := t.TempDir()
	cmd := exec.Command("sh", "-c", `mount --bind "$1" "$2" && echo ready && read end`, "sh", source, at)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("holder: %q, %v", line, err)
	}
	stop = sync.OnceFunc(func() { stdin.Close(); _ = cmd.Wait() })
	t.Cleanup(stop)
	return stop
}

func TestAVolumeInUseStays(t *testing.T) {
	host.Require(t, host.Root)
	for name, opts := range map[string]map[string]string{
		"a folder": nil,
		"a tmpfs":  {"type": "tmpfs", "device": "tmpfs"},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := open(t)
			v := ensure(t, d, local.Spec{Name: "v", DriverOpts: opts})
			other := ensure(t, d, local.Spec{Name: "other"})
			path, err := d.Mount(t.Context(), "v")
			must(t, err)
			must(t, os.MkdirAll(filepath.Join(path, "sub"), 0o755))
			stop := holder(t, filepath.Join(path, "sub"))
			err = d.Remove("v")
			if !errdefs.IsFailedPrecondition(err) {
				t.Errorf("remove: %v", err)
			}
			must(t, d.Unmount("v"))
			if names := ls(t, v.Mountpoint); !slices.Equal(names, []string{"sub"}) {
				t.Errorf("the content went away: %v", names)
			}
			must(t, d.Remove(other.Name))
			stop()
			must(t, d.Remove("v"))
			if strings.Contains(mountTable(t), v.Mountpoint) {
				t.Error("a mount stayed behind")
			}
		})
	}
}

func TestMountSaysWhatIsMissing(t *testing.T) {
	host.Require(t, host.Root)
	d, _ := open(t)
	for name, c := range map[string]struct {
		opts map[string]string
		hint string
	}{
		"path": {map[string]string{"type": "none", "o": "bind", "device": "/not/there"}, `"/not/there" does not exist`},
		"fs":   {map[string]string{"type": "nofs", "device": "x"}, `file system "nofs"`},
	} {
		ensure(t, d, local.Spec{Name: name, DriverOpts: c.opts})
		_, err := d.Mount(t.Context(), name)
		var hinted interface{ Hint() string }
		if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), c.hint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Mount(t.Context(), "gone"); !errdefs.IsNotFound(err) {
		t.Errorf("no volume: %v", err)
	}
}

// An nfs mount needs a server; that the name in addr= is looked up shows in what the error says.
func TestAddrIsLookedUp(t *testing.T) {
	host.Require(t, host.Root)
	d, _ := open(t)
	ensure(t, d, local.Spec{Name: "v", DriverOpts: map[string]string{"type": "nfs", "o": "addr=no-such-host.invalid,rw", "device": ":/x"}})
	_, err := d.Mount(t.Context(), "v")
	var dns *net.DNSError
	if !errors.As(err, &dns) || dns.Name != "no-such-host.invalid" {
		t.Errorf("got %v", err)
	}
}

// wantSame compares two folders in all that a copy must keep.
func wantSame(t *testing.T, want, got string) {
	t.Helper()
	a, b := describe(t, want), describe(t, got)
	if !slices.Equal(a, b) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(b, "\n"), strings.Join(a, "\n"))
	}
}

func describe(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		must(t, err)
		rel, err := filepath.Rel(root, path)
		must(t, err)
		s := stat(t, path)
		line := fmt.Sprintf("%s mode=%o owner=%d:%d rdev=%d", rel, s.Mode, s.Uid, s.Gid, s.Rdev)
		switch e.Type() {
		case 0:
			content, err := os.ReadFile(path)
			must(t, err)
			note := make([]byte, 20)
			n, _ := unix.Lgetxattr(path, "user.note", note)
			line += fmt.Sprintf(" size=%d end=%q note=%q links=%d", len(content), content[max(0, len(content)-7):], note[:max(n, 0)], s.Nlink)
		case os.ModeSymlink:
			to, err := os.Readlink(path)
			must(t, err)
			line += " to=" + to
		}
		if e.Type() != os.ModeSymlink && rel != "." { // a crash may cost the time of the folder itself
			line += fmt.Sprintf(" mtime=%d.%09d", s.Mtim.Sec, s.Mtim.Nsec)
		}
		all = append(all, line)
		return nil
	}))
	return all
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var s unix.Stat_t
	must(t, unix.Lstat(path, &s))
	return s
}

func ls(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(path)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func mountTable(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	return string(text)
}

func TestAVolumeThatTheHostHasMountedSomethingInStays(t *testing.T) {
	host.Require(t, host.Root)
	d, _ := open(t)
	v := ensure(t, d, local.Spec{Name: "v"})
	disk := t.TempDir()
	write(t, "the host's", disk, "name")
	write(t, "the volume's", v.Mountpoint, "name")
	place := filepath.Join(v.Mountpoint, "disk")
	must(t, os.Mkdir(place, 0o755))
	must(t, unix.Mount(disk, place, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(place, unix.MNT_DETACH) })
	err := d.Remove("v")
	var hinted interface{ Hint() string }
	if !errdefs.IsFailedPrecondition(err) || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "umount "+place) {
		t.Errorf("%v", err)
	}
	for _, dir := range []string{disk, v.Mountpoint} {
		if _, err := os.Stat(filepath.Join(dir, "name")); err != nil {
			t.Error(err)
		}
	}
	must(t, unix.Unmount(place, 0))
	must(t, d.Remove("v"))
}
