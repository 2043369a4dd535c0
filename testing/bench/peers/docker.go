package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// docker is an engine, dockerd with the containerd that it starts itself, in a place of its own.
type docker struct {
	dir, program string
	run          string
	env          []string
	place        *Place
	group        string
	daemon       *exec.Cmd
	ended        chan error
	api          *http.Client
}

// openDocker starts dockerd, and gives a peer for each docker-compose that is there: they share the engine.
func openDocker(ctx context.Context, folders []string, dir, run string, wanted func(string) bool) (found []*Peer, err error) {
	d := &docker{dir: dir, run: run, program: Lookup(folders, "dockerd")}
	if d.program == "" {
		return nil, notThere("dockerd")
	}
	fronts := map[string]string{} // by name
	var names []string
	for _, program := range lookupAll(folders, "docker-compose") {
		out, err := exec.CommandContext(ctx, program, "version", "--short").Output()
		if err != nil {
			return nil, fmt.Errorf("%s version: %w", program, err)
		}
		name := "compose " + strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
		if _, again := fronts[name]; !again && wanted(name) {
			fronts[name] = program
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, notThere("docker-compose that was asked for")
	}
	// Shims have their sockets in a fixed folder below /run.
	if d.place, err = NewPlace("/run"); err != nil {
		return nil, err
	}
	d.group = filepath.Base(filepath.Dir(dir))
	d.env = append(os.Environ(), searchPath(folders), "DOCKER_HOST=unix://"+d.socket(), "HOME="+dir, "DOCKER_CONFIG="+dir+"/config",
		"DOCKER_MIN_API_VERSION=1.24", // docker-compose 1.29 speaks no newer one by itself
		"COMPOSE_API_VERSION=auto")
	if err := d.addBuildx(folders); err != nil {
		return nil, errors.Join(err, d.place.Close())
	}
	d.api = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", d.socket())
	}}}
	if err := d.start(ctx); err != nil {
		return nil, errors.Join(err, d.close(ctx))
	}
	version, err := d.version(ctx)
	if err != nil {
		return nil, errors.Join(err, d.close(ctx))
	}
	for i, name := range names {
		p := &Peer{Name: name, Version: version, Load: d.load, Start: d.start, Stop: d.stop, Shared: i > 0,
			argv: []string{fronts[name]}, env: d.env, place: d.place}
		if i == 0 {
			p.close = d.close
		}
		found = append(found, p)
	}
	return found, nil
}

// addBuildx makes buildx, if it is there, the plug-in that docker compose builds with.
func (d *docker) addBuildx(folders []string) error {
	program := Lookup(folders, "docker-buildx")
	if program == "" {
		return nil
	}
	plugins := filepath.Join(d.dir, "config/cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return err
	}
	return os.Symlink(program, filepath.Join(plugins, "docker-buildx"))
}

func (d *docker) socket() string { return d.dir + "/docker.sock" }

// start returns when the engine answers.
func (d *docker) start(ctx context.Context) error {
	if d.daemon != nil {
		return nil
	}
	settings := d.dir + "/daemon.json" // not the host's
	if err := os.WriteFile(settings, []byte("{}"), 0o644); err != nil {
		return err
	}
	log, err := os.OpenFile(d.dir+"/dockerd.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.program, "--config-file", settings, "--data-root", d.dir+"/data", "--exec-root", d.run,
		"--pidfile", d.dir+"/pid", "-H", "unix://"+d.socket(), "--cgroup-parent", "/"+d.group,
		"--live-restore") // or a stop of the engine stops containers
	cmd.Env, cmd.Dir = d.env, "/"
	cmd.Stdout, cmd.Stderr = log, log
	if err := d.place.Start(cmd); err != nil {
		return err
	}
	d.daemon, d.ended = cmd, make(chan error, 1)
	go func() { d.ended <- cmd.Wait() }()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := d.ask(ctx, http.MethodGet, "/_ping", nil); err == nil {
			return nil
		}
		select {
		case err := <-d.ended:
			d.daemon = nil
			return fmt.Errorf("dockerd ended: %w: %s", err, d.logged())
		default:
		}
	}
	return fmt.Errorf("dockerd does not answer: %s", d.logged())
}

func (d *docker) logged() string {
	text, err := os.ReadFile(d.dir + "/dockerd.log")
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text))
}

func (d *docker) stop(context.Context) error {
	if d.daemon == nil {
		return nil
	}
	if err := d.daemon.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case err := <-d.ended:
		d.daemon = nil
		if err != nil && !errors.As(err, new(*exec.ExitError)) { // its exit code says nothing that matters here
			return err
		}
		return nil
	case <-time.After(time.Minute):
		return errors.New("dockerd does not end")
	}
}

func (d *docker) ask(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, body)
	if err != nil {
		return nil, err
	}
	answer, err := d.api.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 400 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, bytes.TrimSpace(text))
	}
	return text, err
}

func (d *docker) version(ctx context.Context) (string, error) {
	text, err := d.ask(ctx, http.MethodGet, "/version", nil)
	if err != nil {
		return "", err
	}
	var v struct {
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return "", fmt.Errorf("versions of dockerd: %w", err)
	}
	var parts []string
	for _, c := range v.Components {
		parts = append(parts, c.Name+" "+c.Version)
	}
	return strings.Join(parts, ", "), nil
}

func (d *docker) load(ctx context.Context, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := d.ask(ctx, http.MethodPost, "/images/load?quiet=1", f)
	if err == nil && bytes.Contains(text, []byte(`"error"`)) {
		err = fmt.Errorf("load %s: %s", archive, text)
	}
	return err
}

// close removes the containers that are left, ends the engine and takes down its place.
func (d *docker) close(ctx context.Context) error {
	var errs []error
	if d.daemon != nil {
		text, err := d.ask(ctx, http.MethodGet, "/containers/json?all=1", nil)
		var list []struct{ ID string }
		if err == nil {
			err = json.Unmarshal(text, &list)
		}
		errs = append(errs, err)
		for _, c := range list {
			_, err := d.ask(ctx, http.MethodDelete, "/containers/"+c.ID+"?force=1", nil)
			errs = append(errs, err)
		}
		errs = append(errs, d.stop(ctx))
	}
	errs = append(errs, d.place.Close(), RemoveGroups(d.group))
	return errors.Join(errs...)
}
