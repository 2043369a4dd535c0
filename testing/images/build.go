package images

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Build makes the images of these recipes in the OCI layout dir/oci; what is there already stays. Beside it stays
// the base's file system. Build mounts: it must run as root in a mount namespace of its own, where mounts are private.
// Output of the commands it runs goes to log.
func Build(ctx context.Context, dir string, names []string, log func(string)) error {
	l, err := openLayout(filepath.Join(dir, "oci"))
	if err != nil {
		return err
	}
	if present(l.dir, names) { // made by another process while this one waited for the lock
		return nil
	}
	b := &builder{ctx: ctx, dir: dir, layout: l, log: log}
	if b.work, err = os.MkdirTemp(dir, ".work-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.work) }() // below a mount it is empty; the cache's owner may clear it
	if err := mountScratch(b.work); err != nil {
		return err
	}
	defer func() { _ = unix.Unmount(b.work, unix.MNT_DETACH) }() // it ends with the namespace anyway
	if err := b.makeBase(); err != nil {
		return fmt.Errorf("make the base file system: %w", err)
	}
	done := make(chan error)
	for _, name := range names {
		go func() { done <- b.build(name) }()
	}
	var errs []error
	for range names {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

type builder struct {
	ctx    context.Context
	dir    string // what stays
	work   string // scratch
	layout *layout
	base   layer
	log    func(string)
}

// mountScratch puts a tmpfs over the scratch folder where memory allows: apt and dpkg sync a lot, and overlay
// mounts can't have their upper folder on every file system.
func mountScratch(dir string) error {
	const enough = 3 << 30
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err
	}
	free := (info.Freeram + info.Bufferram) * uint64(info.Unit)
	if free < enough {
		return nil
	}
	return unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", free*3/4))
}

// makeBase makes Debian's minimal system, or takes that of an earlier run: its folder appears complete.
func (b *builder) makeBase() error {
	root := filepath.Join(b.dir, "base")
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := b.debootstrap(root); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	var err error
	b.base, err = b.layout.addLayer(filepath.Join(root, "root"))
	return err
}

// debootstrap: usr-is-merged with the merged-usr hook keeps usrmerge, and with it all of perl (47 MB), out.
func (b *builder) debootstrap(root string) error {
	sources, err := b.sources()
	if err != nil {
		return err
	}
	pkg, err := recipes.ReadFile("recipes/base/pkg")
	if err != nil {
		return err
	}
	part := filepath.Join(b.work, "base")
	lists := filepath.Join(part, "lists")
	pkgFile := filepath.Join(b.work, "pkg")
	if err := errors.Join(os.Mkdir(part, 0o755), os.WriteFile(pkgFile, pkg, 0o755)); err != nil {
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
		"--customize-hook=copy-out /var/lib/apt/lists "+part,
		"bookworm", filepath.Join(part, "root"))
	cmd := exec.CommandContext(b.ctx, "mmdebstrap", append(args, sources...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+b.work)
	if err := b.run(cmd); err != nil {
		return err
	}
	// Shared by all recipes: a mark for pkg not to fetch them again.
	if err := os.WriteFile(filepath.Join(lists, ".shared"), nil, 0o644); err != nil {
		return err
	}
	// From memory to disk, under a name that isn't looked at until all is there.
	copied := root + ".part"
	if err := os.RemoveAll(copied); err != nil {
		return err
	}
	if err := b.run(exec.CommandContext(b.ctx, "cp", "-a", part, copied)); err != nil {
		return err
	}
	return os.Rename(copied, root)
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
	if b.layout.has(r.name) {
		return nil
	}
	if err := b.make(name, r); err != nil {
		return fmt.Errorf("make image %s: %w", r.name, err)
	}
	b.log("made image " + r.name)
	return nil
}

func (b *builder) make(name string, r recipe) error {
	at := filepath.Join(b.work, name)
	upper, root := filepath.Join(at, "upper"), filepath.Join(at, "root")
	for _, d := range []string{at, upper, root, filepath.Join(at, "work")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	// Plain upper folders: what these features would add there has no counterpart in a layer.
	options := fmt.Sprintf("lowerdir=%s/base/root,upperdir=%s,workdir=%s/work,redirect_dir=off,metacopy=off,index=off", b.dir, upper, at)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount the base: %w", err)
	}
	defer func() { _ = unix.Unmount(root, unix.MNT_DETACH) }()
	mounts := []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"proc", "proc", "proc", 0},
		{"/dev", "dev", "", unix.MS_BIND | unix.MS_REC},
		{filepath.Join(b.dir, "base", "lists"), "var/lib/apt/lists", "", unix.MS_BIND},
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
	mine, err := b.layout.addLayer(upper, "etc/resolv.conf")
	if err != nil {
		return err
	}
	return b.layout.addImage(r.name, r.config, []layer{b.base, mine})
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
