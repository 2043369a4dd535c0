package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/testing/host"
	"berth/testing/registry"
)

const image = "berth-bench-probe:1"

// workshop is what the measurements share: folders, the probe's image as an archive, an engine of berth's own.
type workshop struct {
	dir     string
	berth   string
	archive string
	network *host.Namespace
	env     []string
	ends    []func() error
}

// subject is a program that is measured.
type subject struct {
	name    string // "berth", "docker"
	version string
	argv    []string // the command that takes compose's verbs
	env     []string
	load    []string // the command that loads an archive
	network *host.Namespace
	engine  func() []int // the engine's processes, nil if it isn't known
}

func newWorkshop(o options) (*workshop, error) {
	berth, err := filepath.Abs(o.berth)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(berth); err != nil {
		return nil, fmt.Errorf("%w (run make build)", err)
	}
	// Short: it is part of the paths of sockets, which have at most 107 bytes.
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	w := &workshop{dir: dir, berth: berth, archive: filepath.Join(dir, "probe.tar")}
	w.ends = append(w.ends, func() error { return os.RemoveAll(dir) })
	if w.network, err = host.OpenNamespace(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	w.ends = append(w.ends, w.network.Close)
	w.env = []string{"HOME=" + dir, "BERTH_ROOT=" + dir + "/root", "BERTH_STATE=" + dir + "/state", "BERTH_CONFIG=" + dir + "/config"}
	if err := w.makeImage(); err != nil {
		return nil, errors.Join(err, w.close())
	}
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

func (w *workshop) makeImage() error {
	probe := filepath.Join(w.dir, "probe")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", probe, "berth/testing/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the probe: %w\n%s", err, out)
	}
	i := registry.Scratch(image, map[string]registry.File{"probe": registry.Program(probe)}, ocispec.ImageConfig{Entrypoint: []string{"/probe"}, Cmd: []string{"sleep"}})
	f, err := os.Create(w.archive)
	if err != nil {
		return err
	}
	return errors.Join(registry.WriteDocker(f, i), f.Close())
}

// subjects are berth and the peers that are installed and answer.
func (w *workshop) subjects(ctx context.Context) ([]subject, error) {
	berth := subject{name: "berth", argv: []string{w.berth}, env: w.env, load: []string{w.berth, "image", "load", "-i"}, network: w.network}
	berth.engine = func() []int { return processesOf(w.dir + "/state") }
	all := []subject{berth}
	for _, program := range peers() {
		s := subject{name: filepath.Base(program), argv: []string{program}, load: []string{"docker", "load", "-i"}, env: os.Environ()}
		if s.name == "docker" {
			s.argv = append(s.argv, "compose")
		}
		all = append(all, s)
	}
	var usable []subject
	for i, s := range all {
		out, err := s.run(ctx, w.dir, "version")
		if err == nil {
			_, err = s.runArgv(ctx, w.dir, append(s.load, w.archive))
		}
		if err != nil && i == 0 {
			return nil, err
		}
		if err != nil {
			fmt.Printf("%s is left out: %v\n", s.name, firstLine(err.Error()))
			continue
		}
		s.version = strings.Join(strings.Fields(out), " ")
		usable = append(usable, s)
	}
	w.ends = append(w.ends, func() error {
		_, err := berth.run(context.Background(), w.dir, "engine", "stop", "--all")
		return err
	})
	return usable, nil
}

// peers are the programs named in BENCH_PEERS, else docker and docker-compose if they are on the PATH.
func peers() []string {
	named := os.Getenv("BENCH_PEERS")
	switch named {
	case "none":
		return nil
	case "":
		var found []string
		for _, program := range []string{"docker", "docker-compose"} {
			if path, err := exec.LookPath(program); err == nil {
				found = append(found, path)
			}
		}
		return found
	}
	return strings.Split(named, ":")
}

func (s subject) run(ctx context.Context, dir string, args ...string) (string, error) {
	return s.runArgv(ctx, dir, append(append([]string{}, s.argv...), args...))
}

func (s subject) runArgv(ctx context.Context, dir string, argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, s.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := s.network.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()+stdout.String()))
	}
	return stdout.String(), nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
