package scenario_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/testing/registry"
	"berth/testing/scenario"
)

func TestARegistrysOwnAuthority(t *testing.T) {
	s := scenario.New(t)
	r, address := s.RegistryAbroad(registry.WithTLS())
	r.Push(t, s.Image("web:1"))
	f := s.Folder("own-ca", `services: {web: {image: "`+address+`/library/web:1", command: sleep}}`)

	s.Step("a certificate of an unknown authority is refused, and the message says where to put the authority's")
	ca := filepath.Join(s.CertsDir(address), "ca.crt")
	f.Refused([]string{"up", "-d"}, "the certificate of "+address+" can't be trusted", ca)

	s.Step("with the authority's certificate in its place the image is pulled and runs, without a restart of the engine")
	write(t, ca, r.CA())
	f.Must("up", "-d")
	f.Must("down", "-t", "1", "--rmi", "all")
}

func TestARegistryInPlainHTTP(t *testing.T) {
	s := scenario.New(t)
	r, address := s.RegistryAbroad()
	r.Push(t, s.Image("web:1"))
	ref := address + "/library/web:1"

	s.Step("elsewhere than on this host it is not spoken to unless that is configured")
	toml := filepath.Join(s.CertsDir(address), "hosts.toml")
	s.Refused([]string{"image", "pull", ref}, "speaks plain HTTP", toml)
	write(t, toml, "server = \"http://"+address+"\"\n")
	s.Must("image", "pull", ref)
}

func TestARegistryThatWantsCertificates(t *testing.T) {
	s := scenario.New(t)
	r, address := s.RegistryAbroad(registry.WithClientCertificates())
	r.Push(t, s.Image("web:1"))
	f := s.Folder("client-cert", `services: {web: {image: "`+address+`/library/web:1", command: sleep}}`)

	s.Step("without one of ours nothing is given, and the message says so")
	write(t, filepath.Join(s.CertsDir(address), "ca.crt"), r.CA())
	f.Refused([]string{"pull"}, "wants a certificate of its clients", s.CertsDir(address))

	s.Step("with client.cert and client.key images come and go")
	r.ClientCertificate(t, s.CertsDir(address))
	f.Must("up", "-d")
	s.Must("image", "tag", address+"/library/web:1", address+"/library/web:2")
	s.Must("image", "push", address+"/library/web:2")
	f.Must("down", "-t", "1")
}

func TestARegistryWithTokens(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry(registry.WithTokens("ada", "top secret"), registry.PullsForAll())
	r.Push(t, s.Image("ada/base:1"))
	base, mine := r.Addr+"/ada/base:1", r.Addr+"/ada/mine:1"

	s.Step("what is open to all is pulled without a login; a push is refused")
	s.Must("image", "pull", base)
	s.Must("image", "tag", base, mine)
	s.Refused([]string{"image", "push", mine}, "pushing to ada/mine is not allowed", "berth login "+r.Addr)

	s.Step("a login is checked by asking for a token, and kept in docker's configuration")
	s.Refused([]string{"login", "-u", "ada", "-p", "wrong", r.Addr}, "wrong user or password")
	s.Must("login", "-u", "ada", "-p", "top secret", r.Addr)
	config := filepath.Join(filepath.Dir(s.Root), "home", ".docker", "config.json")
	if b, err := os.ReadFile(config); err != nil || !strings.Contains(string(b), r.Addr) {
		t.Errorf("%s: %s, %v", config, b, err)
	}
	if info, err := os.Stat(config); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the login: %v, %v", info.Mode(), err)
	}

	s.Step("with the login it is pushed: the layer that is in a neighbour of the registry is mounted, not sent")
	s.Must("image", "push", mine)
	if sent := r.Requests("PATCH", "/blobs/uploads/"); len(sent) > 0 {
		t.Errorf("blobs were sent: %v", sent)
	}
	s.Must("image", "rm", mine)
	f := s.Folder("tokens", `services: {web: {image: "`+mine+`", command: sleep}}`)
	f.Must("up", "-d")
	f.Must("down", "-t", "1")

	s.Step("after a logout nothing of it is left")
	s.Must("logout", r.Addr)
	if b, err := os.ReadFile(config); err != nil || strings.Contains(string(b), r.Addr) {
		t.Errorf("%s: %s, %v", config, b, err)
	}
	s.Must("image", "tag", base, r.Addr+"/ada/mine:2")
	s.Refused([]string{"image", "push", r.Addr + "/ada/mine:2"}, "is not allowed")
}

