package scenario_test

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/testing/scenario"
)

func TestSampleHAProxy(t *testing.T) {
	s := scenario.New(t)
	s.RealImages("python3", "haproxy")
	f := sample(s, "haproxy")
	p := proxied{s, map[string]string{}, "Hello"}

	s.Step("up makes the webs before haproxy, under their old names")
	up := f.Must("up", "-d").Stderr
	for _, web := range webs {
		wantOrder(s, up, "haproxy_"+web+"_1", "haproxy_haproxy_1")
		p.address[web] = strings.TrimSpace(f.Must("exec", "-T", web, "hostname", "-I").Stdout)
	}
	s.Must("image", "inspect", "haproxy_weba", "haproxy_webb", "haproxy_webc")

	s.Step("requests to port 80 go round all three, and each answer names the address that it is from")
	p.awaitStatus("UP", webs...)
	p.wantRound(9, webs...)
	if page := s.MustGet("http://127.0.0.1:70/"); !strings.Contains(page, "Statistics Report") {
		t.Errorf("the page on port 70: %.500s", page)
	}

	s.Step("haproxy's file is there to be read only, and the folder that it is in is there as well")
	f.Must("exec", "-T", "haproxy", "test", "-s", "/haproxy-override/haproxy.cfg")
	const file = "/usr/local/etc/haproxy/haproxy.cfg"
	if r := f.Berth("exec", "-T", "-u", "root", "haproxy", "sh", "-c", "echo >> "+file); r.Code == 0 || !strings.Contains(r.Stderr, "Read-only") {
		t.Errorf("want a refusal: %s", r)
	}

	s.Step("one is stopped: no request is lost, and haproxy marks it down")
	f.Must("stop", "webb")
	for range 4 {
		if _, err := p.request(); err != nil {
			t.Errorf("a request after webb was stopped: %v", err)
		}
	}
	p.awaitStatus("DOWN", "webb")
	p.awaitStatus("UP", "weba", "webc")
	p.wantRound(6, "weba", "webc")

	s.Step("it is started and comes back")
	f.Must("start", "webb")
	p.awaitStatus("UP", webs...)
	p.wantRound(9, webs...)

	s.Step("every container ends by itself when it is asked to, and the stack starts again")
	f.Must("stop", "-t", "100")
	if ps := f.Must("ps", "-a"); strings.Count(ps.Stdout, "Exit 0") != 4 {
		t.Errorf("four containers have ended with code 0: %s", ps)
	}
	f.Must("start")
	p.awaitStatus("UP", webs...)
	p.wantRound(9, webs...)

	s.Step("a change to haproxy.cfg counts after a restart, also if a web is stopped meanwhile, which is found when it starts")
	f.Must("stop", "weba")
	config, err := os.ReadFile(filepath.Join(f.Path, "haproxy/haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	f.Write("haproxy/haproxy.cfg", string(config)+"    stats show-desc \"under berth\"\n")
	f.Must("restart", "haproxy")
	s.Eventually("the statistics have the new description", func() error {
		page, err := s.Get("http://127.0.0.1:70/")
		if err == nil && !strings.Contains(page, "under berth") {
			err = fmt.Errorf("%.500s", page)
		}
		return err
	})
	p.awaitStatus("DOWN", "weba")
	f.Must("start", "weba")
	p.awaitStatus("UP", webs...)
	p.wantRound(9, webs...)

	s.Step("one that is made anew keeps its address, at which haproxy finds it")
	f.Must("up", "-d", "--force-recreate", "weba")
	if now := strings.TrimSpace(f.Must("exec", "-T", "weba", "hostname", "-I").Stdout); now != p.address["weba"] {
		t.Errorf("weba's address was %s, and is %s", p.address["weba"], now)
	}
	p.awaitStatus("UP", webs...)
	p.wantRound(9, webs...)

	s.Step("a change to the program is in all three after up --build")
	index, err := os.ReadFile(filepath.Join(f.Path, "web/index.py"))
	if err != nil {
		t.Fatal(err)
	}
	f.Write("web/index.py", strings.Replace(string(index), "Hello from", "Good day from", 1))
	f.Must("up", "-d", "--build")
	p.greeting = "Good day"
	p.awaitStatus("UP", webs...)
	p.wantRound(9, webs...)

	s.Step("down --rmi local removes what was built, and leaves what was pulled")
	f.Must("down", "--rmi", "local")
	for name, want := range map[string]int{"haproxy_weba": 1, "haproxy_webb": 1, "haproxy_webc": 1, "haproxy": 0} {
		if r := s.Berth("image", "inspect", name); r.Code != want {
			t.Errorf("want exit code %d: %s", want, r)
		}
	}
}

var webs = []string{"weba", "webb", "webc"}

// proxied is the stack from outside.
type proxied struct {
	*scenario.Scenario
	address  map[string]string // of a web
	greeting string
}

// request gives the web that answered.
func (p proxied) request() (web string, err error) {
	page, err := p.Get("http://127.0.0.1:80/")
	if err != nil {
		return "", err
	}
	for _, web := range webs {
		if strings.HasPrefix(page, p.greeting+" from "+p.address[web]+",") {
			return web, nil
		}
	}
	return "", fmt.Errorf("an answer of neither of %v: %q", p.address, page)
}

// wantRound wants n requests to be shared equally by these webs, soon: some may have been started a moment ago.
func (p proxied) wantRound(n int, list ...string) {
	p.Helper()
	want := map[string]int{}
	for _, web := range list {
		want[web] = n / len(list)
	}
	p.Eventually(fmt.Sprintf("%d requests go round %v", n, list), func() error {
		got := map[string]int{}
		for range n {
			web, err := p.request()
			if err != nil {
				return err
			}
			got[web]++
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("answers by %v", got)
		}
		return nil
	})
}

// awaitStatus waits until haproxy's statistics have these webs at a status.
func (p proxied) awaitStatus(status string, list ...string) {
	p.Helper()
	p.Eventually(fmt.Sprintf("haproxy's statistics have %v %s", list, status), func() error {
		text, err := p.Get("http://127.0.0.1:70/;csv")
		if err != nil {
			return err
		}
		have, err := serverStatus(text)
		if err != nil {
			return err
		}
		for _, web := range list {
			if have[web] != status {
				return fmt.Errorf("they have %v", have)
			}
		}
		return nil
	})
}

// serverStatus reads haproxy's statistics: of each server of backend webs, its status.
func serverStatus(text string) (map[string]string, error) {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# ")))
	r.FieldsPerRecord = -1
	head, err := r.Read()
	if err != nil {
		return nil, err
	}
	status := slices.Index(head, "status")
	have := map[string]string{}
	for {
		line, err := r.Read()
		if err == io.EOF {
			return have, nil
		}
		if err != nil {
			return nil, err
		}
		if status >= 0 && status < len(line) && line[0] == "webs" {
			have[line[1]] = line[status]
		}
	}
}
