package cli_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/engine/api"
	"berth/project"
)

func firstUp() []api.Event {
	return slices.Concat(
		[]api.Event{
			verdict("network shop_default", "create"), verdict("container shop-db-1", "create"), verdict("container shop-web-1", "create"),
		},
		step("create", "network shop_default", ""), step("create", "container shop-db-1", "db"), step("create", "container shop-web-1", "web"),
		step("start", "container shop-db-1", "db"), step("wait", "service db (service_healthy)", "db"), step("start", "container shop-web-1", "web"),
	)
}

func TestUpInTheBackgroundPrintsALineForEachChange(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.report = firstUp()
	r := s.run("up", "-d")
	expect(t, r, 0, "", ` Network shop_default Creating
 Network shop_default Created
 Container shop-db-1 Creating
 Container shop-db-1 Created
 Container shop-web-1 Creating
 Container shop-web-1 Created
 Container shop-db-1 Starting
 Container shop-db-1 Started
 Container shop-db-1 Waiting
 Container shop-db-1 Healthy
 Container shop-web-1 Starting
 Container shop-web-1 Started
`)
	q := request[api.UpRequest](t, s.engine)
	p, err := project.Decode(q.Project)
	if err != nil {
		t.Fatal(err)
	}
	if q.Name != "shop" || len(p.Services) != 2 || q.Parallel != 0 {
		t.Errorf("the engine was asked for project %q with %d services, %d at once", q.Name, len(p.Services), q.Parallel)
	}
}

func TestUpOfALegacyProjectLooksLikeDockerCompose129(t *testing.T) {
	s := newShell(t, legacyFile)
	s.engine.report = slices.Concat(
		[]api.Event{verdict("container wordpress_db_1", "create"), verdict("container wordpress_wordpress_1", "create")},
		step("create", "container wordpress_db_1", "db"), step("start", "container wordpress_db_1", "db"),
		step("create", "container wordpress_wordpress_1", "wordpress"), step("start", "container wordpress_wordpress_1", "wordpress"),
	)
	r := s.run("up", "-d")
	if r.code != 0 || r.out.String() != "" {
		t.Errorf("exit code %d, standard output %q", r.code, r.out)
	}
	note, progress, _ := strings.Cut(r.err.String(), "\n")
	if !strings.HasPrefix(note, "note: ") || !strings.Contains(note, "v1") {
		t.Errorf("the conversion is not told: %q", note)
	}
	want := "Creating wordpress_db_1 ... \r\nCreating wordpress_db_1 ... done\r\nCreating wordpress_wordpress_1 ... \r\nCreating wordpress_wordpress_1 ... done\r\n"
	if progress != want {
		t.Errorf("progress is\n%q\nwant\n%q", progress, want)
	}
}

func TestUpOfALegacyProjectThatIsUpToDateSaysSo(t *testing.T) {
	s := newShell(t, legacyFile)
	s.engine.report = []api.Event{verdict("container wordpress_db_1", "keep"), verdict("container wordpress_wordpress_1", "keep")}
	r := s.run("up", "-d")
	if _, said, _ := strings.Cut(r.err.String(), "\n"); said != "wordpress_db_1 is up-to-date\nwordpress_wordpress_1 is up-to-date\n" {
		t.Errorf("it says %q", said)
	}
}

func TestUpShowsAReplacementAsOneLine(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.report = slices.Concat(
		[]api.Event{verdict("container shop-db-1", "keep"), verdict("container shop-web-1", "replace")},
		step("stop", "container shop-web-1", ""), step("create", "container shop-web-1", "web"), step("remove", "container shop-web-1", ""),
		step("start", "container shop-web-1", "web"),
	)
	expect(t, s.run("up", "-d"), 0, "", ` Container shop-db-1 Running
 Container shop-web-1 Recreate
 Container shop-web-1 Recreated
 Container shop-web-1 Starting
 Container shop-web-1 Started
`)
}

