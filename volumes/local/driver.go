package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"berth/volumes/mountinfo"
)

// Spec says which volume is wanted.
type Spec struct {
	Name       string
	Driver     string            // "" or "local"
	DriverOpts map[string]string // type, o, device
	Labels     map[string]string
	Project    string
	Key        string // the key in the file
	Anonymous  bool
}

// Volume is a volume that exists.
type Volume struct {
	Name       string
	DriverOpts map[string]string `json:",omitempty"`
	Labels     map[string]string `json:",omitempty"`
	Project    string            `json:",omitempty"`
	Key        string            `json:",omitempty"`
	Anonymous  bool              `json:",omitempty"`
	Created    time.Time
	// Mountpoint is the folder of the host with its content; for one with driver options only while
	// it is mounted.
	Mountpoint string `json:"-"`
}

const (
	metaFile      = "volume.json"
	dataFolder    = "_data"
	copyFolder    = "_copy"
	unclaimedFile = "_unclaimed"
	newPrefix     = ".new-"
	gonePrefix    = ".gone-"
)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// Driver is the one writer below its root. It may be used from several goroutines.
type Driver struct {
	root string

	mu    sync.Mutex
	locks map[string]*nameLock
}

// nameLock keeps two steps on one volume apart; steps on different volumes don't wait for each other.
type nameLock struct {
	sync.Mutex
	users int
}

// Open makes the root if need be and clears away what a crash left half made or half removed.
func Open(root string) (*Driver, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open volumes: %w", err)
	}
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, fmt.Errorf("open volumes: %w", err)
	}
	// Paths are compared with those of the kernel, which have no symbolic links.
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, fmt.Errorf("open volumes: %w", err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("open volumes: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPrefix) || strings.HasPrefix(e.Name(), gonePrefix) {
			if err := mountinfo.RemoveAll(filepath.Join(root, e.Name()), 0); err != nil {
				return nil, fmt.Errorf("clear away %s: %w", e.Name(), err)
			}
		}
	}
	return &Driver{root: root, locks: map[string]*nameLock{}}, nil
}

// lock takes a volume's name until the returned function is called.
func (d *Driver) lock(name string) (unlock func()) {
	d.mu.Lock()
	l := d.locks[name]
	if l == nil {
		l = &nameLock{}
		d.locks[name] = l
	}
	l.users++
	d.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		d.mu.Lock()
		if l.users--; l.users == 0 {
			delete(d.locks, name)
		}
		d.mu.Unlock()
	}
}

// Ensure gives the volume with this name and makes it if there is none. The options of one that exists
// stay as they are. An anonymous one that was made is to be claimed.
func (d *Driver) Ensure(ctx context.Context, s Spec) (Volume, error) {
	if err := s.check(); err != nil {
		return Volume{}, err
	}
	defer d.lock(s.Name)()
	v, err := d.read(s.Name)
	if !errdefs.IsNotFound(err) {
		return v, err
	}
	v = Volume{
		Name: s.Name, DriverOpts: maps.Clone(s.DriverOpts), Labels: maps.Clone(s.Labels),
		Project: s.Project, Key: s.Key, Anonymous: s.Anonymous, Created: time.Now().UTC(),
	}
	if err := d.create(v); err != nil {
		return Volume{}, fmt.Errorf("create volume %q: %w", s.Name, err)
	}
	v.Mountpoint = d.data(s.Name)
	return v, nil
}

func (s Spec) check() error {
	if !validName.MatchString(s.Name) || len(s.Name) > 200 {
		return invalid(fmt.Sprintf("volume name %q: letters, digits, _ . and - are allowed, the first a letter or digit", s.Name), "")
	}
	if s.Driver != "" && s.Driver != "local" {
		return invalid(fmt.Sprintf("volume %q: no driver %q", s.Name, s.Driver), "use the driver local; its driver_opts mount nfs, cifs, tmpfs or a path")
	}
	return checkOptions(s.Name, s.DriverOpts)
}

