package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"berth/testing/images"
	"berth/testing/registry"
)

// world is what the scenarios of one test run share.
type world struct {
	dir      string
	registry *registry.Registry
	guard    *guard

	berth func() (string, error)
	probe func() (string, error)
	push  func() error // the probe's images

	distribution func() error // pushes registry:3

	mu   sync.Mutex              // also of what the guard is told
	real map[string]func() error // pushes an image of a real application, by its OCI layout
}

// shared is set by Main before any test runs.
var shared *world

// Main runs the tests of a package of scenarios; TestMain hands its argument over and exits with the result.
func Main(m *testing.M) int {
	if os.Getenv(guardEnv) != "" {
		return keepGuard(os.Stdin)
	}
	logrus.SetLevel(logrus.PanicLevel) // distribution's registry logs each request
	w, err := newWorld()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare scenarios:", err)
		return 1
	}
	defer w.close()
	shared = w
	return m.Run()
}

func newWorld() (*world, error) {
	dir, err := os.MkdirTemp("", "berth-world-")
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, real: map[string]func() error{}}
	if w.guard, err = startGuard(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	if err := w.note(guarded{Dir: dir}); err != nil {
		return nil, err
	}
	if w.registry, err = registry.Run(dir, registry.InFolder(filepath.Join(dir, "registry"))); err != nil {
		return nil, err
	}
	w.berth = sync.OnceValues(w.findBerth)
	w.probe = sync.OnceValues(w.buildProbe)
	w.push = sync.OnceValue(w.pushProbe)
	w.distribution = sync.OnceValue(w.pushDistribution)
	return w, nil
}

func (w *world) close() {
	if err := w.registry.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "end the registry:", err)
	}
	if err := errors.Join(os.RemoveAll(w.dir), w.guard.close()); err != nil {
		fmt.Fprintln(os.Stderr, "clean up:", err)
	}
}

// note tells the guard of a folder.
func (w *world) note(one guarded) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.guard.note(one)
}

// findBerth is BERTH_BIN, else bin/berth, built now.
func (w *world) findBerth() (string, error) {
	if path := os.Getenv("BERTH_BIN"); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("BERTH_BIN: %w", err)
		}
		return filepath.Abs(path)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("make", "--no-print-directory", "build")
	cmd.Dir = root
	if err := quiet(cmd); err != nil {
		return "", err
	}
	return filepath.Join(root, "bin", "berth"), nil
}

func (w *world) buildProbe() (string, error) {
	path := filepath.Join(w.dir, "probe")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "berth/testing/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return path, quiet(cmd)
}

func quiet(cmd *exec.Cmd) error {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, output.String())
	}
	return nil
}

// probeImage is the probe in an image without anything else but users and groups.
func (w *world) probeImage(name string, more map[string]registry.File, change func(*registry.Image)) (*registry.Image, error) {
	path, err := w.probe()
	if err != nil {
		return nil, err
	}
	files := map[string]registry.File{
		"probe":      registry.Program(path),
		"etc/passwd": registry.Text("root:x:0:0:root:/root:/probe\napp:x:1234:567:App:/home/app:/probe\n"),
		"etc/group":  registry.Text("root:x:0:\napp:x:567:\nextra:x:890:app\n"),
		"tmp":        {Mode: os.ModeDir | os.ModeSticky | 0o777},
	}
	for name, f := range more {
		files[name] = f
	}
	image := registry.Scratch(name, files, ocispec.ImageConfig{
		Entrypoint: []string{"/probe"}, Cmd: []string{"serve", ":80"},
		Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "FROM_IMAGE=yes"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
	})
	if change != nil {
		change(image)
	}
	return image, nil
}

// pushProbe pushes:
//
//	probe          serves HTTP on port 80 when nothing else is asked
//	probe-volume   has VOLUME /data, with a file of app's in it
//	probe-user     has USER app and WORKDIR /home/app
//	probe-health   has a HEALTHCHECK that wants the file /tmp/ready
func (w *world) pushProbe() error {
	data := map[string]registry.File{
		"data":          {Mode: os.ModeDir | 0o750, UID: 1234, GID: 567},
		"data/original": {Data: []byte("from the image\n"), Mode: 0o640, UID: 1234, GID: 567},
		"data/link":     {Link: "original"},
	}
	home := map[string]registry.File{"home/app": {Mode: os.ModeDir | 0o755, UID: 1234, GID: 567}}
	for _, one := range []struct {
		name   string
		files  map[string]registry.File
		change func(*registry.Image)
	}{
		{"probe", nil, nil},
		{"probe-volume", data, func(i *registry.Image) { i.Config.Volumes = map[string]struct{}{"/data": {}} }},
		{"probe-user", home, func(i *registry.Image) { i.Config.User, i.Config.WorkingDir = "app", "/home/app" }},
		{"probe-health", nil, func(i *registry.Image) {
			i.Extra = map[string]any{"Healthcheck": map[string]any{
				"Test": []string{"CMD", "/probe", "ok-if", "/tmp/ready"}, "Interval": int64(200e6), "Retries": 3,
			}}
		}},
	} {
		image, err := w.probeImage(one.name+":latest", one.files, one.change)
		if err != nil {
			return err
		}
		if err := w.registry.PushImage(image); err != nil {
			return fmt.Errorf("push %s: %w", one.name, err)
		}
	}
	return nil
}

// pushReal pushes images of real applications, each once; those that aren't there are made.
func (w *world) pushReal(t *testing.T, names ...string) {
	t.Helper()
	for _, layout := range images.Ensure(t, names...) {
		if err := w.pushOnce(layout)(); err != nil {
			t.Fatalf("push images of real applications: %v", err)
		}
	}
}

func (w *world) pushOnce(layout string) func() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	push, ok := w.real[layout]
	if !ok {
		push = sync.OnceValue(func() error {
			_, err := w.registry.PushOCILayout(layout)
			return err
		})
		w.real[layout] = push
	}
	return push
}
