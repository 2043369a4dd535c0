package scenario_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/testing/registry"
	"berth/testing/scenario"
)

func TestPullTakesWhatItIsAskedFor(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	repo := r.Addr + "/library/"
	r.Push(t, s.Image("db:1"), s.Image("web:1"), s.Image("web:latest"))
	f := s.Folder("asked", `
services:
  web: {image: `+repo+`web:1, command: sleep, depends_on: [db]}
  db: {image: `+repo+`db:1, command: sleep}
  kept: {image: `+repo+`web:1, pull_policy: never, command: sleep}
  made: {image: `+repo+`made:1, build: ., command: sleep}
`)
	pulled := func() (names []string) {
		t.Helper()
		for _, q := range r.Requests("GET", "/manifests/") {
			names = append(names, strings.Split(q.Path, "/")[3])
		}
		slices.Sort(names)
		r.ForgetRequests()
		return slices.Compact(names)
	}
	r.ForgetRequests()

	s.Step("a service is pulled without what it depends on, unless that is asked for")
	f.Must("pull", "web")
	if got := pulled(); !slices.Equal(got, []string{"web"}) {
		t.Errorf("pulled were %q", got)
	}
	f.Must("pull", "--include-deps", "web")
	if got := pulled(); !slices.Equal(got, []string{"db"}) {
		t.Errorf("pulled were %q", got)
	}

	s.Step("an image that can be built need not be in the registry; it is said what to do")
	got := f.Must("pull")
	if !strings.Contains(got.Stderr, "berth build made") || !strings.Contains(got.Stderr, "Image "+repo+"made:1 Not pulled") {
		t.Errorf("%s", got)
	}
	r.ForgetRequests()
	got = f.Must("pull", "--ignore-buildable")
	if asked := r.Requests("", "/made/"); len(asked) > 0 || strings.Contains(got.Stderr, "berth build") || !strings.Contains(got.Stderr, "it can be built") {
		t.Errorf("the registry was asked %v: %s", asked, got)
	}

	s.Step("an image that is there is left alone by the policy missing, and looked after by always")
	r.ForgetRequests()
	f.Must("pull", "--policy", "missing", "web", "db")
	if asked := r.Requests("", "/v2/"); len(asked) > 0 {
		t.Errorf("missing: the registry was asked %v", asked)
	}
	f.Must("pull", "--policy", "always", "web", "db")
	if asked := r.Requests("HEAD", "/manifests/"); len(asked) != 2 {
		t.Errorf("always: the registry was asked %v", r.Requests("", ""))
	}
	s.Refused([]string{"-f", f.Path + "/compose.yaml", "pull", "--policy", "sometimes"}, "sometimes")

	s.Step("one image that can't be had fails the pull, or is passed over if that is asked for; quietly, if that is")
	f.Write("compose.yaml", `services: {web: {image: "`+repo+`web:1"}, gone: {image: "`+repo+`gone:1"}}`)
	f.Refused([]string{"pull"}, "gone:1", "no such image or tag")
	got = f.Must("pull", "--ignore-pull-failures", "-q")
	if got.Stdout != "" || !strings.Contains(got.Stderr, "warning: pull image") || strings.Contains(got.Stderr, "Pulling") {
		t.Errorf("%s", got)
	}
	if got = s.Must("--dry-run", "image", "pull", repo+"web"); !strings.Contains(got.Stdout, "pull image "+repo+"web") || len(s.Must("image", "ls", "-q", repo+"web:latest").Lines()) != 0 {
		t.Errorf("a dry run: %s", got)
	}
}

