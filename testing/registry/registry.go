package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // the access controller by that name
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the drivers by those names
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"golang.org/x/crypto/bcrypt"
)

// Registry is a running registry.
type Registry struct {
	// Addr is "127.0.0.1:port".
	Addr string

	app    *handlers.App
	server *http.Server
	client *http.Client
	scheme string
	user   string
	secret string
	tokens *tokens
	ca     []byte
	signer *authority

	mu       sync.Mutex
	faults   []*Fault
	requests []*Request
}

// Request is one that the registry got.
type Request struct {
	Method, Path, Range, User string
	// Sent are the bytes of the answer's body so far.
	Sent int64
}

// Option changes what Start makes.
type Option func(*options)

type options struct {
	folder       string
	user, secret string
	tokens       bool
	open         bool
	tls          bool
	clientCerts  bool
	addr         string
	reached      []string
}

// InFolder keeps the registry's data in a folder instead of in memory: for images of more than a few megabytes, and
// to have them again the next time.
func InFolder(path string) Option { return func(o *options) { o.folder = path } }

// WithLogin lets only one user in, by basic authentication.
func WithLogin(user, secret string) Option {
	return func(o *options) { o.user, o.secret = user, secret }
}

// WithTokens lets only one user in, by tokens that the registry hands out itself; ForgetTokens ends what they are good for.
func WithTokens(user, secret string) Option {
	return func(o *options) { o.user, o.secret, o.tokens = user, secret, true }
}

// PullsForAll has a registry with tokens give everyone those for pulls, as docker.io does.
func PullsForAll() Option { return func(o *options) { o.open = true } }

// WithClientCertificates has the registry speak TLS with those only who show a certificate of its own authority, which
// ClientCertificate makes.
func WithClientCertificates() Option { return func(o *options) { o.tls, o.clientCerts = true, true } }

// WithTLS has the registry speak TLS with a certificate of an authority of its own, which HostsDir makes known.
func WithTLS() Option { return func(o *options) { o.tls = true } }

// At has the registry listen on an address instead of a free loopback port: in a network namespace that the caller is in.
func At(addr string) Option { return func(o *options) { o.addr = addr } }

// ReachedAt has the registry's certificate be good for further addresses.
func ReachedAt(ips ...string) Option { return func(o *options) { o.reached = ips } }

// Start runs a registry until the test ends.
func Start(t testing.TB, opts ...Option) *Registry {
	t.Helper()
	r, err := Run(t.TempDir(), opts...)
	if err != nil {
		t.Fatalf("start a registry: %v", err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// Run is Start for programs that are no tests: scratch is a folder for small files. The caller calls Close.
func Run(scratch string, opts ...Option) (*Registry, error) {
	o := options{addr: "127.0.0.1:0"}
	for _, opt := range opts {
		opt(&o)
	}
	cfg := &configuration.Configuration{Storage: configuration.Storage{
		"delete":      {"enabled": true},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}}
	cfg.HTTP.Secret = "only for tests"
	cfg.Validation.Disabled = false
	cfg.Validation.Manifests.Indexes.Platforms = "none"     // indexes with platforms that were not pushed
	cfg.Validation.Manifests.URLs.Allow = []string{"^http"} // layers that are elsewhere
	if o.folder != "" {
		cfg.Storage["filesystem"] = configuration.Parameters{"rootdirectory": o.folder}
	} else {
		cfg.Storage["inmemory"] = configuration.Parameters{}
	}
	r := &Registry{scheme: "http", user: o.user, secret: o.secret}
	if o.tokens {
		r.tokens = &tokens{open: o.open}
	} else if o.user != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(o.secret), bcrypt.MinCost)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(scratch, "htpasswd")
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s:%s\n", o.user, hash), 0o600); err != nil {
			return nil, err
		}
		cfg.Auth = configuration.Auth{"htpasswd": {"realm": "test", "path": file}}
	}
	listener, err := net.Listen("tcp", o.addr)
	if err != nil {
		return nil, err
	}
	r.Addr = listener.Addr().String()
	transport := &http.Transport{}
	if o.tls {
		host, _, _ := net.SplitHostPort(r.Addr)
		if r.signer, err = newAuthority(); err != nil {
			listener.Close()
			return nil, err
		}
		cert, err := r.signer.certificate(host, x509.ExtKeyUsageServerAuth, o.reached...)
		if err != nil {
			listener.Close()
			return nil, err
		}
		r.scheme, r.ca = "https", r.signer.pem()
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(r.ca)
		serve, ask := &tls.Config{Certificates: []tls.Certificate{cert}}, &tls.Config{RootCAs: pool}
		if o.clientCerts {
			serve.ClientAuth, serve.ClientCAs = tls.RequireAndVerifyClientCert, pool
			own, err := r.signer.certificate("pusher", x509.ExtKeyUsageClientAuth)
			if err != nil {
				listener.Close()
				return nil, err
			}
			ask.Certificates = []tls.Certificate{own}
		}
		listener = tls.NewListener(listener, serve)
		transport.TLSClientConfig = ask
	}
	r.client = &http.Client{Transport: transport}
	r.app = handlers.NewApp(context.Background(), cfg)
	r.server = &http.Server{Handler: r, ErrorLog: log.New(io.Discard, "", 0)}
	go r.server.Serve(listener) // ends with Close
	return r, nil
}

