package images

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Build makes the images of these recipes below the folder cache, two at a time, the first ones first; what is there already stays.
// Beside them stays the base's file system. Build mounts: it must run as root in a mount namespace of its own,
// where mounts are private. Output of commands that fail goes to log.
func Build(ctx context.Context, cache string, names []string, log func(string)) (err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	b := &builder{ctx: ctx, cache: cache, log: log}
	if b.work, err = os.MkdirTemp(cache, ".work-"); err != nil {
		return err
	}
	defer func() {
		if !b.mounted.Load() { // what is below a mount there, such as /dev, is not ours to remove
			err = errors.Join(err, os.RemoveAll(b.work))
		}
	}()
	scratch, err := mountScratch(b.work)
	if err != nil {
		return err
	}
	if scratch {
		defer func() { err = errors.Join(err, unix.Unmount(b.work, unix.MNT_DETACH)) }()
	}
	if err := b.openBase(); err != nil {
		return fmt.Errorf("make the base file system: %w", err)
	}
	var group errgroup.Group
	group.SetLimit(2) // one downloads while the other unpacks
	errs := make([]error, len(names))
	for i, name := range names {
		group.Go(func() error {
			errs[i] = b.build(name)
			return nil
		})
	}
	return errors.Join(group.Wait(), errors.Join(errs...))
}

type builder struct {
	ctx   context.Context
	cache string // what stays
	work  string // scratch
	base  base
	log   func(string)

	mounted atomic.Bool // something that could not be unmounted is below work
}

// base is what every image begins with, in a folder of the cache:
//
//	root    its file system
//	lists   apt's package lists
//	layout  an OCI layout that has its layer
//	layer   that layer's descriptor
type base struct {
	dir   string
	layer layer
}

func (b base) root() string   { return filepath.Join(b.dir, "root") }
func (b base) lists() string  { return filepath.Join(b.dir, "lists") }
func (b base) layout() layout { return layout{filepath.Join(b.dir, "layout")} }

// listsAreFresh: lists of days ago name packages that the archive may have replaced since.
func (b base) listsAreFresh() bool {
	info, err := os.Stat(filepath.Join(b.lists(), sharedMark))
	return err == nil && time.Since(info.ModTime()) < 24*time.Hour
}

// mountScratch puts a tmpfs over the scratch folder where memory allows: apt and dpkg sync a lot, and overlay
// mounts can't have their upper folder on every file system. It says whether it did.
func mountScratch(dir string) (mounted bool, err error) {
	const enough = 3 << 30
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return false, err
	}
	free := (info.Freeram + info.Bufferram) * uint64(info.Unit)
	if free < enough {
		return false, nil
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", free*3/4)); err != nil {
		return false, fmt.Errorf("mount a scratch folder in memory: %w", err)
	}
	return true, nil
}

// openBase makes Debian's minimal system, or takes that of an earlier run.
func (b *builder) openBase() error {
	at, err := place(b.cache, baseRecipe)
	if err != nil {
		return err
	}
	if err := once(b.ctx, at, b.makeBase); err != nil {
		return err
	}
	b.base.dir = at
	text, err := os.ReadFile(filepath.Join(at, "layer"))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &b.base.layer.blob)
}

func (b *builder) makeBase(part string) error {
	if err := b.debootstrap(part); err != nil {
		return err
	}
	l, err := newLayout(filepath.Join(part, "layout"))
	if err != nil {
		return err
	}
	packed, err := l.addLayer(filepath.Join(part, "root"))
	if err != nil {
		return err
	}
	text, err := json.Marshal(packed.blob)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(part, "layer"), text, 0o644)
}

// sharedMark in apt's lists has pkg use them as they are.
const sharedMark = ".shared"

// debootstrap: usr-is-merged with the merged-usr hook keeps usrmerge, and with it all of perl (47 MB), out.
func (b *builder) debootstrap(to string) error {
	sources, err := b.sources()
	if err != nil {
		return err
	}
	pkg, err := recipes.ReadFile("recipes/base/pkg")
	if err != nil {
		return err
	}
	scratch := filepath.Join(b.work, "base")
	pkgFile := filepath.Join(b.work, "pkg")
	if err := errors.Join(os.Mkdir(scratch, 0o755), os.WriteFile(pkgFile, pkg, 0o755)); err != nil {
		return err
	}
	args := []string{"--quiet", "--variant=apt", "--mode=root", "--format=directory", "--include=usr-is-merged",
		"--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
		`--aptopt=Acquire::Languages "none"`, `--aptopt=APT::Install-Recommends "false"`,
		`--aptopt=Dir::Cache::pkgcache ""`, `--aptopt=Dir::Cache::srcpkgcache ""`,
		`--aptopt=DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; }`,
		"--dpkgopt=force-unsafe-io"}
	for _, unneeded := range []string{"man", "locale", "doc", "info", "i18n", "lintian", "bug"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+unneeded+"/*")
	}
	args = append(args, "--dpkgopt=path-include=/usr/share/doc/*/copyright",
		"--customize-hook=copy-in "+pkgFile+" /usr/local/sbin",
		"--customize-hook=copy-out /var/lib/apt/lists "+scratch,
		"bookworm", filepath.Join(scratch, "root"))
	cmd := exec.CommandContext(b.ctx, "mmdebstrap", append(args, sources...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+b.work)
	if err := b.run(cmd); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(scratch, "lists", sharedMark), nil, 0o644); err != nil {
		return err
	}
	return b.run(exec.CommandContext(b.ctx, "cp", "-a", scratch+"/.", to)) // from memory to disk
}