func TestWhatIsUpToDateCostsOneRequest(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	r.Push(t, s.Image("web:1"))
	f := s.Folder("fresh", `services: {web: {image: "`+r.Addr+`/library/web:1", command: sleep, scale: 3}}`)
	f.Must("up", "-d")
	ids := f.Must("ps", "-q").Stdout
	for _, args := range [][]string{{"pull"}, {"up", "-d", "--pull", "always"}, {"-f", "compose.yaml", "pull", "--policy", "always"}} {
		s.Step("an image that has not changed is asked for by one HEAD: berth " + strings.Join(args, " "))
		r.ForgetRequests()
		f.Must(args...)
		if asked := r.Requests("", ""); len(asked) != 1 || asked[0].Method != "HEAD" {
			t.Errorf("requests: %+v", asked)
		}
	}
	if got := f.Must("ps", "-q").Stdout; got != ids {
		t.Errorf("containers were replaced: %q, before %q", got, ids)
	}

	s.Step("one that has is fetched, what it shares with the old one not again, and its containers are replaced")
	newer := s.Image("web:1").Add(registry.Gzip, map[string]registry.File{"new": registry.Text("new")})
	r.Push(t, newer)
	r.ForgetRequests()
	f.Must("up", "-d", "--pull", "always")
	if got := f.Exec("web", "cat", "/new"); got != "new" {
		t.Errorf("the new file: %q", got)
	}
	if asked := r.Requests("GET", newer.LayerDigest(0).String()); len(asked) != 0 {
		t.Errorf("the old layer was asked for again: %v", asked)
	}
	f.Must("down", "-t", "1")
}

func TestImagesAreLockedToTheirDigests(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	older := s.Image("web:1").Add(registry.Gzip, map[string]registry.File{"version": registry.Text("older")})
	r.Push(t, older)
	name := r.Addr + "/library/web:1"
	f := s.Folder("locked", `services: {web: {image: "`+name+`", command: sleep}, again: {image: "`+name+`", command: sleep}}`)

	s.Step("each name is asked for once, nothing is fetched, and what is said can be put over the file")
	r.ForgetRequests()
	lock := f.Must("config", "--lock-image-digests").Stdout
	if asked := r.Requests("", ""); len(asked) != 1 || asked[0].Method != "HEAD" {
		t.Errorf("requests: %+v", asked)
	}
	f.Write("lock.yaml", lock)
	if got := f.Must("config", "--resolve-image-digests").Stdout; strings.Count(got, "image: "+name+"@sha256:") != 2 || !strings.Contains(got, "command:") {
		t.Errorf("with digests: %s", got)
	}

	s.Step("the name stands for something else meanwhile")
	r.Push(t, s.Image("web:1").Add(registry.Gzip, map[string]registry.File{"version": registry.Text("newer")}))
	f.Must("-f", "compose.yaml", "-f", "lock.yaml", "up", "-d")
	for _, service := range []string{"web", "again"} {
		if got := f.Exec(service, "cat", "/version"); got != "older" {
			t.Errorf("%s has the %s image", service, got)
		}
	}
	f.Must("down", "-t", "0")
	f.Write("compose.yaml", `services: {web: {image: "`+r.Addr+`/library/none:1"}}`)
	f.Refused([]string{"config", "--resolve-image-digests"}, "none:1")
}

