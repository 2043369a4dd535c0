package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/sirupsen/logrus"

	"berth/engine/client"
	"berth/testing/bench/peers"
	"berth/testing/host"
	"berth/testing/registry"
)

// subject is what is measured. remove takes away all that pull brought.
type subject struct {
	name         string
	pull, remove func(ctx context.Context) error
}

// workshop is what they share.
type workshop struct {
	dir          string
	size, packed int64
	subjects     []subject
	ends         []func() error
}

// The image: so many layers of so many bytes each.
const (
	repository = "bench/app"
	layers     = 8
	layerSize  = 50_000_000
)

func newWorkshop(ctx context.Context, program string) (_ *workshop, err error) {
	logrus.SetOutput(io.Discard) // distribution's registry logs each request
	// Short: it is part of the paths of sockets, which have at most 107 bytes.
	dir, err := os.MkdirTemp("", "pull-")
	if err != nil {
		return nil, err
	}
	w := &workshop{dir: dir}
	w.ends = append(w.ends, func() error { return os.RemoveAll(dir) })
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	berth, err := peers.Berth(ctx, program, dir)
	if err != nil {
		return nil, fmt.Errorf("%w (run make build?)", err)
	}
	w.closes(berth)
	if err := w.fillRegistry(); err != nil {
		return nil, err
	}
	if err := errors.Join(w.addPeer(berth), berth.Start(ctx)); err != nil {
		return nil, err
	}
	here, err := w.registryIn(nil)
	if err != nil {
		return nil, err
	}
	if err := w.addContainerd(here); err != nil {
		return nil, err
	}
	first := ""
	found, missing := peers.Find(ctx, peers.Folders(os.Getenv("BENCH_PEERS")), dir, func(name string) bool {
		if first == "" && strings.HasPrefix(name, "compose ") {
			first = name
		}
		return name == first
	})
	w.closes(found...)
	for _, m := range missing {
		fmt.Fprintln(os.Stderr, "left out:", m)
	}
	for _, p := range found {
		if err := w.addPeer(p); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// closes has peers end with the workshop.
func (w *workshop) closes(list ...*peers.Peer) {
	for _, p := range list {
		w.ends = append(w.ends, func() error { return p.Close(context.Background()) })
	}
}

// close undoes all in the reverse order.
func (w *workshop) close() error {
	var errs []error
	for i := len(w.ends) - 1; i >= 0; i-- {
		errs = append(errs, w.ends[i]())
	}
	return errors.Join(errs...)
}

func (w *workshop) fillRegistry() error {
	fmt.Fprintln(os.Stderr, "making the image ...")
	img, size := registry.Large(repository+":1", layers, layerSize)
	w.size = size
	for _, l := range img.Layers {
		w.packed += int64(len(l.Blob))
	}
	r, err := registry.Run(w.dir, registry.InFolder(filepath.Join(w.dir, "registry")))
	if err != nil {
		return err
	}
	return errors.Join(r.PushImage(img), r.Close())
}

// registryIn serves what fillRegistry made on loopback in a network, and gives the image's name there.
func (w *workshop) registryIn(n *host.Namespace) (ref string, err error) {
	err = n.Do(func() error {
		r, err := registry.Run(w.dir, registry.InFolder(filepath.Join(w.dir, "registry")))
		if err != nil {
			return err
		}
		w.ends = append(w.ends, r.Close)
		ref = r.Addr + "/" + repository + ":1"
		return nil
	})
	return ref, err
}

// addPeer has a peer pull by a project's file, from a registry in its own network.
func (w *workshop) addPeer(p *peers.Peer) error {
	ref, err := w.registryIn(p.Place().Network)
	if err != nil {
		return err
	}
	dir := filepath.Join(w.dir, fmt.Sprintf("bench-%d", len(w.subjects)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	file := fmt.Sprintf("services: {app: {image: %q}}\n", ref)
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(file), 0o644); err != nil {
		return err
	}
	verb := func(args ...string) func(context.Context) error {
		return func(ctx context.Context) error { return p.Stream(ctx, dir, io.Discard, args...) }
	}
	w.subjects = append(w.subjects, subject{p.Name, verb("pull", "-q"), verb("down", "--rmi", "all")})
	return nil
}

// addContainerd has containerd's own client pull by the same engine, in a namespace of its own.
func (w *workshop) addContainerd(ref string) error {
	c, err := containerd.New(client.Socket(w.dir+"/state"), containerd.WithTimeout(10*time.Second), containerd.WithDefaultNamespace("bench"))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	w.ends = append(w.ends, c.Close)
	in := func(ctx context.Context) context.Context { return namespaces.WithNamespace(ctx, "bench") }
	w.subjects = append(w.subjects, subject{
		name: "containerd's client",
		pull: func(ctx context.Context) error {
			hosts := docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))
			_, err := c.Pull(in(ctx), ref, containerd.WithPullUnpack, containerd.WithPullSnapshotter("overlayfs"),
				containerd.WithResolver(docker.NewResolver(docker.ResolverOptions{Hosts: hosts})))
			return err
		},
		remove: func(ctx context.Context) error {
			return c.ImageService().Delete(in(ctx), ref, images.SynchronousDelete())
		},
	})
	return nil
}