func TestACutLayerIsResumed(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	img := s.Image("web:1").Add(registry.Plain, map[string]registry.File{"data": {Data: scenario.Noise(1, 4<<20)}})
	r.Push(t, img)
	size := int64(len(img.Layers[1].Blob))
	blob := "/blobs/" + img.LayerDigest(1).String()
	const cut = 1_500_000
	f := s.Folder("cut", `services: {web: {image: "`+r.Addr+`/library/web:1", command: sleep}}`)

	s.Step("a connection that breaks in the middle of a layer is taken up where it broke")
	r.Fault(registry.Fault{Path: blob, Cut: cut, Times: 2})
	f.Must("up", "-d")
	got := r.Requests("GET", blob)
	var sent int64
	for i, q := range got {
		sent += q.Sent
		if want := fmt.Sprintf("bytes=%d-", int64(i)*cut); i > 0 && !strings.HasPrefix(q.Range, want) {
			t.Errorf("request %d asks for %q, want %q", i+1, q.Range, want)
		}
	}
	if len(got) != 3 || sent != size {
		t.Errorf("%d requests and %d bytes for a layer of %d", len(got), sent, size)
	}
	f.Must("down", "-t", "1", "--rmi", "all")

	s.Step("a pull that was given up is taken up by the next one, and by another engine's process")
	r.ClearFaults()
	r.ForgetRequests()
	hold := make(chan struct{})
	r.Fault(registry.Fault{Path: blob, Cut: cut, Times: 1})
	r.Fault(registry.Fault{Path: blob, Hold: hold, Times: 1})
	pull := f.Start("pull")
	s.Eventually("the second request is there", func() error {
		if len(r.Requests("GET", blob)) < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	s.KillEngine()
	if end := pull.Wait(); end.Code == 0 {
		t.Errorf("the pull ended well without an engine: %s", end)
	}
	close(hold)
	r.ClearFaults()
	r.ForgetRequests()
	f.Must("pull")
	if got := r.Requests("GET", blob); len(got) != 1 || got[0].Sent >= size {
		t.Errorf("the next pull asked %+v for a layer of %d bytes", got, size)
	}
	f.Must("up", "-d")
	f.Must("down", "-t", "1")
}

func TestACorruptedLayer(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	img := s.Image("web:1").Add(registry.Gzip, map[string]registry.File{"data": {Data: scenario.Noise(2, 1<<20)}})
	r.Push(t, img)
	f := s.Folder("corrupt", `services: {web: {image: "`+r.Addr+`/library/web:1", command: sleep}}`)
	s.Must("image", "ls")
	before := s.Held()

	s.Step("what is not what its digest says is refused, by name of the digest, and nothing of the image is kept")
	r.Fault(registry.Fault{Path: img.LayerDigest(1).String(), Corrupt: 700_000})
	f.Refused([]string{"up", "-d"}, img.LayerDigest(1).String(), "thrown away")
	if got := s.Held(); got != before {
		t.Errorf("held before:\n%s\nand after:\n%s", before, got)
	}
	if got := s.Must("image", "ls", "-q").Lines(); len(got) > 0 {
		t.Errorf("images: %q", got)
	}

	s.Step("damage on the way that doesn't come again goes unnoticed")
	r.ClearFaults()
	r.Fault(registry.Fault{Path: img.LayerDigest(1).String(), Corrupt: 700_000, Times: 1})
	f.Must("up", "-d")
	f.Must("down", "-t", "1")
}

func TestAFullDisk(t *testing.T) {
	s := scenario.New(t)
	s.SmallDisk(48 << 20)
	r := s.Registry(registry.InFolder(t.TempDir()))
	// It is fetched in no time, and has no room unpacked.
	zeros := map[string]registry.File{}
	for i := range 10 {
		zeros[fmt.Sprintf("zeros%d", i)] = registry.File{Data: make([]byte, 10<<20)}
	}
	r.Push(t, s.Image("small:1"), s.Image("large:1").Add(registry.Gzip, zeros),
		s.Image("long:1").Add(registry.Plain, map[string]registry.File{"data": {Data: scenario.Noise(3, 64<<20)}}))
	project := func(name string) *scenario.Folder {
		return s.Folder(name, `services: {web: {image: "`+r.Addr+`/library/`+name+`:1", command: sleep}}`)
	}
	small, large, long := project("small"), project("large"), project("long")
	small.Must("up", "-d")
	held, free := s.Held(), s.Free(s.Root)

	for _, f := range []*scenario.Folder{large, long} {
		s.Step("an image that the disk has no room for is refused, with a way out: " + f.Name)
		f.Refused([]string{"up", "-d"}, "no space left on the disk", "what was fetched is removed again", "berth image prune")
		if got := s.Held(); got != held {
			t.Errorf("held before:\n%s\nand after:\n%s", held, got)
		}
		s.Eventually("the room is given back", func() error {
			if now := s.Free(s.Root); now < free-(1<<20) {
				return fmt.Errorf("%d bytes were free before, %d are now", free, now)
			}
			return nil
		})
	}

	s.Step("so is a build")
	built := s.Folder("built", `services: {web: {build: .}}`, "Dockerfile", "FROM scratch\nCOPY data /\n", "data", string(scenario.Noise(4, 64<<20)))
	built.Refused([]string{"build"}, "no space left on device", "berth system prune")

	s.Step("what gives room back works though there is none")
	fill(t, filepath.Join(s.Root, "fill"))
	s.Must("builder", "prune", "-a", "-f")
	small.Must("rm", "-s", "-f")
	small.Must("down")
	if err := os.Remove(filepath.Join(s.Root, "fill")); err != nil {
		t.Fatal(err)
	}
	small.Must("up", "-d")

	s.Step("what ran runs on, and what has room is still pulled")
	if got := small.Must("ps", "--format", "{{.State}}").Stdout; got != "running\n" {
		t.Errorf("the container is %q", got)
	}
	small.Must("up", "-d", "--force-recreate", "--pull", "always")
	small.Must("down", "-t", "1")
}

// fill makes a file as long as its disk allows.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