// sources are the lines of the package mirrors that this host's own apt uses.
func (b *builder) sources() ([]string, error) {
	cmd := exec.CommandContext(b.ctx, "apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) main", "Created-By: Packages", "Origin: Debian")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask apt for its archives: %w", err)
	}
	var lines []string
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !seen[line] {
			seen[line] = true
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil, errors.New("apt knows no Debian archive: run apt-get update first")
	}
	return lines, nil
}

func (b *builder) build(name string) error {
	r, err := readRecipe(name)
	if err != nil {
		return err
	}
	at, err := place(b.cache, name)
	if err != nil {
		return err
	}
	err = once(b.ctx, at, func(part string) error {
		began := time.Now()
		if err := b.make(name, r, part); err != nil {
			return err
		}
		b.log(fmt.Sprintf("made image %s in %.0f s", r.name, time.Since(began).Seconds()))
		return nil
	})
	if err != nil {
		return fmt.Errorf("make image %s: %w", r.name, err)
	}
	return nil
}

func (b *builder) make(name string, r recipe, to string) (err error) {
	at := filepath.Join(b.work, name)
	upper, root := filepath.Join(at, "upper"), filepath.Join(at, "root")
	for _, d := range []string{at, upper, root, filepath.Join(at, "work")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(upper)) }() // room for the next
	// Plain upper folders: what these features would add there has no counterpart in a layer.
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s/work,redirect_dir=off,metacopy=off,index=off", b.base.root(), upper, at)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount the base: %w", err)
	}
	defer func() {
		if e := unix.Unmount(root, unix.MNT_DETACH); e != nil { // with all that is mounted below it
			b.mounted.Store(true)
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", root, e))
		}
	}()
	mounts := []mount{{"proc", "proc", "proc", 0}, {"/dev", "dev", "", unix.MS_BIND | unix.MS_REC}}
	if b.base.listsAreFresh() {
		mounts = append(mounts, mount{b.base.lists(), "var/lib/apt/lists", "", unix.MS_BIND})
	}
	for _, m := range mounts {
		if err := unix.Mount(m.source, filepath.Join(root, m.target), m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	resolver, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "etc/resolv.conf"), resolver, 0o644); err != nil {
		return err
	}
	for _, s := range r.steps {
		if err := b.step(root, r, s); err != nil {
			return err
		}
	}
	l, err := newLayout(to)
	if err != nil {
		return err
	}
	mine, err := l.addLayer(upper, "etc/resolv.conf")
	if err != nil {
		return err
	}
	below := b.base.layout()
	if err := l.shareLayer(&below, b.base.layer); err != nil {
		return err
	}
	return l.setImage(r.name, r.config, []layer{b.base.layer, mine})
}

type mount struct {
	source, target, kind string
	flags                uintptr
}

func (b *builder) step(root string, r recipe, s step) error {
	switch {
	case s.run != nil:
		cmd := exec.CommandContext(b.ctx, "/bin/sh", "-c", s.run.command)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir, cmd.Env = s.run.dir, append([]string{"HOME=/root", "TERM=dumb"}, s.run.env...)
		return b.run(cmd)
	case s.copy != nil:
		for _, source := range s.copy.sources {
			if err := copyFile(r.files, source, root, s.copy.target); err != nil {
				return err
			}
		}
		return nil
	default:
		return os.MkdirAll(filepath.Join(root, s.dir), 0o755)
	}
}

// copyFile copies one file of a recipe. Embedded files have no modes: what begins as a script is executable.
func copyFile(from fs.FS, source, root, target string) error {
	text, err := fs.ReadFile(from, path.Clean(source))
	if err != nil {
		return err
	}
	if strings.HasSuffix(target, "/") {
		target += path.Base(source)
	}
	mode := fs.FileMode(0o644)
	if bytes.HasPrefix(text, []byte("#!")) {
		mode = 0o755
	}
	to := filepath.Join(root, target)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to, text, mode); err != nil {
		return err
	}
	return os.Chmod(to, mode)
}

// run runs a command; its output is worth reading only when it fails.
func (b *builder) run(cmd *exec.Cmd) error {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		lines := bufio.NewScanner(&output)
		for lines.Scan() {
			b.log(lines.Text())
		}
		return fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	return nil
}