// Close ends the registry and all its connections.
func (r *Registry) Close() error {
	err := r.server.Close()
	r.client.CloseIdleConnections()
	if e := r.app.Shutdown(); err == nil {
		err = e
	}
	return err
}

// ServeHTTP is the registry behind the faults.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	user, _, _ := req.BasicAuth()
	asked := &Request{Method: req.Method, Path: req.URL.Path, Range: req.Header.Get("Range"), User: user}
	r.mu.Lock()
	r.requests = append(r.requests, asked)
	fault := r.faultFor(req)
	r.mu.Unlock()
	w = &counter{w, func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		asked.Sent += int64(n)
	}}
	if r.tokens != nil && !r.admit(w, req) {
		return
	}
	if fault != nil {
		w = fault.spoil(w, req)
		if w == nil {
			return
		}
	}
	r.app.ServeHTTP(w, req)
}

// counter tells how much of an answer was written.
type counter struct {
	http.ResponseWriter
	sent func(n int)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Flush is http.Flusher.
func (c *counter) Flush() { _ = http.NewResponseController(c.ResponseWriter).Flush() }

// Requests gives what was asked of the registry so far: all requests with that method ("" is any) and a path that has part in it.
func (r *Registry) Requests(method, part string) []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Request
	for _, q := range r.requests {
		if (method == "" || q.Method == method) && strings.Contains(q.Path, part) {
			list = append(list, *q)
		}
	}
	return list
}

// ForgetRequests starts the record of requests anew.
func (r *Registry) ForgetRequests() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = nil
}

// HostsDir writes a folder in the form of certs.d that makes the registry the mirror of docker.io, and makes its
// certificate known, and gives the folder's path.
func (r *Registry) HostsDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := r.WriteHosts(dir); err != nil {
		t.Fatalf("write registry configuration: %v", err)
	}
	return dir
}

// WriteHosts writes what HostsDir makes into a folder of the caller's.
func (r *Registry) WriteHosts(dir string) error {
	ca := ""
	if r.ca != nil {
		file := filepath.Join(dir, "test-ca.crt")
		if err := os.WriteFile(file, r.ca, 0o644); err != nil {
			return err
		}
		ca = fmt.Sprintf("ca = %q\n", file)
	}
	url := r.scheme + "://" + r.Addr
	// docker.io itself is not to be asked when the mirror doesn't have an image: server names the mirror again.
	files := map[string]string{
		"docker.io": fmt.Sprintf("server = %q\ncapabilities = [\"pull\", \"resolve\"]\n%s", url, ca),
		r.Addr:      fmt.Sprintf("server = %q\n%s", url, ca),
	}
	for host, text := range files {
		folder := filepath.Join(dir, host)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// DockerConfig writes a folder with a config.json that has the registry's login, and gives its path.
func (r *Registry) DockerConfig(t testing.TB) string {
	t.Helper()
	return DockerConfig(t, r.Addr, r.user, r.secret)
}

// DockerConfig writes a folder with a config.json that has a login for a host, and gives its path.
func DockerConfig(t testing.TB, host, user, secret string) string {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))
	b, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": auth}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// do sends a request as the registry's user and wants a status.
func (r *Registry) do(method, url string, body io.Reader, size int64, mediaType string, status int) (*http.Response, error) {
	if strings.HasPrefix(url, "/") {
		url = r.scheme + "://" + r.Addr + url
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	switch {
	case r.tokens != nil:
		req.Header.Set("Authorization", "Bearer "+r.tokens.issue(nil))
	case r.user != "":
		req.SetBasicAuth(r.user, r.secret)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != status {
		return resp, fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	return resp, nil
}