func TestTwoPullsFetchWhatTheyShareOnce(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	shared := map[string]registry.File{"data": {Data: scenario.Noise(1, 1<<20)}}
	one, two := s.Image("one:1").Add(registry.Gzip, shared), s.Image("two:1").Add(registry.Gzip, shared)
	r.Push(t, one, two)
	hold := make(chan struct{})
	r.Fault(registry.Fault{Path: one.LayerDigest(1).String(), Hold: hold, Times: 1})
	file := func(name string) string { return `services: {web: {image: "` + r.Addr + `/library/` + name + `:1"}}` }
	a, b := s.Folder("one", file("one")).Start("pull"), s.Folder("two", file("two")).Start("pull")
	s.Eventually("both have asked for their configurations", func() error {
		if len(r.Requests("GET", one.ID().String())) == 0 || len(r.Requests("GET", two.ID().String())) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	close(hold)
	for _, end := range []scenario.Result{a.Wait(), b.Wait()} {
		if end.Code != 0 {
			t.Error(end)
		}
	}
	for n := range 2 {
		if asked := r.Requests("GET", one.LayerDigest(n).String()); len(asked) != 1 {
			t.Errorf("layer %d was fetched %d times", n, len(asked))
		}
	}
}

func TestPlatforms(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	here, other := s.Image("web:1"), s.Image("web:1").Add(registry.Gzip, map[string]registry.File{"other": registry.Text("o")})
	other.Platform.Architecture = "arm64"
	if here.Platform.Architecture == "arm64" {
		other.Platform.Architecture = "amd64"
	}
	foreign := "linux/" + other.Platform.Architecture
	r.PushIndex(t, "web:1", other, here)
	ref := r.Addr + "/library/web:1"
	platform := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(s.Must(append([]string{"image", "inspect", "-f", "{{.Os}}/{{.Architecture}}"}, args...)...).Stdout)
	}
	f := s.Folder("platforms", `services: {web: {image: "`+ref+`", command: sleep}}`)

	s.Step("of an image for several platforms this host's is taken, and runs")
	f.Must("up", "-d")
	if asked := r.Requests("GET", other.LayerDigest(1).String()); len(asked) > 0 {
		t.Errorf("the other platform's layer was fetched: %v", asked)
	}
	if got := platform(ref); got != "linux/"+here.Platform.Architecture {
		t.Errorf("platform %s", got)
	}
	f.Must("down", "-t", "1")

	s.Step("another one is, where the service or the environment says so")
	g := s.Folder("foreign", `services: {web: {image: "`+ref+`", platform: `+foreign+`}}`)
	g.Must("pull")
	if got := platform("--platform", foreign, ref); got != foreign {
		t.Errorf("platform %s", got)
	}
	if asked := r.Requests("GET", other.LayerDigest(1).String()); len(asked) != 1 {
		t.Errorf("the other platform's layer was fetched %d times", len(asked))
	}
	s.Must("image", "rm", ref)
	r.ForgetRequests()
	f.With("DOCKER_DEFAULT_PLATFORM=" + foreign).Must("pull")
	if asked := r.Requests("GET", other.ID().String()); len(asked) != 1 {
		t.Errorf("with DOCKER_DEFAULT_PLATFORM its configuration was fetched %d times", len(asked))
	}

	s.Step("what is made under that environment is of that platform")
	f.With("DOCKER_DEFAULT_PLATFORM=" + foreign).Must("create")
	if got := f.Must("images", "--format", "{{.Platform}}").Lines(); !slices.Equal(got, []string{foreign}) {
		t.Errorf("the container is for %q", got)
	}
	f.Must("down")

	s.Step("one that the image is not made for is refused, and it is said which there are")
	g.Write("compose.yaml", `services: {web: {image: "`+ref+`", platform: linux/s390x}}`)
	g.Refused([]string{"pull"}, "linux/s390x", foreign)
}

func TestImagesOfEveryKindRun(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	img := s.Image("web:1").
		Add(registry.Zstd, map[string]registry.File{"zstd": registry.Text("z")}).
		Add(registry.Plain, map[string]registry.File{"plain": registry.Text("p")}).
		Add(registry.Gzip, map[string]registry.File{"noted": registry.Text("n"), "zstd": {Whiteout: true}})
	img.Layers[3].Annotations = map[string]string{"org.example.note": "x", "containerd.io/snapshot/stargz/toc.digest": string(img.ID())}
	r.Push(t, img)
	repo := r.Addr + "/library/web"
	digest := img.Digest().String()
	for name, ref := range map[string]string{"tagged": repo + ":1", "pinned": repo + "@" + digest, "both": repo + ":1@" + digest} {
		s.Step("layers packed by gzip, zstd and not at all, with annotations, run by " + name + " name")
		f := s.Folder(name, `services: {web: {image: "`+ref+`", command: sleep}}`)
		f.Must("up", "-d")
		if got := f.Exec("web", "cat", "/plain") + f.Exec("web", "cat", "/noted"); got != "pn" {
			t.Errorf("the files of the layers: %q", got)
		}
		r.ForgetRequests()
		f.Must("up", "-d")
		if asked := r.Requests("", ""); len(asked) > 0 {
			t.Errorf("the second up asked %v", asked)
		}
		f.Must("down", "-t", "1", "--rmi", "all")
	}

	s.Step("a digest that the registry has not is refused")
	s.Refused([]string{"image", "pull", repo + "@sha256:" + strings.Repeat("1", 64)}, "no such image")

	s.Step("an image in the format of before 2016 is refused for what it is")
	r.Fault(registry.Fault{Method: "HEAD", Path: "/manifests/", Status: 200, MediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws", Digest: digest, Body: `{"schemaVersion":1}`})
	s.Refused([]string{"image", "pull", repo + ":old"}, "schema 1", "newer tag")
}

func TestPruneSparesWhatIsNeeded(t *testing.T) {
	s := scenario.New(t)
	r := s.Registry()
	slow := s.Image("slow:1").Add(registry.Gzip, map[string]registry.File{"data": registry.Text("slow")})
	r.Push(t, s.Image("quick:1"), slow, s.Image("later:1"), s.Image("nobody:1"))
	repo := r.Addr + "/library/"
	f := s.Folder("spared", `
services:
  quick: {image: `+repo+`quick:1, command: sleep}
  slow: {image: `+repo+`slow:1, command: sleep}
  later: {image: `+repo+`later:1, command: sleep, scale: 0}
`)
	s.Must("image", "pull", "-q", repo+"later:1", repo+"nobody:1")
	names := func() (list []string) {
		t.Helper()
		for _, line := range s.Must("image", "ls", "--format", "{{.Repository}}").Lines() {
			list = append(list, strings.TrimPrefix(line, repo))
		}
		slices.Sort(list)
		return list
	}

	s.Step("while an up is between its pulls and its containers, what it has pulled is not taken from it")
	hold := make(chan struct{})
	r.Fault(registry.Fault{Path: slow.LayerDigest(1).String(), Hold: hold, Times: 1})
	up := f.Start("up", "-d")
	s.Eventually("one image is here and the other is on its way", func() error {
		if !slices.Contains(names(), "quick") || len(r.Requests("GET", slow.LayerDigest(1).String())) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	s.Must("image", "prune", "-a", "-f")
	if got := names(); !slices.Equal(got, []string{"later", "quick"}) {
		t.Errorf("left are %q", got)
	}
	s.Refused([]string{"image", "rm", repo + "quick:1"}, "a command that is at work needs it")
	close(hold)
	if end := up.Wait(); end.Code != 0 {
		t.Errorf("the up: %s", end)
	}

	s.Step("what a stopped project's containers were made from stays, and what a service at scale 0 will be made from")
	f.Must("stop", "-t", "1")
	s.Must("system", "prune", "-a", "-f", "--volumes")
	if got := names(); !slices.Equal(got, []string{"later", "quick", "slow"}) {
		t.Errorf("left are %q", got)
	}
	r.Fault(registry.Fault{Method: "HEAD", Path: "/v2/", Status: 503}) // nothing can be pulled
	f.Must("up", "-d", "--scale", "later=1")
	f.Must("start")

	s.Step("when the project is gone it all goes")
	f.Must("down", "-t", "1")
	s.Must("image", "prune", "-a", "-f")
	if got := names(); len(got) > 0 {
		t.Errorf("left are %q", got)
	}
	if got := s.Held(); !strings.HasPrefix(got, "Images 0B\n") {
		t.Errorf("held is\n%s", got)
	}
}

func TestDownTakesImagesAlong(t *testing.T) {
	s := scenario.New(t)
	s.Must("image", "pull", "-q", "probe")
	file := `
services:
  made: {build: ., command: sleep}
  named: {image: "named:1", build: ., command: sleep}
  fetched: {image: probe, command: sleep}
`
	f := s.Folder("rmi", file)
	neighbour := s.Folder("neighbour", `services: {web: {image: probe, command: sleep}}`)
	neighbour.Must("up", "-d")
	start := func() {
		t.Helper()
		s.Must("image", "tag", "probe", "rmi-made")
		s.Must("image", "tag", "probe", "named:1")
		f.Must("up", "-d")
	}
	names := func() string {
		t.Helper()
		list := s.Must("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").Lines()
		slices.Sort(list)
		return fmt.Sprint(list)
	}

	s.Step("of services that are named only theirs go")
	start()
	f.Must("down", "-t", "1", "--rmi", "all", "named")
	if got := names(); got != "[probe:latest rmi-made:latest]" {
		t.Errorf("left are %s", got)
	}

	s.Step("--rmi local takes the images that have no name in the file")
	start()
	f.Must("down", "-t", "1", "--rmi", "local")
	if got := names(); got != "[named:1 probe:latest]" {
		t.Errorf("left are %s", got)
	}

	s.Step("--rmi all takes all but what another project needs, and says what it leaves")
	start()
	got := f.Must("down", "-t", "1", "--rmi", "all")
	if left := names(); left != "[probe:latest]" || !strings.Contains(got.Stderr, "neighbour-web-1") {
		t.Errorf("left are %s; %s", left, got)
	}
	f.Refused([]string{"down", "--rmi", "some"}, "some")
	neighbour.Must("down", "-t", "1", "--rmi", "all")
	if got := names(); got != "[]" {
		t.Errorf("left are %s", got)
	}
}