// create makes the folder under a passing name and renames it.
func (d *Driver) create(v Volume) error {
	dir, err := os.MkdirTemp(d.root, newPrefix)
	if err != nil {
		return err
	}
	err = errors.Join(
		os.Chmod(dir, 0o711),
		os.Mkdir(filepath.Join(dir, dataFolder), 0o755),
		os.Chmod(filepath.Join(dir, dataFolder), 0o755),
		writeMeta(filepath.Join(dir, metaFile), v))
	if v.Anonymous {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, unclaimedFile), nil, 0o600))
	}
	if err == nil {
		err = os.Rename(dir, d.folder(v.Name))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return syncFolder(d.root)
}

// Claim notes that an anonymous volume is in the books of what it was made for.
func (d *Driver) Claim(name string) error {
	defer d.lock(name)()
	err := os.Remove(filepath.Join(d.folder(name), unclaimedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(d.folder(name)) // who claimed it may go and leave it behind, for the user to keep
	}
	if err != nil {
		return fmt.Errorf("claim volume %q: %w", name, err)
	}
	return nil
}

// Unclaimed gives the anonymous volumes that nobody has claimed: those that are being made, and those of which the making was
// cut off.
func (d *Driver) Unclaimed() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(d.root, "*", unclaimedFile))
	if err != nil {
		return nil, fmt.Errorf("look for volumes that nobody has: %w", err)
	}
	var names []string
	for _, f := range files {
		if name := filepath.Base(filepath.Dir(f)); validName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func writeMeta(path string, v Volume) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// Get gives a volume, or an error of class "not found".
func (d *Driver) Get(name string) (Volume, error) {
	if !validName.MatchString(name) {
		return Volume{}, notFound(name)
	}
	return d.read(name)
}

func (d *Driver) read(name string) (Volume, error) {
	text, err := os.ReadFile(filepath.Join(d.folder(name), metaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Volume{}, notFound(name)
	}
	if err != nil {
		return Volume{}, fmt.Errorf("read volume %q: %w", name, err)
	}
	var v Volume
	if err := json.Unmarshal(text, &v); err != nil {
		return Volume{}, fmt.Errorf("read volume %q: %w", name, err)
	}
	v.Mountpoint = d.data(name)
	return v, nil
}

// List gives every volume, by name. One that can't be read is left out and its error joined to the result's.
func (d *Driver) List() ([]Volume, error) {
	entries, err := os.ReadDir(d.root)
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var all []Volume
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || !validName.MatchString(e.Name()) {
			continue
		}
		v, err := d.read(e.Name())
		switch {
		case errdefs.IsNotFound(err):
		case err != nil:
			errs = append(errs, err)
		default:
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b Volume) int { return cmp.Compare(a.Name, b.Name) })
	return all, errors.Join(errs...)
}

// Remove removes a volume and its content. It refuses while a container has it mounted; containers that
// don't run are the caller's to know.
func (d *Driver) Remove(name string) error {
	if !validName.MatchString(name) {
		return notFound(name)
	}
	defer d.lock(name)()
	v, err := d.read(name)
	if err != nil {
		return err
	}
	pid, err := d.user(v)
	if err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	if pid != 0 {
		return &Error{class: errdefs.ErrFailedPrecondition, text: fmt.Sprintf("remove volume %q: it is mounted by process %d", name, pid), hint: "stop the containers that use it"}
	}
	if err := d.unmountData(v); err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	points, err := mountinfo.Below(d.folder(name))
	if err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	if len(points) > 0 { // what the host has mounted in there is not the volume's
		return &Error{class: errdefs.ErrFailedPrecondition, text: fmt.Sprintf("remove volume %q: something is mounted in it on %s", name, points[0]), hint: "unmount that first: umount " + points[0]}
	}
	gone, err := os.MkdirTemp(d.root, gonePrefix)
	if err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	if err := os.Rename(d.folder(name), filepath.Join(gone, "v")); err != nil {
		return errors.Join(fmt.Errorf("remove volume %q: %w", name, err), os.Remove(gone))
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	return nil
}

func (d *Driver) folder(name string) string { return filepath.Join(d.root, name) }
func (d *Driver) data(name string) string   { return filepath.Join(d.root, name, dataFolder) }

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
