package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	// filtersFile, beside runc's own folder, has the seccomp filters that runc has compiled, for all containers of an
	// engine; see seccompcache/cache.c. The number is that of the layout.
	filtersFile = "filters.1"
	// filtersLink is the name that runc looks for in a bundle.
	filtersLink = "seccomp"
	// filtersBytes is room for 64 filters of 96 KiB. Only what is written takes space.
	filtersBytes = 64 * 96 << 10
)

// shareFilters lets runc find the filters that it has compiled for other containers. A runtime that isn't ours doesn't
// look.
func shareFilters(bundle string, opts *anypb.Any) error {
	var o options.Options
	if opts == nil || opts.GetTypeUrl() == "" {
		return nil
	}
	if err := typeurl.UnmarshalTo(opts, &o); err != nil || o.Root == "" {
		return err
	}
	file := filepath.Join(filepath.Dir(o.Root), filtersFile)
	link := filepath.Join(bundle, filtersLink)
	err := os.Link(file, link)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeFilters(file); err == nil {
			err = os.Link(file, link)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("share compiled seccomp filters: %w", err)
	}
	return nil
}

// makeFilters makes the file with no filter in it; that another shim is doing the same is no error. It has its name only
// when it has its size.
func makeFilters(file string) error {
	f, err := os.CreateTemp(filepath.Dir(file), filtersFile+".")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(f.Truncate(filtersBytes), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
