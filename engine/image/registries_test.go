package image_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"berth/engine/credentials"
	"berth/engine/image"
	"berth/testing/registry"
)

func small(name string) *registry.Image {
	return registry.Scratch(name, map[string]registry.File{"bin/app": registry.Text("app of " + name)})
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

func TestARegistryWithLoginIsPulledFromWithTheCallersCredentials(t *testing.T) {
	h, r := newHost(t), registry.Start(t, registry.WithLogin("ann", "secret"))
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)

	_, err := s.Pull(ctx, "web", image.PullOptions{})
	if !errdefs.IsPermissionDenied(err) || !strings.Contains(hintOf(err), "berth login") {
		t.Errorf("without credentials: %v (%s)", err, hintOf(err))
	}
	wrong := registry.DockerConfig(t, r.Addr, "ann", "guess")
	_, err = s.Pull(ctx, "web", image.PullOptions{Credentials: credentials.Config{Folder: wrong}})
	if !errdefs.IsUnauthorized(err) && !errdefs.IsPermissionDenied(err) {
		t.Errorf("with a wrong password: %v", err)
	}
	if _, err = s.Pull(ctx, "web", image.PullOptions{Credentials: credentials.Config{Folder: r.DockerConfig(t)}}); err != nil {
		t.Errorf("with the right password: %v", err)
	}
}

func TestARegistryWithTokensIsPulledFrom(t *testing.T) {
	h, r := newHost(t), registry.Start(t, registry.WithTokens("ann", "secret"))
	web := large("web", 50)
	r.Push(t, web)
	s := newStore(t, h, r)
	_, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{})
	if !errdefs.IsUnauthorized(err) && !errdefs.IsPermissionDenied(err) || !strings.Contains(hintOf(err), "berth login") {
		t.Errorf("without credentials: %v (%s)", err, hintOf(err))
	}
	_, err = s.Pull(deadline(h.ctx, t), "web", image.PullOptions{Credentials: credentials.Config{Folder: registry.DockerConfig(t, r.Addr, "ann", "guess")}})
	if !errdefs.IsUnauthorized(err) && !errdefs.IsPermissionDenied(err) {
		t.Errorf("with a wrong password: %v", err)
	}
	// The connection breaks, and by the time of the next request the token is no longer good.
	r.Fault(registry.Fault{Path: web.LayerDigest(0).String(), Cut: 300_000, Times: 1, Before: r.ForgetTokens})
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{Credentials: credentials.Config{Folder: r.DockerConfig(t)}}); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	if n := len(r.Requests("", "/token")); n < 4 {
		t.Errorf("only %d tokens were asked for: none after the first had run out", n)
	}
}

func TestCredentialsComeFromAHelperProgram(t *testing.T) {
	h, r := newHost(t), registry.Start(t, registry.WithLogin("ann", "secret"))
	r.Push(t, small("web"))
	bin, cfg := t.TempDir(), t.TempDir()
	helper := "#!/bin/sh\nread host\nprintf '{\"ServerURL\":\"%s\",\"Username\":\"ann\",\"Secret\":\"%s\"}' \"$host\" \"$CLOUD_SECRET\"\n"
	write(t, filepath.Join(bin, "docker-credential-test"), helper, 0o755)
	login := credentials.Config{Folder: cfg, Environment: []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "CLOUD_SECRET=secret"}}
	for name, config := range map[string]string{
		"credHelpers": fmt.Sprintf(`{"credHelpers": {%q: "test"}}`, r.Addr),
		"credsStore":  `{"credsStore": "test"}`,
	} {
		write(t, filepath.Join(cfg, "config.json"), config, 0o600)
		if _, err := newStore(t, h, r).Pull(deadline(h.ctx, t), "web", image.PullOptions{Credentials: login, Force: true}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(t, filepath.Join(cfg, "config.json"), `{"credsStore": "absent"}`, 0o600)
	_, err := newStore(t, h, r).Pull(deadline(h.ctx, t), "web", image.PullOptions{Credentials: login, Force: true})
	if !errdefs.IsUnauthorized(err) || !strings.Contains(err.Error(), "docker-credential-absent") {
		t.Errorf("with a helper that is not installed: %v", err)
	}
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestARegistrysOwnAuthorityIsTrustedWhenConfigured(t *testing.T) {
	h, r := newHost(t), registry.Start(t, registry.WithTLS())
	r.Push(t, small("web"))
	if _, err := newStore(t, h, r).Pull(deadline(h.ctx, t), "web", image.PullOptions{}); err != nil {
		t.Errorf("with the certificate configured: %v", err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "docker.io", "hosts.toml"), fmt.Sprintf("server = \"https://%s\"\n", r.Addr), 0o644)
	s := image.New(image.Config{Client: h.client, Snapshotter: "overlayfs", HostsDir: dir})
	_, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{Force: true})
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "certificate") || !strings.Contains(hintOf(err), "ca.crt") {
		t.Errorf("without the certificate: %v (%s)", err, hintOf(err))
	}
}

func TestAMirrorThatFailsIsPassedOver(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	dir := t.TempDir()
	write(t, filepath.Join(dir, "docker.io", "hosts.toml"),
		fmt.Sprintf("server = \"http://%s\"\n[host.\"http://127.0.0.1:1\"]\n", r.Addr), 0o644)
	s := image.New(image.Config{Client: h.client, Snapshotter: "overlayfs", HostsDir: dir})
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{}); err != nil {
		t.Error(err)
	}
}

