package images

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// packLayer writes a folder as a layer, whose upper overlay folder it may be: whiteouts and opaque folders are turned
// into the image format's terms. Paths in skip (relative) are left out. It returns the digest (hex) and the size.
func packLayer(out io.Writer, folder string, skip ...string) (digest string, size int64, err error) {
	sum := sha256.New()
	counted := &counter{w: io.MultiWriter(out, sum)}
	p := packer{tar: tar.NewWriter(counted), seen: map[[2]uint64]string{}}
	err = filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		for _, s := range skip {
			if rel == s {
				return nil
			}
		}
		return p.add(name, rel, e)
	})
	if err = errors.Join(err, p.tar.Close()); err != nil {
		return "", 0, fmt.Errorf("pack %s: %w", folder, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), counted.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

type packer struct {
	tar  *tar.Writer
	seen map[[2]uint64]string // device and inode of files with several names -> the first
}

func (p *packer) add(name, rel string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: no owner is known", rel)
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil
	}
	if info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0 { // overlayfs: what is below is gone
		dir, base := filepath.Split(rel)
		return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + ".wh." + base, Mode: 0o600})
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(name); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname = rel, "", ""
	if info.IsDir() {
		h.Name += "/"
	}
	h.Format = tar.FormatPAX
	if err := capabilities(h, name); err != nil {
		return err
	}
	if info.Mode().IsRegular() && st.Nlink > 1 {
		key := [2]uint64{st.Dev, st.Ino}
		if first, ok := p.seen[key]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.tar.WriteHeader(h)
		}
		p.seen[key] = rel
	}
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	if info.IsDir() && opaque(name) {
		return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: rel + "/.wh..wh..opq", Mode: 0o600})
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(p.tar, f)
	return err
}

// capabilities of files are the only extended attribute that Debian's packages set.
func capabilities(h *tar.Header, name string) error {
	value := make([]byte, 64)
	n, err := unix.Lgetxattr(name, "security.capability", value)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the capabilities of %s: %w", name, err)
	}
	h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": string(value[:n])}
	return nil
}

func opaque(name string) bool {
	value := make([]byte, 8)
	n, err := unix.Lgetxattr(name, "trusted.overlay.opaque", value)
	return err == nil && strings.HasPrefix(string(value[:n]), "y")
}
