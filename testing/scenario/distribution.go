package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/testing/registry"
)

// RegistryImage makes registry:3 available as docker.io's: distribution's own program, built from its module.
func (s *Scenario) RegistryImage() {
	s.Helper()
	if err := shared.distribution(); err != nil {
		s.Fatalf("make the image of a registry: %v", err)
	}
}

// pushDistribution builds the image each time: Go's cache knows better than any other what has changed.
func (w *world) pushDistribution() error {
	program := filepath.Join(w.dir, "distribution")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "berth/testing/images/distribution")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := quiet(cmd); err != nil {
		return err
	}
	config, err := os.ReadFile("../images/distribution/config.yml")
	if err != nil {
		return err
	}
	image := registry.Scratch("registry:3", map[string]registry.File{
		"bin/registry":                registry.Program(program),
		"etc/distribution/config.yml": {Data: config},
		"etc/passwd":                  registry.Text("root:x:0:0:root:/root:/bin/registry\n"),
		"tmp":                         {Mode: os.ModeDir | os.ModeSticky | 0o777},
		"var/lib/registry":            {Mode: os.ModeDir | 0o755},
	}, ocispec.ImageConfig{
		Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "OTEL_TRACES_EXPORTER=none"},
		Entrypoint:   []string{"registry"},
		Cmd:          []string{"serve", "/etc/distribution/config.yml"},
		ExposedPorts: map[string]struct{}{"5000/tcp": {}},
		Volumes:      map[string]struct{}{"/var/lib/registry": {}},
	})
	if err := w.registry.PushImage(image); err != nil {
		return fmt.Errorf("push %s: %w", image.Name, err)
	}
	return nil
}