func TestARegistryOnLoopbackNeedsNoConfiguration(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	s := image.New(image.Config{Client: h.client, Snapshotter: "overlayfs"})
	img, err := s.Pull(deadline(h.ctx, t), r.Addr+"/library/web", image.PullOptions{})
	if err != nil || img.Name != r.Addr+"/library/web:latest" {
		t.Errorf("%s, %v", img.Name, err)
	}
}

func TestABrokenRegistryConfigurationIsNotPassedOver(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	for text, want := range map[string]string{
		"server = \n":                           "line 1",
		"capabilities = [\"pul\"]\n":            `unknown capability "pul"`,
		"[host.\"http://x:y\"]\n":               `server "http://x:y" is no URL`,
		"[host.\"http://x\"]\ncapabilities=1\n": "hosts.toml",
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "docker.io", "hosts.toml"), text, 0o644)
		s := image.New(image.Config{Client: h.client, Snapshotter: "overlayfs", HostsDir: dir})
		_, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{})
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "docker.io/hosts.toml") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestWhatStopsAPullIsSaidInOneSentenceWithAWayOut(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"), small("chart"))
	r.PushManifest(t, "chart", "application/vnd.oci.image.manifest.v1+json", []byte(`{"schemaVersion":2,
		"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.cncf.helm.config.v1+json",
		"digest":"`+string(small("chart").ID())+`","size":2},"layers":[]}`))
	s := newStore(t, h, r)
	for _, c := range []struct {
		when      string
		ref       string
		fault     registry.Fault
		class     func(error) bool
		say, hint string
	}{
		{when: "no such tag", ref: "web:9", class: errdefs.IsNotFound,
			say: `pull image "web:9": docker.io has no such image or tag`, hint: "check the spelling of name and tag"},
		{when: "no such repository", ref: "nobody/web", class: errdefs.IsNotFound,
			say: `pull image "nobody/web": docker.io has no such image or tag`, hint: "check the spelling"},
		{when: "nobody listens", ref: "127.0.0.1:1/web", class: errdefs.IsUnavailable,
			say: `pull image "127.0.0.1:1/web": registry 127.0.0.1:1 can't be reached: dial tcp 127.0.0.1:1: connect: connection refused`, hint: "check that it runs"},
		{when: "no such host", ref: "registry.invalid/web", class: errdefs.IsUnavailable,
			say: `pull image "registry.invalid/web": registry registry.invalid can't be reached: no address found for registry.invalid`, hint: "mirror"},
		{when: "too many pulls", ref: "web", fault: registry.Fault{Method: "HEAD", Path: "/manifests/", Status: 429}, class: errdefs.IsUnavailable,
			say: `pull image "web": docker.io allows no more pulls for now`, hint: "berth login"},
		{when: "the registry is ill", ref: "web", fault: registry.Fault{Method: "HEAD", Path: "/manifests/", Status: 503}, class: errdefs.IsUnavailable,
			say: `pull image "web": docker.io answered 503 Service Unavailable`, hint: "later"},
		{when: "the registry denies a blob", ref: "web", class: errdefs.IsPermissionDenied,
			fault: registry.Fault{Path: "/blobs/", Status: 403, Body: `{"errors":[{"code":"DENIED","message":"not on Sundays"}]}`},
			say:   `pull image "web": docker.io refuses access: the image does not exist there, or it is private (not on Sundays)`, hint: "berth login"},
		{when: "a Helm chart", ref: "chart", class: errdefs.IsInvalidArgument,
			say: `pull image "chart": it is no container image (application/vnd.cncf.helm.config.v1+json)`},
	} {
		t.Run(c.when, func(t *testing.T) {
			r.ClearFaults()
			if c.fault.Status != 0 {
				r.Fault(c.fault)
			}
			_, err := s.Pull(deadline(h.ctx, t), c.ref, image.PullOptions{})
			if err == nil || err.Error() != c.say || !c.class(err) || !strings.Contains(hintOf(err), c.hint) {
				t.Errorf("got  %v\nwant %s\nhint %q, wanted %q; class %v", err, c.say, hintOf(err), c.hint, err != nil && c.class(err))
			}
		})
	}
	h.collect()
	if left := h.remains("overlayfs"); len(left) > 0 {
		t.Errorf("pulls that were refused left %v", left)
	}
}

func TestAnImageInTheOldFormatIsRefused(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	s := newStore(t, h, r)
	old := `{"schemaVersion":1,"name":"old","tag":"latest","fsLayers":[{"blobSum":"` + someDigest + `"}],"history":[]}`
	for _, mediaType := range []string{"application/vnd.docker.distribution.manifest.v1+prettyjws", "application/vnd.docker.distribution.manifest.v1+json"} {
		r.ClearFaults()
		r.Fault(registry.Fault{Method: "HEAD", Path: "/manifests/", Status: 200, Body: old, MediaType: mediaType, Digest: someDigest})
		_, err := s.Pull(deadline(context.Background(), t), "old", image.PullOptions{})
		if !errdefs.IsNotImplemented(err) || err.Error() != `pull image "old": it is in the old schema 1 format, which is not supported` {
			t.Errorf("%s: %v", mediaType, err)
		}
	}
}
