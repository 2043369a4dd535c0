package image_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"

	"berth/engine/credentials"
	"berth/engine/image"
	"berth/testing/registry"
)

// pulledAs pulls an image and gives it a name in the registry itself, by its address.
func pulledAs(t testing.TB, h *host, s *image.Store, r *registry.Registry, name, as string) string {
	t.Helper()
	pull(t, s, name)
	full := r.Addr + "/" + as
	if err := s.Tag(h.ctx, name, full); err != nil {
		t.Fatal(err)
	}
	return full
}

// sent counts the bodies of blobs that the registry was sent.
func sent(r *registry.Registry) int { return len(r.Requests("PUT", "/blobs/uploads/")) }

func TestAPushedImageIsPulledAgainAsItWas(t *testing.T) {
	h, from, to := newHost(t), registry.Start(t), registry.Start(t)
	web := large("web", 60).Add(registry.Zstd, map[string]registry.File{"z": registry.Text("z")}).
		Add(registry.Plain, map[string]registry.File{"p": registry.Text("p")})
	web.Layers[1].Annotations = map[string]string{"io.example.note": "kept"}
	from.Push(t, web)
	s := newStore(t, h, from)
	ref := pulledAs(t, h, s, to, "web", "team/web:1")
	var mu sync.Mutex
	seen := map[string][]image.Progress{}
	got, err := s.Push(deadline(h.ctx, t), ref, image.PushOptions{Progress: func(p image.Progress) {
		mu.Lock()
		defer mu.Unlock()
		seen[p.Layer] = append(seen[p.Layer], p)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != web.Digest() || got.Name != ref || got.Only != "" || got.Size == 0 {
		t.Errorf("pushed %+v", got)
	}
	if sent(to) != 4 {
		t.Errorf("%d blobs were sent, want three layers and a configuration", sent(to))
	}
	for n := range web.Layers {
		list := seen[web.LayerDigest(n).Encoded()[:12]]
		if len(list) < 2 || list[0].Status != image.Uploading || list[len(list)-1].Status != image.Done {
			t.Errorf("progress of layer %d: %+v", n, list)
		}
	}
	if list := seen[""]; len(seen) != 4 || list[len(list)-1].Status != image.Done {
		t.Errorf("progress of %d things; the image's: %+v", len(seen), list)
	}
	other := newHost(t)
	img, err := newStore(t, other, to).Pull(deadline(other.ctx, t), ref, image.PullOptions{})
	if err != nil || img.Digest != web.Digest() || img.ID != web.ID() {
		t.Errorf("pulled again: %+v, %v", img, err)
	}
	to.ForgetRequests()
	if _, err := s.Push(deadline(h.ctx, t), ref, image.PushOptions{}); err != nil || sent(to) != 0 || len(to.Requests("PUT", "")) != 0 {
		t.Errorf("pushed once more: %v; sent was %v", err, to.Requests("PUT", ""))
	}
	if left := leasesOf(h); len(left) > 0 {
		t.Errorf("leases are left: %v", left)
	}
}

func TestWhatAnotherRepositoryHasIsMounted(t *testing.T) {
	h := newHost(t)
	r := registry.Start(t, registry.WithTokens("ann", "secret"))
	r.Push(t, large("web", 61))
	s := newStore(t, h, r)
	ctx, login := deadline(h.ctx, t), r.DockerConfig(t)
	if _, err := s.Pull(ctx, r.Addr+"/library/web", image.PullOptions{Credentials: credentials.Config{Folder: login}}); err != nil {
		t.Fatal(err)
	}
	second := r.Addr + "/team/web:2"
	if err := s.Tag(ctx, r.Addr+"/library/web", second); err != nil {
		t.Fatal(err)
	}
	var last image.Progress
	_, err := s.Push(ctx, second, image.PushOptions{Credentials: credentials.Config{Folder: login}, Progress: func(p image.Progress) {
		if p.Layer != "" {
			last = p
		}
	}})
	if err != nil || sent(r) != 2 || last.Status != image.Mounted {
		// Two were sent when the registry was filled.
		t.Errorf("%v; %d blobs were sent; the layer was at last %q", err, sent(r)-2, last.Status)
	}
	if _, err := s.Push(ctx, second, image.PushOptions{}); !errdefs.IsUnauthorized(err) && !errdefs.IsPermissionDenied(err) {
		t.Errorf("without a login: %v", err)
	}
}

func TestSeveralPlatformsArePushedIfAllAreHere(t *testing.T) {
	h, from, to := newHost(t), registry.Start(t), registry.Start(t)
	here, there := small("web"), otherPlatform("web", "there")
	index := from.PushIndex(t, "web", there, here)
	s := newStore(t, h, from)
	ctx := deadline(h.ctx, t)
	ref := pulledAs(t, h, s, to, "web", "web:1")
	got, err := s.Push(ctx, ref, image.PushOptions{})
	if err != nil || got.Digest != here.Digest() || got.Only == "" {
		t.Errorf("one of two platforms is here: %+v, %v", got, err)
	}
	if _, err := s.Push(ctx, ref, image.PushOptions{Platform: "linux/" + otherArchitecture()}); !errdefs.IsNotFound(err) {
		t.Errorf("the platform that is not here: %v", err)
	}
	if _, err := s.Pull(ctx, "web", image.PullOptions{Platform: "linux/" + otherArchitecture()}); err != nil {
		t.Fatal(err)
	}
	got, err = s.Push(ctx, ref, image.PushOptions{})
	if err != nil || got.Digest != index || got.Only != "" {
		t.Errorf("both platforms are here: %+v, %v", got, err)
	}
	got, err = s.Push(ctx, ref, image.PushOptions{Platform: "linux/" + otherArchitecture()})
	if err != nil || got.Digest != there.Digest() || got.Only != "linux/"+otherArchitecture() {
		t.Errorf("one of them was asked for: %+v, %v", got, err)
	}
}

func TestAPushGoesOnAfterABrokenConnection(t *testing.T) {
	h, from, to := newHost(t), registry.Start(t), registry.Start(t)
	from.Push(t, large("web", 62))
	s := newStore(t, h, from)
	ref := pulledAs(t, h, s, to, "web", "web:1")
	to.Fault(registry.Fault{Method: "PUT", Path: "/blobs/uploads/", Times: 1, Status: 503})
	to.Fault(registry.Fault{Method: "PUT", Path: "/manifests/", Times: 1, Status: 502})
	if _, err := s.Push(deadline(h.ctx, t), ref, image.PushOptions{}); err != nil {
		t.Error(err)
	}
}

func TestALayerThatIsElsewhereIsFetchedThereAndNotPassedOn(t *testing.T) {
	h, r, to := newHost(t), registry.Start(t), registry.Start(t)
	web := small("web").Add(registry.Gzip, map[string]registry.File{"licensed": registry.Text("l")})
	holder := registry.Scratch("holder", nil)
	holder.Layers = append(holder.Layers, web.Layers[1])
	r.Push(t, holder)
	web.Layers[1].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	web.Layers[1].URLs = []string{fmt.Sprintf("http://%s/v2/library/holder/blobs/%s", r.Addr, web.LayerDigest(1))}
	r.Push(t, web)
	s := newStore(t, h, r)
	ref := pulledAs(t, h, s, to, "web", "web:1")
	if q := r.Requests("GET", "/library/holder/blobs/"); len(q) != 1 {
		t.Errorf("it was fetched %d times from where it is", len(q))
	}
	if _, err := s.Push(deadline(h.ctx, t), ref, image.PushOptions{}); err != nil || sent(to) != 2 {
		t.Errorf("pushed: %v; %d blobs were sent, want one layer and the configuration", err, sent(to))
	}
}

func TestAddressesInManifestsAreNotFollowedForOtherLayers(t *testing.T) {
	h, r, elsewhere := newHost(t), registry.Start(t), registry.Start(t)
	web := small("web")
	holder := registry.Scratch("web", nil)
	holder.Layers = append(holder.Layers, web.Layers[0])
	r.Push(t, holder) // the blob
	web.Layers[0].URLs = []string{"http://" + elsewhere.Addr + "/secret"}
	r.Push(t, web)
	if _, err := newStore(t, h, r).Pull(deadline(h.ctx, t), "web", image.PullOptions{}); err != nil {
		t.Error(err)
	}
	if q := elsewhere.Requests("", ""); len(q) > 0 {
		t.Errorf("another server was asked: %v", q)
	}
}

func TestWhatStopsAPushIsSaidInOneSentenceWithAWayOut(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	ref := pulledAs(t, h, s, r, "web", "team/web:1")
	dead := "127.0.0.1:1/web:1"
	if err := s.Tag(h.ctx, "web", dead); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		when, ref string
		fault     registry.Fault
		class     func(error) bool
		say, hint string
	}{
		{when: "it is not here", ref: "nothing:1", class: errdefs.IsNotFound, say: `push image "nothing:1": there is no such image on this host`, hint: "image ls"},
		{when: "a digest", ref: "web@" + someDigest, class: errdefs.IsInvalidArgument,
			say: `push image "web@` + someDigest + `": a digest can't be given to an image`, hint: "by tag"},
		{when: "nobody listens", ref: dead, class: errdefs.IsUnavailable,
			say: `push image "127.0.0.1:1/web:1": registry 127.0.0.1:1 can't be reached: dial tcp 127.0.0.1:1: connect: connection refused`, hint: "check that it runs"},
		{when: "it may not be pushed to", ref: ref, class: errdefs.IsPermissionDenied,
			fault: registry.Fault{Method: "POST", Path: "/blobs/uploads/", Status: 403, Body: `{"errors":[{"code":"DENIED","message":"read only"}]}`},
			say:   fmt.Sprintf(`push image %q: %s refuses access: pushing to team/web is not allowed (read only)`, ref, r.Addr), hint: "berth login " + r.Addr},
		{when: "a mirror only", ref: "web", class: errdefs.IsNotFound,
			say: `push image "web": docker.io has no such repository, or takes no images`, hint: "capabilities"},
	} {
		t.Run(c.when, func(t *testing.T) {
			r.ClearFaults()
			if c.fault.Status != 0 {
				r.Fault(c.fault)
			}
			_, err := s.Push(deadline(h.ctx, t), c.ref, image.PushOptions{})
			if err == nil || err.Error() != c.say || !c.class(err) || !strings.Contains(hintOf(err), c.hint) {
				t.Errorf("got  %v\nwant %s\nhint %q, wanted %q; class %v", err, c.say, hintOf(err), c.hint, err != nil && c.class(err))
			}
		})
	}
	if left := leasesOf(h); len(left) > 0 {
		t.Errorf("leases are left: %v", left)
	}
}

func TestALoginIsCheckedByTheRegistry(t *testing.T) {
	h := newHost(t)
	for name, opt := range map[string]registry.Option{
		"basic":  registry.WithLogin("ann", "secret"),
		"tokens": registry.WithTokens("ann", "secret"),
	} {
		t.Run(name, func(t *testing.T) {
			r := registry.Start(t, opt)
			r.Push(t, small("web"))
			s := newStore(t, h, r)
			for _, host := range []string{r.Addr, "http://" + r.Addr + "/v2/", "docker.io", ""} {
				identity, err := s.Login(deadline(h.ctx, t), host, "ann", "secret")
				if err != nil || (identity != "") != (name == "tokens") {
					t.Errorf("%q: identity token %q, %v", host, identity, err)
				}
			}
			_, err := s.Login(deadline(h.ctx, t), r.Addr, "ann", "guess")
			if !errdefs.IsUnauthorized(err) || !strings.HasPrefix(err.Error(), fmt.Sprintf(`log in to %q: wrong user or password`, r.Addr)) {
				t.Errorf("with a wrong password: %v", err)
			}
		})
	}
	s := newStore(t, h, nil)
	if _, err := s.Login(deadline(h.ctx, t), "127.0.0.1:1", "ann", "secret"); !errdefs.IsUnavailable(err) || hintOf(err) == "" {
		t.Errorf("where nobody listens: %v", err)
	}
	if _, err := s.Login(h.ctx, "127.0.0.1:1", "ann", ""); !errdefs.IsInvalidArgument(err) {
		t.Errorf("without a password: %v", err)
	}
}

func TestAnIdentityTokenTakesThePasswordsPlace(t *testing.T) {
	h, r := newHost(t), registry.Start(t, registry.WithTokens("ann", "secret"))
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	identity, err := s.Login(deadline(h.ctx, t), r.Addr, "ann", "secret")
	if err != nil {
		t.Fatal(err)
	}
	cfg := t.TempDir()
	write(t, filepath.Join(cfg, "config.json"), fmt.Sprintf(`{"auths": {%q: {"auth": "YW5uOg==", "identitytoken": %q}}}`, r.Addr, identity), 0o600)
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{Credentials: credentials.Config{Folder: cfg}}); err != nil {
		t.Error(err)
	}
}

func TestEveryoneGetsTokensForPullsWhereTheRegistryGivesThem(t *testing.T) {
	h, r := newHost(t), registry.Start(t, registry.WithTokens("ann", "secret"), registry.PullsForAll())
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	ref := pulledAs(t, h, s, r, "web", "team/web:1")
	if _, err := s.Push(deadline(h.ctx, t), ref, image.PushOptions{}); !errdefs.IsPermissionDenied(err) && !errdefs.IsUnauthorized(err) {
		t.Errorf("a push without a login: %v", err)
	}
	if _, err := s.Push(deadline(h.ctx, t), ref, image.PushOptions{Credentials: credentials.Config{Folder: r.DockerConfig(t)}}); err != nil {
		t.Errorf("a push with a login: %v", err)
	}
}

func TestARegistryThatWantsCertificatesOfItsClients(t *testing.T) {
	h, r := newHost(t), registry.Start(t, registry.WithClientCertificates())
	r.Push(t, small("web"))
	ref := r.Addr + "/library/web"
	certs, named, caOnly := t.TempDir(), t.TempDir(), t.TempDir()
	r.ClientCertificate(t, filepath.Join(certs, r.Addr))
	r.ClientCertificate(t, filepath.Join(named, "files"))
	write(t, filepath.Join(named, r.Addr, "hosts.toml"), fmt.Sprintf("server = \"https://%s\"\nca = %q\nclient = [[%q, %q]]\n", r.Addr,
		filepath.Join(named, "files/ca.crt"), filepath.Join(named, "files/client.cert"), filepath.Join(named, "files/client.key")), 0o644)
	write(t, filepath.Join(caOnly, r.Addr, "hosts.toml"), fmt.Sprintf("server = \"https://%s\"\nca = %q\n", r.Addr, filepath.Join(named, "files/ca.crt")), 0o644)
	newStore(t, h, nil) // skips where it can't run
	for name, dir := range map[string]string{"as files": certs, "in hosts.toml": named} {
		s := image.New(image.Config{Client: h.client, Snapshotter: "overlayfs", HostsDir: dir})
		if _, err := s.Pull(deadline(h.ctx, t), ref, image.PullOptions{Force: true}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := image.New(image.Config{Client: h.client, Snapshotter: "overlayfs", HostsDir: caOnly})
	_, err := s.Pull(deadline(h.ctx, t), ref, image.PullOptions{Force: true})
	if !errdefs.IsUnauthorized(err) || !strings.Contains(err.Error(), "wants a certificate of its clients") || !strings.Contains(hintOf(err), "client.cert") {
		t.Errorf("without a certificate: %v (%s)", err, hintOf(err))
	}
}

func TestAFreshnessCheckIsOneRequestWithoutABody(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	ctx := deadline(h.ctx, t)
	if fresh, err := s.Fresh(ctx, "web", image.PullOptions{}); fresh || err != nil || len(r.Requests("HEAD", "/manifests/")) != 0 {
		t.Errorf("an image that is not here: %v, %v", fresh, err)
	}
	pull(t, s, "web")
	before, err := s.Get(ctx, "web", "")
	if err != nil {
		t.Fatal(err)
	}
	r.ForgetRequests()
	if fresh, err := s.Fresh(ctx, "web", image.PullOptions{}); !fresh || err != nil {
		t.Errorf("the same image: %v, %v", fresh, err)
	}
	if q := r.Requests("", ""); len(q) != 1 || q[0].Method != "HEAD" {
		t.Errorf("it took %v", q)
	}
	if after, err := s.Get(ctx, "web", ""); err != nil || !after.Checked.After(before.Checked) {
		t.Errorf("checked at %s, before that at %s, %v", after.Checked, before.Checked, err)
	}
	r.Push(t, large("web", 63))
	if fresh, err := s.Fresh(ctx, "web", image.PullOptions{}); fresh || err != nil {
		t.Errorf("another image: %v, %v", fresh, err)
	}
}
