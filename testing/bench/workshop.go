package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/testing/bench/peers"
	"berth/testing/registry"
)

const image = "berth-bench:1"

// workshop is what all laps share: folders, the image, the peers, the bare runtimes.
type workshop struct {
	dir     string
	run     string // on a file system in memory, as hosts have it at /run
	peers   []*peers.Peer
	missing []string // peers that are not measured, and why
	bare    *bare
	pulled  pulled
	ends    []func(context.Context) error
}

func openWorkshop(ctx context.Context, o options) (w *workshop, err error) {
	// Short: it is part of the paths of sockets, which have at most 107 bytes.
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	w = &workshop{dir: dir}
	opened := w // what comes back is nil after an error
	w.ends = append(w.ends, func(context.Context) error { return os.RemoveAll(dir) })
	// Not every host that is measured on has memory at /run, and what it is to the engines there, /dev/shm is everywhere.
	if w.run, err = os.MkdirTemp("/dev/shm", "b-"); err != nil {
		return nil, errors.Join(err, w.close(ctx))
	}
	w.ends = append(w.ends, func(context.Context) error { return os.RemoveAll(w.run) })
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.close(context.WithoutCancel(ctx)))
			w = nil
		}
	}()
	archive, err := w.makeImage(ctx)
	if err != nil {
		return nil, err
	}
	folders := peers.Folders(os.Getenv("BENCH_PEERS"))
	if w.bare, err = openBare(ctx, folders, dir, w.run); err != nil {
		return nil, err
	}
	w.ends = append(w.ends, w.bare.close, w.pulled.close)
	berth, err := peers.Berth(ctx, o.berth, dir, w.run)
	if err != nil {
		return nil, fmt.Errorf("%w (run make build?)", err)
	}
	all := []*peers.Peer{berth}
	if o.peers != "none" {
		found, missing := peers.Find(ctx, folders, dir, w.run, wantedPeer(o.peers))
		all, w.missing = append(all, found...), missing
	}
	for _, p := range all {
		w.ends = append(w.ends, p.Close)
	}
	for i, p := range all {
		if p.Shared {
			w.peers = append(w.peers, p)
			continue
		}
		switch err := p.Load(ctx, archive); {
		case err != nil && i == 0:
			return nil, err
		case err != nil:
			w.missing = append(w.missing, fmt.Sprintf("%s: %v", p.Name, err))
		default:
			w.peers = append(w.peers, p)
		}
	}
	return w, nil
}

// wantedPeer says whether a peer is to be measured, by the name of its column.
func wantedPeer(option string) func(name string) bool {
	first := ""
	return func(name string) bool {
		switch option {
		case "all":
			return true
		case "default": // the folders' order says which docker compose is the one to beat
			if first == "" && strings.HasPrefix(name, "compose ") {
				first = name
			}
			return name == first
		}
		for wanted := range strings.SplitSeq(option, ",") {
			if wanted != "" && strings.HasPrefix(name, wanted) {
				return true
			}
		}
		return false
	}
}

// close undoes all in the reverse order.
func (w *workshop) close(ctx context.Context) error {
	var errs []error
	for i := len(w.ends) - 1; i >= 0; i-- {
		errs = append(errs, w.ends[i](ctx))
	}
	return errors.Join(errs...)
}

// subjects are berth, the peers and the limit, in the order in which they take turns.
func (w *workshop) subjects() []subject {
	var all []subject
	for _, p := range w.peers {
		folder := strings.NewReplacer(" ", "-", ".", "-").Replace(p.Name)
		all = append(all, subject{name: p.Name, folder: folder, peer: p})
	}
	return append(all, subject{name: "limit", folder: "limit"})
}

// makeImage builds the probe and the load, and an archive of an image that has both. What the image has is also in the
// folder rootfs, for those that run without an engine.
func (w *workshop) makeImage(ctx context.Context) (archive string, err error) {
	files := map[string]registry.File{"tmp": {Mode: os.ModeDir | os.ModeSticky | 0o777}}
	for name, source := range map[string]string{"probe": "berth/testing/probe", "load": "berth/testing/bench/load"} {
		program := filepath.Join(w.dir, "rootfs", name)
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", source, err, out)
		}
		files[name] = registry.Program(program)
	}
	i := registry.Scratch(image, files, ocispec.ImageConfig{Entrypoint: []string{"/probe"}, Cmd: []string{"sleep"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}})
	// Two containers of one crun each would make them at the same time, and the second finds what it did not expect.
	for _, name := range []string{"proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(w.dir, "rootfs", name), 0o755); err != nil {
			return "", err
		}
	}
	archive = filepath.Join(w.dir, "image.tar")
	f, err := os.Create(archive)
	if err != nil {
		return "", err
	}
	return archive, errors.Join(registry.WriteDocker(f, i), f.Close())
}
