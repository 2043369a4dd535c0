package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/sirupsen/logrus"

	"berth/engine/client"
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

func newWorkshop(ctx context.Context, berth string) (_ *workshop, err error) {
	logrus.SetOutput(io.Discard) // distribution's registry logs each request
	program, err := filepath.Abs(berth)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%w (run make build)", err)
	}
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
	if err := w.fillRegistry(); err != nil {
		return nil, err
	}
	here, err := w.registryIn(nil)
	if err != nil {
		return nil, err
	}
	network, err := host.OpenNamespace()
	if err != nil {
		return nil, err
	}
	w.ends = append(w.ends, network.Close)
	there, err := w.registryIn(network)
	if err != nil {
		return nil, err
	}
	if err := w.addBerth(ctx, program, network, there); err != nil {
		return nil, err
	}
	if err := w.addContainerd(here); err != nil {
		return nil, err
	}
	w.addDocker(ctx, here)
	return w, nil
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

func (w *workshop) addBerth(ctx context.Context, program string, n *host.Namespace, ref string) error {
	env := []string{"HOME=" + w.dir, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "BERTH_ROOT=" + w.dir + "/root", "BERTH_STATE=" + w.dir + "/state", "BERTH_CONFIG=" + w.dir + "/config"}
	verb := func(args ...string) func(context.Context) error {
		return func(ctx context.Context) error { return run(ctx, n, env, append([]string{program}, args...)...) }
	}
	w.ends = append(w.ends, func() error { return verb("engine", "stop", "--all")(context.Background()) })
	w.subjects = append(w.subjects, subject{"berth", verb("image", "pull", "-q", ref), verb("image", "rm", ref)})
	return verb("engine", "start")(ctx)
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

// addDocker adds docker if there is one and its engine answers.
func (w *workshop) addDocker(ctx context.Context, ref string) {
	for _, program := range peers() {
		if filepath.Base(program) != "docker" {
			continue
		}
		verb := func(args ...string) func(context.Context) error {
			return func(ctx context.Context) error {
				return run(ctx, nil, os.Environ(), append([]string{program}, args...)...)
			}
		}
		if err := verb("version")(ctx); err != nil {
			line, _, _ := strings.Cut(err.Error(), "\n")
			fmt.Fprintf(os.Stderr, "%s is left out: %s\n", program, line)
			continue
		}
		w.subjects = append(w.subjects, subject{program, verb("pull", "-q", ref), verb("image", "rm", ref)})
	}
}

// peers are the programs named in BENCH_PEERS, else docker if it is on the PATH.
func peers() []string {
	switch named := os.Getenv("BENCH_PEERS"); named {
	case "none":
		return nil
	case "":
		if path, err := exec.LookPath("docker"); err == nil {
			return []string{path}
		}
		return nil
	default:
		return filepath.SplitList(named)
	}
}

func run(ctx context.Context, n *host.Namespace, env []string, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.WaitDelay = env, time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}
