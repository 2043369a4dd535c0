// Package zone keeps a project's DNS zone in a file: the engine writes it, the shim follows it.
//
// It owns the file's form (JSON of dns.Zone, replaced as a whole) and the noticing of a change. It knows nothing
// of queries and sockets. Entry points are Write and Open. A reader sees the old zone or the new one, never a part.
package zone

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"berth/netplan/dns"
)

// Write replaces the zone at path, and makes its folder if need be.
func Write(path string, z dns.Zone) error {
	b, err := json.Marshal(z)
	if err != nil {
		return fmt.Errorf("write zone %q: %w", path, err)
	}
	if err := replace(path, b); err != nil {
		return fmt.Errorf("write zone %q: %w", path, err)
	}
	return nil
}

func replace(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Load reads the zone at path.
func Load(path string) (dns.Zone, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return dns.Zone{}, fmt.Errorf("read zone: %w", err)
	}
	var z dns.Zone
	if err := json.Unmarshal(b, &z); err != nil {
		return dns.Zone{}, fmt.Errorf("read zone %q: %w", path, err)
	}
	return z, nil
}

// File follows the zone at a path. It may be used by several goroutines.
type File struct {
	path string
	seen atomic.Pointer[version]
	mu   sync.Mutex // held while reading
}

type version struct {
	mark  mark
	table *dns.Table
	err   error
}

// mark tells one version of a file from another.
type mark struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// Open follows path. The file need not be there yet: until it is, the zone is empty.
func Open(path string) *File {
	f := &File{path: path}
	f.seen.Store(&version{table: dns.Compile(dns.Zone{})})
	return f
}

// Table is the zone as it is now. With an error it is the zone as it was when it could last be read.
func (f *File) Table() (*dns.Table, error) {
	v := f.seen.Load()
	m, err := look(f.path)
	if err == nil && m == v.mark {
		return v.table, v.err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return v.table, nil
	}
	if err != nil {
		return v.table, fmt.Errorf("read zone %q: %w", f.path, err)
	}
	return f.reload(m)
}

func (f *File) reload(m mark) (*dns.Table, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.seen.Load()
	if v.mark == m {
		return v.table, v.err
	}
	// The mark was taken before the read, so a change in between is noticed by the next look.
	next := &version{mark: m, table: v.table}
	z, err := Load(f.path)
	if err != nil {
		next.err = err
	} else {
		next.table = dns.Compile(z)
	}
	f.seen.Store(next)
	return next.table, next.err
}

func look(path string) (mark, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return mark{}, err
	}
	return mark{dev: st.Dev, ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}, nil
}
