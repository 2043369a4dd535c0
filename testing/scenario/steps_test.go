package scenario_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"berth/testing/scenario"
)

// A RUN step is in a network of its own, from which it reaches other hosts and this one, and shares the bridge with nobody
// when it has ended.
func TestStepsReachOtherHosts(t *testing.T) {
	s := scenario.New(t)
	lan := newLAN(t, s)
	gateway, err := s.Network.Listen("tcp", ":9999")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gateway.Close() })
	f := s.Folder("shop", `
services:
  web:
    build: {context: ., extra_hosts: ["here:host-gateway"]}
    network_mode: bridge
`, "Dockerfile", `FROM probe
RUN ["/probe", "connect", "`+lan.echo+`", "hello"]
RUN ["/probe", "connect", "here:9999"]
RUN ["/probe", "interfaces"]
`)

	s.Step("a build's steps are seen under this host's address, and have no link of it")
	out := f.Must("build", "--progress", "plain")
	if text := out.Stdout + out.Stderr; !strings.Contains(text, "from "+lan.here+" hello") || strings.Contains(text, "lan0") {
		t.Errorf("the steps said:\n%s", text)
	}

	s.Step("when it has ended there is no bridge")
	if links := bridges(t, s); len(links) > 0 {
		t.Errorf("there is %v", links)
	}

	s.Step("a container on the bridge keeps it over a build")
	f.Must("up", "-d")
	f.Must("build", "--no-cache")
	if got := f.Exec("web", "connect", lan.echo, "hello"); !strings.Contains(got, "hello") {
		t.Errorf("after the build the container is answered %q", got)
	}
	f.Must("down")
}

// bridges are those of the scenario's host.
func bridges(t *testing.T, s *scenario.Scenario) (names []string) {
	t.Helper()
	if err := s.Network.Do(func() error {
		all, err := netlink.LinkList()
		for _, l := range all {
			if l.Type() == "bridge" {
				names = append(names, l.Attrs().Name)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// An engine that is killed in the middle of a step ends it when it comes back, and builds again.
func TestKilledEngineLeavesNoStep(t *testing.T) {
	s := scenario.New(t)
	mark := filepath.Base(filepath.Dir(t.TempDir())) // in the step's command line
	f := s.Folder("shop", "services:\n  web:\n    build: .\n", "Dockerfile",
		"FROM probe\nRUN --mount=type=cache,target=/c --mount=type=bind,source=sub,target=/m "+
			`["/probe", "sequence", "cat", "/m/file", "then", "ignore-signals", "`+mark+"\"]\n", "sub/file", "at work\n")
	build := f.Start("build", "--progress", "plain")
	build.Await("at work")

	s.Step("the engine is killed; the build says so")
	s.KillEngine()
	if r := build.Wait(); r.Code == 0 {
		t.Errorf("the build succeeded: %s", r)
	}

	s.Step("the next engine ends the step")
	f.Must("ps")
	s.Eventually("no process of the step is there", func() error {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			return err
		}
		for _, path := range lines {
			if text, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(text), "/probe") && strings.Contains(string(text), mark) {
				return fmt.Errorf("%s is there", path)
			}
		}
		return nil
	})
	s.Eventually("nor is its bridge", func() error {
		if links := bridges(t, s); len(links) > 0 {
			return fmt.Errorf("there is %v", links)
		}
		return nil
	})

	s.Step("and builds")
	f.Write("Dockerfile", "FROM probe\nRUN [\"/probe\", \"say\", \"built\"]\n")
	f.Must("build")
}
