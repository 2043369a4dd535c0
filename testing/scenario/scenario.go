package scenario

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/engine/client"
	"berth/testing/host"
	"berth/testing/registry"
)

// Scenario is one test's berth: an engine of its own, in a network of its own.
type Scenario struct {
	*testing.T
	// Root, State and Config are the engine's folders.
	Root, State, Config string
	// Network is where commands run, with the engine and its containers below it.
	Network *host.Namespace

	berth   string
	dir     string // all of the scenario's files
	env     []string
	before  host.Snapshot
	folders []*Folder
	others  []*host.Namespace // other hosts, which last as long as the scenario
	guest   bool              // the network is another scenario's, which audits it
}

// Option changes what New makes.
type Option func(*Scenario)

// In puts the scenario beside another one: a second engine in the same network.
func In(other *Scenario) Option {
	return func(s *Scenario) { s.Network, s.guest = other.Network, true }
}

// New gives a scenario of its own to the test, which runs beside others. It needs root.
func New(t *testing.T, options ...Option) *Scenario {
	t.Helper()
	host.Require(t, host.Root, host.NFTables)
	s := &Scenario{T: t}
	for _, o := range options {
		o(s)
	}
	if !s.guest {
		t.Parallel()
		s.Network = host.NewNamespace(t)
	}
	s.prepare()
	return s
}

func (s *Scenario) prepare() {
	s.Helper()
	if shared == nil {
		s.Fatal("TestMain must call scenario.Main")
	}
	var err error
	if s.berth, err = shared.berth(); err != nil {
		s.Fatal(err)
	}
	if err := shared.push(); err != nil {
		s.Fatal(err)
	}
	// Paths of unix sockets are at most 107 bytes long, so t.TempDir won't do, nor any folder for temporary files.
	temp := os.TempDir()
	if len(temp) > len("/dev/shm") {
		temp = "/tmp"
	}
	if s.dir, err = os.MkdirTemp(temp, "berth-"); err != nil {
		s.Fatal(err)
	}
	s.Root, s.State, s.Config = filepath.Join(s.dir, "root"), filepath.Join(s.dir, "s"), filepath.Join(s.dir, "config")
	home, hosts, empty := filepath.Join(s.dir, "home"), filepath.Join(s.Config, "certs.d"), filepath.Join(s.dir, "empty")
	for _, d := range []string{home, hosts, empty} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			s.Fatal(err)
		}
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		s.Fatal(err)
	}
	if err := shared.note(guarded{Dir: s.dir, Berth: s.berth, Root: s.Root, State: s.State, Config: s.Config}); err != nil {
		s.Fatal(err)
	}
	if err := shared.registry.WriteHosts(hosts); err != nil {
		s.Fatal(err)
	}
	s.env = []string{"PATH=" + empty, "HOME=" + home, "BERTH_ROOT=" + s.Root, "BERTH_STATE=" + s.State, "BERTH_CONFIG=" + s.Config}
	if !s.guest {
		s.forward(shared.registry.Addr)
	}
	if s.before, err = host.Observe(s.scope()); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(s.end)
}

func (s *Scenario) scope() host.Scope {
	return host.Scope{Root: s.Root, State: s.State, Group: "berth-" + client.EngineID(s.State), Network: s.Network, FoldersOnly: s.guest}
}

// forward makes a server of the test's process, at a loopback address, reachable at the same address in the scenario's network.
func (s *Scenario) forward(address string) {
	s.Helper()
	l, err := s.Network.Listen("tcp", address)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go splice(c, address)
		}
	}()
}

func splice(c net.Conn, address string) {
	defer c.Close()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, c) // an end of either side ends both
		_ = to.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, to)
}

// Registry runs a registry of the scenario's own, on loopback in its network.
func (s *Scenario) Registry(options ...registry.Option) *registry.Registry {
	s.Helper()
	r := registry.Start(s.T, options...)
	s.forward(r.Addr)
	return r
}

// RealImages makes these applications' images (see testing/images) available as those of docker.io.
func (s *Scenario) RealImages(names ...string) {
	s.Helper()
	shared.pushReal(s.T, names...)
}

// Step says what is to be true from here on; a failure is read below the last of these.
func (s *Scenario) Step(sentence string) {
	s.Helper()
	s.Log("— " + sentence)
}

// Eventually waits until f gives no error; it fails the test with the last one if that takes longer than a time
// that is ample on a busy machine.
func (s *Scenario) Eventually(sentence string, f func() error) {
	s.Helper()
	s.Within(2*time.Minute, sentence, f)
}

// Within is Eventually with a time of the caller's.
func (s *Scenario) Within(limit time.Duration, sentence string, f func() error) {
	s.Helper()
	var err error
	pause := 5 * time.Millisecond
	for end := time.Now().Add(limit); ; time.Sleep(pause) {
		if err = f(); err == nil {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("%s: not after %v: %v", sentence, limit, err)
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// Client connects to the scenario's engine, which must be running.
func (s *Scenario) Client() *client.Client {
	s.Helper()
	c, err := client.Connect(s.Context(), client.Config{Root: s.Root, State: s.State, Config: s.Config, NoStart: true})
	if err != nil {
		s.Fatalf("connect to the engine: %v", err)
	}
	s.Cleanup(func() { _ = c.Close() })
	return c
}

// EnginePid is the engine's process.
func (s *Scenario) EnginePid() int {
	s.Helper()
	v, err := s.Client().Version(s.Context())
	if err != nil {
		s.Fatalf("ask the engine for its version: %v", err)
	}
	return v.Pid
}

// KillEngine kills the engine with SIGKILL and waits until the process is gone.
func (s *Scenario) KillEngine() {
	s.Helper()
	pid := s.EnginePid()
	p, err := os.FindProcess(pid)
	if err != nil {
		s.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		s.Fatalf("kill the engine: %v", err)
	}
	s.Eventually("the engine's process is gone", func() error {
		if running(pid) {
			return errStillThere
		}
		return nil
	})
}

// HTTP is a client in the scenario's network. It keeps no connection: each request can meet another replica.
func (s *Scenario) HTTP() *http.Client {
	return &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.Network.Dial(ctx, network, address)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Get gives the body, without its final newline, of what must be status 200.
func (s *Scenario) Get(url string) (string, error) {
	r, err := s.HTTP().Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	if r.StatusCode != http.StatusOK {
		return "", &statusError{url, r.StatusCode, string(body)}
	}
	return strings.TrimSuffix(string(body), "\n"), nil
}

// MustGet waits until the URL answers with status 200.
func (s *Scenario) MustGet(url string) (body string) {
	s.Helper()
	s.Eventually(url+" answers", func() (err error) { body, err = s.Get(url); return err })
	return body
}

// Program is the path of the one file.
func (s *Scenario) Program() string { return s.berth }

// Rebase makes the host as it is now what the audit compares with: for what the test itself puts there.
func (s *Scenario) Rebase() {
	s.Helper()
	var err error
	if s.before, err = host.Observe(s.scope()); err != nil {
		s.Fatal(err)
	}
}

// OtherHost is a network without any link to this one, yet: see host.Namespace.Connect. It lasts until the audit is done.
func (s *Scenario) OtherHost() *host.Namespace {
	s.Helper()
	n, err := host.OpenNamespace()
	if err != nil {
		s.Fatal(err)
	}
	s.others = append(s.others, n)
	return n
}
