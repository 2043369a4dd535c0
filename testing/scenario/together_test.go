package scenario_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"berth/testing/scenario"
)

func TestTenProjectsComeUpAtOnce(t *testing.T) {
	s := scenario.New(t)
	var folders []*scenario.Folder
	for i := range 10 {
		folders = append(folders, s.Folder(fmt.Sprintf("many%d", i), fmt.Sprintf(`
services:
  web:
    image: probe
    ports: ["%d:80"]
    depends_on: {db: {condition: service_healthy}}
  db:
    image: probe
    healthcheck: {test: ["CMD", "/probe", "get", "http://127.0.0.1/"], interval: 1s, retries: 30}
`, 9000+i)))
	}
	s.Step("ten ups at the same moment, with no engine running, all succeed")
	each(folders, func(i int, f *scenario.Folder) {
		if r := f.Berth("up", "-d"); r.Code != 0 {
			t.Error(r)
		}
	})
	s.Step("each serves its page and sees its own neighbours only")
	for i, f := range folders {
		s.MustGet(fmt.Sprintf("http://127.0.0.1:%d/", 9000+i))
		if got := f.Exec("web", "resolve", "db"); strings.Contains(got, "\n") {
			t.Errorf("project %s: db has several addresses: %q", f.Name, got)
		}
	}
	if n := len(s.Must("ls", "-q").Lines()); n != 10 {
		t.Errorf("%d projects are listed", n)
	}
	s.Step("one engine serves them")
	wantOneEngine(t, s)
	s.Step("ten downs at the same moment")
	each(folders, func(i int, f *scenario.Folder) {
		if r := f.Berth("down", "-t", "1"); r.Code != 0 {
			t.Error(r)
		}
	})
	if left := s.Must("ls", "-a", "-q").Lines(); len(left) != 0 {
		t.Errorf("projects after all are down: %q", left)
	}
}

func TestSecondUpOfAProjectWaits(t *testing.T) {
	s := scenario.New(t)
	f := s.Folder("twice", `
services:
  slow:
    image: probe
    healthcheck: {test: ["CMD", "/probe", "ok-if", "/ready/file"], interval: 200ms, retries: 100000}
    volumes: [./ready:/ready]
  web: {image: probe, depends_on: {slow: {condition: service_healthy}}}
`)
	both := []*scenario.Running{f.Start("up", "-d"), f.Start("up", "-d")}
	s.Eventually("one of the two says that it waits", func() error {
		for _, up := range both {
			if strings.Contains(up.Output(), "waiting for") {
				return nil
			}
		}
		return errString(both[0].Output() + both[1].Output())
	})
	f.Write("ready/file", "x")
	for _, up := range both {
		if r := up.Wait(); r.Code != 0 {
			t.Error(r)
		}
	}
	if got := f.Must("ps", "-a", "-q").Lines(); len(got) != 2 {
		t.Errorf("two containers are wanted, whoever came first: %q", got)
	}
	s.Step("who only reads doesn't wait for a verb that is at work")
	f.Must("down", "-t", "1")
	f.Write("ready/file", "")
	up := f.Start("up", "-d")
	s.Eventually("slow runs", func() error {
		if got := f.Must("ps", "-q", "slow").Lines(); len(got) != 1 {
			return fmt.Errorf("containers: %q", got)
		}
		return nil
	})
	f.Must("ps") // or it would wait for ever
	f.Write("ready/file", "x")
	if r := up.Wait(); r.Code != 0 {
		t.Error(r)
	}
}

func TestTwoEnginesShareAHost(t *testing.T) {
	s := scenario.New(t)
	other := scenario.New(t, scenario.In(s))
	a := s.Folder("same", `services: {web: {image: probe, ports: ["8080:80"]}}`)
	b := other.Folder("same", `services: {web: {image: probe, ports: ["8081:80"]}}`)
	a.Must("up", "-d")
	b.Must("up", "-d")

	s.Step("the same project name twice: each engine has its own")
	first, second := s.MustGet("http://127.0.0.1:8080/"), s.MustGet("http://127.0.0.1:8081/")
	if first == second {
		t.Errorf("both ports lead to one container: %s", first)
	}
	if x, y := a.Exec("web", "resolve", "web"), b.Exec("web", "resolve", "web"); x == y {
		t.Errorf("both containers have the address %s", x)
	}

	s.Step("a port of the one is refused to the other, which names who has it")
	c := other.Folder("late", `services: {web: {image: probe, ports: ["8080:80"]}}`)
	c.Refused([]string{"up", "-d"}, "8080")

	s.Step("one engine's end leaves the other's containers alone")
	b.Must("down")
	other.Must("engine", "stop", "--all")
	s.MustGet("http://127.0.0.1:8080/")
}

// each runs f for all folders at once.
func each(folders []*scenario.Folder, f func(int, *scenario.Folder)) {
	var wg sync.WaitGroup
	for i, folder := range folders {
		wg.Go(func() { f(i, folder) })
	}
	wg.Wait()
}
