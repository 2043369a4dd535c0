package image

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

// RegistryHost is the registry that a user names to log in: "" and all names of Docker Hub are "docker.io"; a scheme and
// a path are left out.
func RegistryHost(name string) string {
	for _, scheme := range []string{"https://", "http://"} {
		name = strings.TrimPrefix(name, scheme)
	}
	name, _, _ = strings.Cut(name, "/")
	switch name {
	case "", "index.docker.io", "registry-1.docker.io", "hub.docker.com":
		return "docker.io"
	}
	return name
}

// Login checks user and secret against a registry, given as RegistryHost reads it, and keeps nothing. identityToken is
// what the registry wants to be shown from now on instead of the secret; "" if it gives none.
func (s *Store) Login(ctx context.Context, host, user, secret string) (identityToken string, err error) {
	host = RegistryHost(host)
	fail := func(err error) error {
		return registryError(opLogin, Reference{Domain: host}, host, s.cfg.HostsDir, err)
	}
	if user == "" || secret == "" {
		return "", &Error{Op: opLogin, Ref: host, Class: errdefs.ErrInvalidArgument, Reason: "user or password is empty"}
	}
	var mu sync.Mutex
	given := func(string) (string, string, error) { return user, secret, nil }
	list, err := s.endpoints(ctx, host, given, docker.WithFetchRefreshToken(func(_ context.Context, token string, _ *http.Request) {
		mu.Lock()
		identityToken = token
		mu.Unlock()
	}))
	if err != nil {
		return "", fail(err)
	}
	if len(list) == 0 {
		return "", fail(fmt.Errorf("no address of it is configured: %w", errdefs.ErrNotFound))
	}
	registry := list[len(list)-1] // those before it are its mirrors
	defer registry.Client.CloseIdleConnections()
	if err := knock(ctx, registry); err != nil {
		return "", fail(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return identityToken, nil
}

// knock asks for the root of the registry's API, and once more with the authorization that the answer wants.
func knock(ctx context.Context, h docker.RegistryHost) error {
	first, err := get(ctx, h)
	if err != nil {
		return err
	}
	if first.StatusCode != http.StatusUnauthorized {
		return statusError(first)
	}
	if err := h.Authorizer.AddResponses(ctx, []*http.Response{first}); err != nil {
		return err
	}
	second, err := get(ctx, h)
	if err != nil {
		return err
	}
	return statusError(second)
}

// get sends one request, and gives the answer with its body read.
func get(ctx context.Context, h docker.RegistryHost) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s://%s%s/", h.Scheme, h.Host, strings.TrimSuffix(h.Path, "/")), nil)
	if err != nil {
		return nil, err
	}
	req.Header = userAgent()
	for k, v := range h.Header {
		req.Header[k] = v
	}
	if err := h.Authorizer.Authorize(ctx, req); err != nil {
		return nil, err
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp, err
}

func statusError(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", resp.Request.URL, errdefs.ErrNotFound)
	}
	return remoteerrors.ErrUnexpectedStatus{Status: resp.Status, StatusCode: resp.StatusCode, RequestURL: resp.Request.URL.String(), RequestMethod: resp.Request.Method}
}