func TestProgressAsJSON(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.report = slices.Concat(
		[]api.Event{{Kind: api.KindPull, Pull: &api.PullEvent{Ref: "nginx", Layer: "sha256:0123456789abcdef", Status: "downloading", Current: 25, Total: 100}}},
		step("start", "container shop-web-1", "web"), []api.Event{{Kind: api.KindWarning, Text: "watch out"}},
	)
	expect(t, s.run("--progress", "json", "up", "-d"), 0, "", `{"id":"0123456789ab","parent_id":"Image nginx","status":"Working","text":"Downloading","current":25,"total":100,"percent":25}
{"id":"Container shop-web-1","status":"Working","text":"Starting"}
{"id":"Container shop-web-1","status":"Done","text":"Started"}
{"status":"Warning","text":"watch out"}
`)
}

func TestAFailedUpSaysWhatWhyAndTheWayOut(t *testing.T) {
	s := newShell(t, currentFile)
	failed := &api.Error{Message: `start web/1: port 8080/tcp is taken by project "blog", service "gateway"`, HintText: "stop the other: berth -p blog down"}
	e := step("start", "container shop-web-1", "web")
	e[1].Step.Status, e[1].Step.Error = "error", failed
	s.engine.report, s.engine.err = e, failed
	expect(t, s.run("up", "-d"), 1, "", ` Container shop-web-1 Starting
 Container shop-web-1 Error start web/1: port 8080/tcp is taken by project "blog", service "gateway"
error: start web/1: port 8080/tcp is taken by project "blog", service "gateway"
hint:  stop the other: berth -p blog down
`)
}

func TestUpFlagsReachTheEngine(t *testing.T) {
	s := newShell(t, currentFile)
	s.env = []string{"COMPOSE_PARALLEL_LIMIT=3", "COMPOSE_REMOVE_ORPHANS=1", "HOME=/home/me", "DOCKER_DEFAULT_PLATFORM=linux/arm64"}
	r := s.run("up", "-d", "--no-deps", "--force-recreate", "-V", "--pull", "always", "-t", "3", "--wait", "--wait-timeout", "60", "--scale", "web=3", "web")
	if r.code != 0 {
		t.Fatal(r.err)
	}
	q := request[api.UpRequest](t, s.engine)
	p, err := project.Decode(q.Project)
	if err != nil {
		t.Fatal(err)
	}
	web := p.Services["web"]
	for what, ok := range map[string]bool{
		"services":      slices.Equal(q.Services, []string{"web"}),
		"switches":      q.NoDeps && q.ForceRecreate && q.RenewAnonVolumes && q.Wait && q.RemoveOrphans && !q.NoStart,
		"pull":          q.Pull == "always",
		"timeout":       q.Timeout != nil && *q.Timeout == 3*time.Second,
		"wait timeout":  q.WaitTimeout == time.Minute,
		"parallel":      q.Parallel == 3,
		"scale":         web.GetScale() == 3,
		"docker config": q.Host.DockerConfig == "/home/me/.docker",
		"platform":      q.Host.Platform == "linux/arm64" && web.Platform == "linux/arm64",
	} {
		if !ok {
			t.Errorf("%s did not reach the engine: %+v", what, q)
		}
	}
}

