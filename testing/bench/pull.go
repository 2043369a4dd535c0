package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/klauspost/compress/gzip"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"berth/testing/host"
	"berth/testing/registry"
)

// pulled is the image of the pull: made when the first lap needs it, then served from a folder in each subject's network.
type pulled struct {
	dir    string
	layers [][]byte
	refs   map[*host.Namespace]string
	ends   []func() error
}

func pullCourses() []course {
	return []course{{
		rows: []row{
			{key: "pull", what: "cold pull and unpack of 400 MB in 8 layers, from a registry on loopback", aim: "2.5 s", quick: true},
			{key: "pullclient", what: "... by containerd's own client, through berth's engine", quick: true},
		},
		takes: hasEngine, // what pulls is the engine
		run: func(ctx context.Context, l *lap) error {
			ref, err := l.pulled.serve(filepath.Join(l.workshop.dir, "pulled"), l.peer.Place().Network)
			if err != nil {
				return err
			}
			if err := l.file(fmt.Sprintf("services: {app: {image: %q}}\n", ref)); err != nil {
				return err
			}
			if err := errors.Join(l.time("pull", l.verb(ctx, "pull", "-q")), l.verb(ctx, "down", "--rmi", "all")()); err != nil {
				return err
			}
			if l.peer.Socket == "" || !l.wanted["pullclient"] {
				return nil
			}
			return l.pullByClient(ctx)
		},
		limit: func(ctx context.Context, l *lap) error {
			if err := l.pulled.make(filepath.Join(l.workshop.dir, "pulled")); err != nil {
				return err
			}
			to := filepath.Join(l.dir, "unpacked")
			return errors.Join(l.time("pull", func() error { return l.pulled.unpack(ctx, to) }), os.RemoveAll(to))
		},
	}}
}

// pullByClient is how fast the library is that pulls and unpacks for others, on the same store. The client has the
// registry's connections itself, so its registry is in this process's network.
func (l *lap) pullByClient(ctx context.Context) error {
	ref, err := l.pulled.serve(filepath.Join(l.workshop.dir, "pulled"), nil)
	if err != nil {
		return err
	}
	c, err := containerd.New(l.peer.Socket, containerd.WithTimeout(10*time.Second), containerd.WithDefaultNamespace("bench"))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer c.Close()
	ctx = namespaces.WithNamespace(ctx, "bench")
	hosts := docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))
	if err := l.time("pullclient", func() error {
		_, err := c.Pull(ctx, ref, containerd.WithPullUnpack, containerd.WithPullSnapshotter("overlayfs"),
			containerd.WithResolver(docker.NewResolver(docker.ResolverOptions{Hosts: hosts})))
		return err
	}); err != nil {
		return err
	}
	return c.ImageService().Delete(ctx, ref, images.SynchronousDelete())
}

// make fills a registry's folder, once.
func (p *pulled) make(dir string) error {
	if p.refs != nil {
		return nil
	}
	logrus.SetOutput(io.Discard) // the registry logs each request
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	image, _ := registry.Large("bench/app:1", 8, 50_000_000)
	for _, layer := range image.Layers {
		p.layers = append(p.layers, layer.Blob)
	}
	r, err := registry.Run(dir, registry.InFolder(filepath.Join(dir, "registry")))
	if err != nil {
		return err
	}
	p.dir, p.refs = dir, map[*host.Namespace]string{}
	return errors.Join(r.PushImage(image), r.Close())
}

// serve has a registry on loopback in a network, and gives the image's name there.
func (p *pulled) serve(dir string, network *host.Namespace) (ref string, err error) {
	if err := p.make(dir); err != nil {
		return "", err
	}
	if ref, ok := p.refs[network]; ok {
		return ref, nil
	}
	err = network.Do(func() error {
		r, err := registry.Run(p.dir, registry.InFolder(filepath.Join(p.dir, "registry")))
		if err != nil {
			return err
		}
		p.ends = append(p.ends, r.Close)
		p.refs[network] = r.Addr + "/bench/app:1"
		return nil
	})
	return p.refs[network], err
}

// unpack is the limit: the packed layers are in memory already, and are written as files, on all processors.
func (p *pulled) unpack(ctx context.Context, to string) error {
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i, blob := range p.layers {
		g.Go(func() error {
			raw, err := gzip.NewReader(bytes.NewReader(blob))
			if err != nil {
				return err
			}
			for files := tar.NewReader(raw); ctx.Err() == nil; {
				h, err := files.Next()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err == nil {
					err = unpackFile(filepath.Join(to, fmt.Sprint(i), filepath.Clean("/"+h.Name)), h, files)
				}
				if err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

func unpackFile(path string, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		return os.MkdirAll(path, 0o755)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

func (p *pulled) close(context.Context) error {
	var errs []error
	for _, end := range p.ends {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}