func TestFlagsThatContradictEachOther(t *testing.T) {
	for _, c := range []struct{ line, says string }{
		{"up -d --abort-on-container-exit", "--detach can't be combined with --abort-on-container-exit"},
		{"up -d --attach web", "--detach can't be combined"},
		{"up -d --exit-code-from web", "--detach can't be combined"},
		{"up --wait --abort-on-container-exit", "--wait can't be combined"},
		{"up --wait --attach web", "--wait can't be combined"},
		{"up --abort-on-container-exit --abort-on-container-failure", "--abort-on-container-failure can't be combined with --abort-on-container-exit"},
		{"up --attach web --attach-dependencies", "--attach can't be combined with --attach-dependencies"},
		{"up --no-recreate --force-recreate", "--force-recreate can't be combined with --no-recreate"},
		{"up --no-recreate --always-recreate-deps", "--no-recreate can't be combined with --always-recreate-deps"},
		{"up --no-recreate -V", "--no-recreate can't be combined with --renew-anon-volumes"},
		{"up --pull sometimes", `--pull: "sometimes" is not a policy`},
		{"create --no-recreate --force-recreate", "--force-recreate can't be combined"},
		{"run --service-ports -p 80:80 web", "--service-ports can't be combined with --publish"},
		{"run -l nonsense web", `--label: "nonsense" is not KEY=VALUE`},
		{"down --rmi some", `--rmi: "some" is neither all nor local`},
		{"pull --policy never", `--policy: "never" is neither`},
		{"ps --filter state=up", `--filter: "state" is not a property`},
		{"scale web", `"web" is not SERVICE=NUMBER`},
		{"scale web=-1", `"web=-1" is not SERVICE=NUMBER`},
		{"logs --index 2", "--index wants one service"},
		{"--progress loud up", `--progress: "loud" is not a kind`},
		{"--ansi maybe up", `--ansi: "maybe" is none of`},
		{"config --format toml", `--format: "toml" is neither yaml nor json`},
		{"exec web", "which service, and which command?"},
		{"port web http", `"http" is not a port`},
		{"up --nonsense", "unknown flag: --nonsense"},
		{"nonsense", `"nonsense" is not a command`},
		{"image nonsense", `"nonsense" is not a command`},
	} {
		t.Run(c.line, func(t *testing.T) {
			s := newShell(t, currentFile)
			r := s.run(strings.Fields(c.line)...)
			if r.code != 1 || !strings.HasPrefix(r.err.String(), "error: ") || !strings.Contains(r.err.String(), c.says) {
				t.Errorf("exit code %d, %q; want %q", r.code, r.err, c.says)
			}
			if s.started > 0 {
				t.Error("an engine was asked for")
			}
		})
	}
}

func TestOrphansCanNotBeIgnoredAndRemoved(t *testing.T) {
	s := newShell(t, currentFile)
	s.env = []string{"COMPOSE_IGNORE_ORPHANS=true"}
	r := s.run("up", "-d", "--remove-orphans")
	if r.code != 1 || !strings.Contains(r.err.String(), "COMPOSE_IGNORE_ORPHANS can't be combined with --remove-orphans") {
		t.Errorf("exit code %d, %q", r.code, r.err)
	}
	if s.run("up", "-d"); !request[api.UpRequest](t, s.engine).IgnoreOrphans {
		t.Error("the engine was not told to ignore orphans")
	}
}

func question(_ context.Context, q *api.UpRequest, report func(api.Event)) error {
	if slices.Contains(q.Declined, "volume shop_data") {
		return nil
	}
	if !slices.Contains(q.Approved, "volume shop_data") {
		report(api.Event{Kind: api.KindQuestion, Key: "volume shop_data", Text: `replace volume "shop_data"? Its data will be lost`})
		return &api.Error{Class: api.ClassFailedPrecondition, Message: "a question is open"}
	}
	for _, e := range step("create", "volume shop_data", "") {
		report(e)
	}
	return nil
}

func TestLossOfDataIsAsked(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		tty    bool
		typed  string
		code   int
		agreed bool
		says   string
	}{
		{"yes on a terminal", []string{"up", "-d"}, true, "y\n", 0, true, "Its data will be lost [y/N] "},
		{"no on a terminal goes on with the old volume", []string{"up", "-d"}, true, "n\n", 0, false, "Its data will be lost [y/N] "},
		{"nothing typed on a terminal is no", []string{"up", "-d"}, true, "\n", 0, false, "Its data will be lost [y/N] "},
		{"without a terminal", []string{"up", "-d"}, false, "", 1, false, "hint:  give -y to agree"},
		{"agreed beforehand", []string{"up", "-d", "-y"}, false, "", 0, true, "Volume shop_data Created"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t, currentFile)
			s.engine.up, s.tty, s.in = question, c.tty, strings.NewReader(c.typed)
			r := s.run(c.args...)
			if r.code != c.code || !strings.Contains(r.err.String(), c.says) {
				t.Errorf("exit code %d, %q", r.code, r.err)
			}
			req := request[api.UpRequest](t, s.engine)
			if got := len(req.Approved) > 0; got != c.agreed {
				t.Errorf("approved: %v", got)
			}
			if declined := c.code == 0 && !c.agreed; declined != (len(req.Declined) > 0) {
				t.Errorf("declined: %v", req.Declined)
			}
		})
	}
}

func TestPlanShowsStepsWithReasonsThroughBothPlans(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.report = []api.Event{
		{Kind: api.KindPlan, Plan: []api.Step{{ID: 1, Verb: "pull", Object: "image nginx", Why: "not there"}}},
		{Kind: api.KindPlan, Plan: []api.Step{
			{ID: 1, Verb: "create", Object: "container shop-web-1", Why: "not there"},
			{ID: 2, Verb: "start", Object: "container shop-web-1", After: []int{1}, Why: "not there"},
		}},
	}
	want := `#   STEP                          AFTER   WHY
1   pull image nginx                      not there
2   create container shop-web-1           not there
3   start container shop-web-1    2       not there
`
	for _, args := range [][]string{{"plan"}, {"up", "--dry-run"}, {"--dry-run", "up", "-d"}} {
		s.engine.asked = nil
		expect(t, s.run(args...), 0, want, "")
		if !request[api.UpRequest](t, s.engine).DryRun {
			t.Errorf("berth %s is no dry run", strings.Join(args, " "))
		}
	}
	s.engine.report = nil
	expect(t, s.run("plan"), 0, "Nothing to do.\n", "")
	r := s.run("plan", "--format", "json")
	if !strings.Contains(r.out.String(), `"Steps"`) {
		t.Errorf("as JSON: %q", r.out)
	}
}

func TestCreateMakesContainersOnly(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.report = step("create", "container shop-web-1", "web")
	expect(t, s.run("create", "web"), 0, "", " Container shop-web-1 Creating\n Container shop-web-1 Created\n")
	if q := request[api.UpRequest](t, s.engine); !q.NoStart || !slices.Equal(q.Services, []string{"web"}) {
		t.Errorf("the engine was asked %+v", q)
	}
	l := newShell(t, legacyFile)
	l.engine.report = step("create", "container wordpress_db_1", "db")
	if r := l.run("create", "db"); !strings.HasSuffix(r.err.String(), "Creating wordpress_db_1 ... \r\nCreating wordpress_db_1 ... done\r\n") {
		t.Errorf("classic: %q", r.err)
	}
}

func TestScaleChangesTheNumberOfContainers(t *testing.T) {
	s := newShell(t, currentFile)
	if r := s.run("scale", "web=4"); r.code != 0 {
		t.Fatal(r.err)
	}
	q := request[api.UpRequest](t, s.engine)
	p, err := project.Decode(q.Project)
	if err != nil {
		t.Fatal(err)
	}
	if web := p.Services["web"]; web.GetScale() != 4 || !slices.Equal(q.Services, []string{"web"}) {
		t.Errorf("web has %d containers, services are %v", web.GetScale(), q.Services)
	}
	s.write("compose.yaml", "services: {web: {image: nginx, container_name: only}}")
	if r := s.run("scale", "web=2"); r.code != 1 || !strings.Contains(r.err.String(), "services.web.container_name") {
		t.Errorf("a container_name for two: %d %q", r.code, r.err)
	}
}
