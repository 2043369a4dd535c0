package cli_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/engine/api"
	"berth/project"
)

func shopContainers() []api.Container {
	return []api.Container{
		{
			ID: "6c1b8d7e9f0011223344", Name: "shop-web-1", Project: "shop", Service: "web", Number: 1, Image: "nginx", ImageID: "sha256:54e148c930370000",
			Command: []string{"/docker-entrypoint.sh", "nginx", "-g", "daemon off;"}, Created: now.Add(-3 * time.Minute), Started: now.Add(-2 * time.Minute),
			State: "running", Health: "healthy", Labels: map[string]string{"tier": "front", "a": "b"}, Mounts: []string{"shop_a-rather-long-name"}, LocalVolumes: 1,
			Ports: []api.Publisher{
				{URL: "0.0.0.0", TargetPort: 80, PublishedPort: 8080, Protocol: "tcp"}, {URL: "::", TargetPort: 80, PublishedPort: 8080, Protocol: "tcp"},
				{TargetPort: 443, Protocol: "tcp"}, {TargetPort: 444, Protocol: "tcp"},
			},
			Networks: []api.NetworkAddress{{Name: "shop_front"}, {Name: "shop_back"}},
		},
		{
			ID: "0a1b2c3d4e5f66778899", Name: "shop-db-1", Project: "shop", Service: "db", Number: 1, Image: "mariadb:11", ImageID: "sha256:24c523f81c380000",
			Command: []string{"mariadbd"}, Created: now.Add(-5 * time.Hour), Started: now.Add(-4 * time.Hour), Finished: now.Add(-time.Hour),
			State: "exited", ExitCode: 1, Ports: []api.Publisher{{TargetPort: 3306, Protocol: "tcp"}},
		},
		{ID: "ffff", Name: "shop-web-run-0123", Project: "shop", Service: "web", Oneoff: true, State: "running", Created: now, Started: now},
	}
}

func TestPs(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"running containers", "ps", `NAME         IMAGE     COMMAND                  SERVICE   CREATED         STATUS                   PORTS
shop-web-1   nginx     "/docker-entrypoint.…"   web       3 minutes ago   Up 2 minutes (healthy)   443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp
`},
		{"all of them", "ps -a", `NAME                IMAGE        COMMAND                  SERVICE   CREATED                  STATUS                      PORTS
shop-db-1           mariadb:11   "mariadbd"               db        5 hours ago              Exited (1) About an hour ago   3306/tcp
shop-web-1          nginx        "/docker-entrypoint.…"   web       3 minutes ago            Up 2 minutes (healthy)      443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp
shop-web-run-0123                ""                       web       Less than a second ago   Up Less than a second       
`},
		{"ids", "ps -q", "6c1b8d7e9f0011223344\n"},
		{"services", "ps --services -a", "db\nweb\n"},
		{"a status", "ps --status exited -q", "0a1b2c3d4e5f66778899\n"},
		{"the old form of a status", "ps --filter status=exited -q", "0a1b2c3d4e5f66778899\n"},
		{"one service", "ps -a -q db", "0a1b2c3d4e5f66778899\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t, currentFile)
			s.engine.containers = shopContainers()
			r := s.run(strings.Fields(c.line)...)
			if r.code != 0 || squeeze(r.out.String()) != squeeze(c.want) {
				t.Errorf("exit code %d, %q\n%s\nwant\n%s", r.code, r.err, r.out, c.want)
			}
		})
	}
}

// squeeze lets columns differ in width.
func squeeze(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(out, "\n")
}

func TestPsInOtherFormats(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.containers = shopContainers()
	r := s.run("ps", "--format", "json")
	var c struct {
		ID, Name, Service, State, Health, Status, Ports, Labels, Networks, Mounts, Project, Command string
		ExitCode                                                                                    int
		Publishers                                                                                  []api.Publisher
	}
	if err := json.Unmarshal([]byte(r.out.String()), &c); err != nil {
		t.Fatalf("%v in %q", err, r.out)
	}
	if c.ID != "6c1b8d7e9f0011223344" || c.Service != "web" || c.Health != "healthy" || c.Labels != "a=b,tier=front" || c.Networks != "shop_front,shop_back" ||
		len(c.Publishers) != 4 || c.Publishers[0].PublishedPort != 8080 || c.Mounts != "shop_a-rather-long-name" {
		t.Errorf("as JSON: %+v", c)
	}
	expect(t, s.run("ps", "--format", `{{.Name}} {{.Label "tier"}} {{upper .State}} {{json .Publishers}}`), 0,
		`shop-web-1 front RUNNING [{"URL":"0.0.0.0","TargetPort":80,"PublishedPort":8080,"Protocol":"tcp"},{"URL":"::","TargetPort":80,"PublishedPort":8080,"Protocol":"tcp"},{"URL":"","TargetPort":443,"PublishedPort":0,"Protocol":"tcp"},{"URL":"","TargetPort":444,"PublishedPort":0,"Protocol":"tcp"}]`+"\n", "")
	expect(t, s.run("ps", "--format", `table {{.Name}}\t{{.ID}}\t{{.State}}`), 0, "NAME         CONTAINER ID   STATE\nshop-web-1   6c1b8d7e9f00   running\n", "")
	r = s.run("ps", "--format", "{{.Nothing}}")
	if r.code != 1 || !strings.Contains(r.err.String(), "fields are Command, Created,") {
		t.Errorf("an unknown field: %d %q", r.code, r.err)
	}
}

func TestPsOfALegacyProject(t *testing.T) {
	s := newShell(t, legacyFile)
	s.engine.containers = []api.Container{
		{
			ID: "bb", Name: "wordpress_wordpress_1", Service: "wordpress", State: "running", Command: []string{"docker-entrypoint.sh", "apache2-foreground"},
			Ports: []api.Publisher{{URL: "0.0.0.0", TargetPort: 80, PublishedPort: 8080, Protocol: "tcp"}, {URL: "::", TargetPort: 80, PublishedPort: 8080, Protocol: "tcp"}},
		},
		{ID: "aa", Name: "wordpress_db_1", Service: "db", State: "running", Command: []string{"docker-entrypoint.sh", "mariadbd"}, Ports: []api.Publisher{{TargetPort: 3306, Protocol: "tcp"}}},
	}
	want := `        Name                       Command               State                  Ports                
-----------------------------------------------------------------------------------------------------
wordpress_db_1          docker-entrypoint.sh mariadbd    Up      3306/tcp                            
wordpress_wordpress_1   docker-entrypoint.sh apach ...   Up      0.0.0.0:8080->80/tcp,:::8080->80/tcp
`
	expect(t, s.run("ps"), 0, want, "")
	expect(t, s.run("ps", "-q"), 0, "aa\nbb\n", "")
	s.engine.containers[0].State, s.engine.containers[1].State = "exited", "exited"
	s.engine.containers[0].Ports, s.engine.containers[1].Ports = nil, nil
	want = `        Name                       Command               State    Ports
-----------------------------------------------------------------------
wordpress_db_1          docker-entrypoint.sh mariadbd    Exit 0        
wordpress_wordpress_1   docker-entrypoint.sh apach ...   Exit 0        
`
	expect(t, s.run("ps"), 0, want, "")
	s.engine.containers = nil
	expect(t, s.run("ps"), 0, "Name   Command   State   Ports\n------------------------------\n", "")
}

func TestAProjectIsFoundWithoutItsFiles(t *testing.T) {
	kept := newShell(t, legacyFile)
	legacy, err := project.Load(context.Background(), project.Options{WorkDir: kept.dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file string
		args       []string
		known      bool
		code       int
		asks       string
	}{
		{"by -p, beside another file", currentFile, []string{"-p", "wordpress", "down"}, true, 0, "wordpress"},
		{"by the folder's name", "", []string{"down"}, true, 0, "wordpress"},
		{"not, where nothing is known of that name", "", []string{"down"}, false, 1, ""},
		{"by -p, though nothing is known", "", []string{"-p", "other", "down"}, false, 0, "other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t, c.file)
			if c.known {
				s.engine.kept = map[string]*project.Project{"wordpress": legacy}
			}
			s.engine.report = step("stop", "container wordpress_db_1", "")
			r := s.run(c.args...)
			if r.code != c.code {
				t.Fatalf("exit code %d: %q", r.code, r.err)
			}
			if c.code != 0 {
				if !strings.Contains(r.err.String(), "no compose file found") {
					t.Errorf("it says %q", r.err)
				}
				return
			}
			if q := request[api.DownRequest](t, s.engine); q.Name != c.asks || q.Project != nil {
				t.Errorf("the engine was asked for %q, with files: %v", q.Name, q.Project != nil)
			}
			if classic := strings.Contains(r.err.String(), "Stopping wordpress_db_1 ... done\r\n"); classic != c.known {
				t.Errorf("the look is wrong: %q", r.err)
			}
		})
	}
}

func TestServicesMustExist(t *testing.T) {
	for _, line := range []string{"up -d wev", "ps wev", "stop wev", "logs wev", "exec wev true", "run wev", "down wev", "up --exit-code-from wev"} {
		s := newShell(t, currentFile)
		attachEngine(t, s)
		if r := s.run(strings.Fields(line)...); r.code != 1 || !strings.Contains(r.err.String(), "no such service: wev") {
			t.Errorf("%s: exit code %d, %q", line, r.code, r.err)
		}
	}
}

func TestLogs(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.containers = shopContainers()
	s.engine.logs = func(_ context.Context, _ *api.LogsRequest, send func(api.LogBatch) error) error {
		b := lines("db", 1, true, "starting", "ready")
		long := lines("web", 1, false)
		for i, piece := range []string{"one ", "long ", "line"} {
			long.Data = api.AppendLog(long.Data, api.LogEntry{Time: now, Partial: i < 2, Data: []byte(piece)})
		}
		for _, b := range []api.LogBatch{b, lines("web", 1, false, "GET /", ""), long} {
			if err := send(b); err != nil {
				return err
			}
		}
		return nil
	}
	expect(t, s.run("logs"), 0, `db-1          | starting
db-1          | ready
web-1         | GET /
web-1         | 
web-1         | one long line
`, "")
	expect(t, s.run("logs", "--no-log-prefix"), 0, "starting\nready\nGET /\n\none long line\n", "")
	r := s.run("logs", "-t", "db")
	if !strings.HasPrefix(r.out.String(), "db-1  | 2026-11-22T12:00:00.000000000Z starting\n") {
		t.Errorf("with times: %q", r.out)
	}
	r = s.run("--ansi", "always", "logs")
	if !strings.HasPrefix(r.out.String(), "\x1b[36mdb-1          | \x1b[0mstarting\n") || !strings.Contains(r.out.String(), "\x1b[33mweb-1         | \x1b[0mGET /\n") {
		t.Errorf("with colours: %q", r.out)
	}
	if r = s.run("--ansi", "always", "logs", "--no-color"); strings.Contains(r.out.String(), "\x1b") {
		t.Errorf("without colours: %q", r.out)
	}
}

func TestLogsOfALegacyProject(t *testing.T) {
	s := newShell(t, legacyFile)
	s.engine.containers = []api.Container{{Name: "wordpress_wordpress_1", Service: "wordpress", State: "running"}, {Name: "wordpress_db_1", Service: "db", State: "exited"}}
	s.engine.logs = func(_ context.Context, _ *api.LogsRequest, send func(api.LogBatch) error) error {
		for _, name := range []string{"db", "wordpress"} {
			b := lines(name, 1, false, "hello")
			b.Container = "wordpress_" + name + "_1"
			if err := send(b); err != nil {
				return err
			}
		}
		return nil
	}
	expect(t, s.run("logs"), 0, "Attaching to wordpress_db_1, wordpress_wordpress_1\ndb_1         | hello\nwordpress_1  | hello\n", "")
	r := s.run("--ansi", "always", "logs")
	if !strings.Contains(r.out.String(), "\x1b[36mdb_1         |\x1b[0m hello\n\x1b[33mwordpress_1  |\x1b[0m hello\n") {
		t.Errorf("with colours: %q", r.out)
	}
}

func TestWhichLinesLogsAsksFor(t *testing.T) {
	for _, c := range []struct {
		line string
		want api.LogsRequest
	}{
		{"logs", api.LogsRequest{Tail: -1}},
		{"logs -f -n 5 web", api.LogsRequest{Follow: true, Tail: 5, ProjectSelector: api.ProjectSelector{Services: []string{"web"}}}},
		{"logs --tail all --index 2 web", api.LogsRequest{Tail: -1, Index: 2, ProjectSelector: api.ProjectSelector{Services: []string{"web"}}}},
		{"logs --tail 0", api.LogsRequest{Tail: 0}},
		{"logs --since 10m --until 2026-11-22T11:58:00Z", api.LogsRequest{Tail: -1, Since: now.Add(-10 * time.Minute), Until: now.Add(-2 * time.Minute)}},
		{"logs --since 1700000000.5", api.LogsRequest{Tail: -1, Since: time.Unix(1700000000, 5e8)}},
	} {
		t.Run(c.line, func(t *testing.T) {
			s := newShell(t, currentFile)
			s.engine.containers = []api.Container{{Name: "shop-web-2", Service: "web", Number: 2, State: "running"}}
			if r := s.run(strings.Fields(c.line)...); r.code != 0 {
				t.Fatal(r.err)
			}
			q := request[api.LogsRequest](t, s.engine)
			if q.Name != "shop" || q.Follow != c.want.Follow || q.Tail != c.want.Tail || q.Index != c.want.Index || !q.Since.Equal(c.want.Since) ||
				!q.Until.Equal(c.want.Until) || !slices.Equal(q.Services, c.want.Services) {
				t.Errorf("asked %+v, want %+v", q, c.want)
			}
		})
	}
	s := newShell(t, currentFile)
	expect(t, s.run("logs", "--index", "7", "web"), 1, "", "error: service \"web\" has no container with number 7\nhint:  see berth ps -a\n")
	for _, line := range []string{"logs --since yesterday", "logs --tail some"} {
		if r := s.run(strings.Fields(line)...); r.code != 1 || !strings.HasPrefix(r.err.String(), "error: --") {
			t.Errorf("%s: %d %q", line, r.code, r.err)
		}
	}
}

func TestTop(t *testing.T) {
	titles := []string{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"}
	s := newShell(t, currentFile)
	s.engine.top = []api.ContainerTop{
		{Name: "shop-web-1", Service: "web", Number: 1, Titles: titles, Processes: [][]string{{"root", "12", "1", "0", "00:29", "?", "00:00:00", "nginx: master"}}},
		{Name: "shop-db-1", Service: "db", Number: 1, Titles: titles, Processes: [][]string{{"999", "10", "1", "0", "00:29", "?", "00:00:00", "mariadbd"}}},
	}
	expect(t, s.run("top"), 0, `SERVICE   #   UID    PID   PPID   C   STIME   TTY   TIME       CMD
db        1   999    10    1      0   00:29   ?     00:00:00   mariadbd
web       1   root   12    1      0   00:29   ?     00:00:00   nginx: master
`, "")
	l := newShell(t, legacyFile)
	l.engine.top = []api.ContainerTop{{Name: "wordpress_db_1", Titles: titles, Processes: [][]string{{"999", "27679", "27657", "0", "00:29", "?", "00:00:00", "mariadbd"}}}}
	expect(t, l.run("top"), 0, `wordpress_db_1
UID    PID    PPID    C   STIME   TTY     TIME       CMD   
-----------------------------------------------------------
999   27679   27657   0   00:29   ?     00:00:00   mariadbd
`, "")
}

func TestPort(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.containers = shopContainers()
	expect(t, s.run("port", "web", "80"), 0, "0.0.0.0:8080\n", "")
	expect(t, s.run("port", "web", "80/tcp"), 0, "0.0.0.0:8080\n", "")
	expect(t, s.run("port", "web", "443"), 1, "", "error: port 443/tcp of container shop-web-1 is not published\nhint:  its ports: 443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp\n")
	expect(t, s.run("port", "--protocol", "udp", "web", "80"), 1, "", "error: port 80/udp of container shop-web-1 is not published\nhint:  its ports: 443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp\n")
	expect(t, s.run("port", "db", "3306"), 1, "", "error: no container of service \"db\" runs\nhint:  see berth ps -a\n")
}

func TestLs(t *testing.T) {
	s := newShell(t, "")
	s.engine.projects = []api.ProjectInfo{
		{Name: "shop", Status: map[string]int{"running": 2, "exited": 1}, ConfigFiles: []string{"/srv/shop/compose.yaml", "/srv/shop/compose.override.yaml"}},
		{Name: "old", Status: map[string]int{"exited": 3}, ConfigFiles: []string{"/srv/old/compose.yaml"}},
	}
	expect(t, s.run("ls"), 0, `NAME                STATUS              CONFIG FILES
shop                running(2)          /srv/shop/compose.yaml,/srv/shop/compose.override.yaml
`, "")
	expect(t, s.run("ls", "-a", "--filter", "name=shop"), 0, `NAME                STATUS                  CONFIG FILES
shop                exited(1), running(2)   /srv/shop/compose.yaml,/srv/shop/compose.override.yaml
`, "")
	expect(t, s.run("ls", "-a", "-q"), 0, "old\nshop\n", "")
	expect(t, s.run("ls", "-a", "--filter", "name=^o", "--format", "json"), 0, `[{"ConfigFiles":"/srv/old/compose.yaml","Name":"old","Status":"exited(3)"}]`+"\n", "")
}

func TestImages(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.containers = shopContainers()
	s.engine.images = []api.Image{
		{Name: "docker.io/library/mariadb:11", ID: "sha256:24c523f81c380000", Size: 141300000, Created: now.Add(-72 * time.Hour), Platform: "linux/amd64"},
		{Name: "docker.io/library/nginx:latest", ID: "sha256:54e148c930370000", Size: 68000000, Platform: "linux/amd64"},
	}
	expect(t, s.run("images"), 0, `CONTAINER           REPOSITORY          TAG                 PLATFORM            IMAGE ID            SIZE                CREATED
shop-db-1           mariadb             11                  linux/amd64         24c523f81c38        141MB               3 days ago
shop-web-1          nginx               latest              linux/amd64         54e148c93037        68MB                N/A
`, "")
	expect(t, s.run("images", "-q"), 0, "24c523f81c380000\n54e148c930370000\n", "")
	expect(t, s.run("image", "ls"), 0, `REPOSITORY   TAG       IMAGE ID       CREATED      SIZE
mariadb      11        24c523f81c38   3 days ago   141MB
nginx        latest    54e148c93037   N/A          68MB
`, "")
	expect(t, s.run("image", "ls", "-q", "nginx"), 0, "54e148c93037\n", "")
	nameless := newShell(t, currentFile)
	nameless.engine.images = []api.Image{{Name: "<none>", ID: "sha256:54e148c930370000", Size: 68000000}}
	expect(t, nameless.run("image", "ls"), 0, `REPOSITORY   TAG       IMAGE ID       CREATED   SIZE
<none>       <none>    54e148c93037   N/A       68MB
`, "")

	l := newShell(t, legacyFile)
	l.engine.containers = []api.Container{{Name: "wordpress_db_1", Image: "mariadb", ImageID: "sha256:24c523f81c380000"}}
	l.engine.images = s.engine.images
	expect(t, l.run("images"), 0, `  Container      Repository    Tag       Image Id       Size  
--------------------------------------------------------------
wordpress_db_1   mariadb      latest   24c523f81c38   141.3 MB
`, "")
}

func TestVolumes(t *testing.T) {
	s := newShell(t, currentFile)
	s.engine.volumes = []api.Volume{{Name: "shop_data", Driver: "local", Mountpoint: "/var/lib/berth/volumes/shop_data"}}
	expect(t, s.run("volumes"), 0, "DRIVER    VOLUME NAME\nlocal     shop_data\n", "")
	expect(t, s.run("volumes", "-q"), 0, "shop_data\n", "")
}

func TestVersionNeedsNoEngine(t *testing.T) {
	s := newShell(t, "")
	s.down = true
	expect(t, s.run("version", "--short"), 0, "dev\n", "")
	r := s.run("version")
	if r.code != 0 || !strings.HasPrefix(r.out.String(), "berth version dev\n  containerd  v2.4.2\n  runc        v1.5.2\n") || !strings.HasSuffix(r.out.String(), "engine      not running\n") {
		t.Errorf("%d %q", r.code, r.out)
	}
	if s.started > 0 {
		t.Error("an engine was asked for")
	}
	s.down, s.engine.version = false, &api.VersionResponse{Engine: "dev", Pid: 42}
	var v struct {
		Version, Containerd string
		Engine              *struct{ Pid int }
	}
	if r = s.run("version", "--format", "json"); json.Unmarshal([]byte(r.out.String()), &v) != nil || v.Version != "dev" || v.Engine == nil || v.Engine.Pid != 42 {
		t.Errorf("as JSON: %q", r.out)
	}
}

func TestConfigPinsImages(t *testing.T) {
	s := newShell(t, currentFile)
	s.write("compose.yaml", `services:
  web: {image: "nginx:1", environment: {A: b}}
  other: {image: "nginx:1", depends_on: [web]}
  own: {build: .}
`)
	r := s.run("config", "--resolve-image-digests")
	if r.code != 0 || strings.Count(r.out.String(), "    image: nginx:1@sha256:12\n") != 2 || !strings.Contains(r.out.String(), "A: b") || !strings.Contains(r.out.String(), "build:") {
		t.Errorf("%d %s %s", r.code, r.out, r.err)
	}
	if q := request[api.ImageDigestsRequest](t, s.engine); !slices.Equal(q.Refs, []string{"nginx:1"}) {
		t.Errorf("asked for is %v", q.Refs)
	}
	expect(t, s.run("config", "--lock-image-digests"), 0, "services:\n  other:\n    image: nginx:1@sha256:12\n  web:\n    image: nginx:1@sha256:12\n", "")
	expect(t, s.run("config", "--lock-image-digests", "web"), 0, "services:\n  web:\n    image: nginx:1@sha256:12\n", "")
	s.run("config", "--resolve-image-digests", "own")
	if q := request[api.ImageDigestsRequest](t, s.engine); len(q.Refs) != 0 {
		t.Errorf("for what is built is asked %v", q.Refs)
	}
	if r := s.run("config", "--lock-image-digests", "--no-interpolate"); r.code == 0 || !strings.Contains(r.err.String(), "--no-interpolate") {
		t.Errorf("%d %s", r.code, r.err)
	}
}

func TestConfigNeedsNoEngine(t *testing.T) {
	s := newShell(t, currentFile)
	s.down = true
	r := s.run("config")
	if r.code != 0 || !strings.HasPrefix(r.out.String(), "name: shop\nservices:\n  db:\n    image: mariadb\n") {
		t.Errorf("%d %q %q", r.code, r.out, r.err)
	}
	expect(t, s.run("config", "--services"), 0, "db\nweb\n", "")
	expect(t, s.run("--profile", "tools", "config", "--services"), 0, "db\ndebug\nweb\n", "")
	expect(t, s.run("config", "--profiles"), 0, "tools\n", "")
	expect(t, s.run("config", "--images"), 0, "mariadb\nnginx\n", "")
	expect(t, s.run("config", "-q"), 0, "", "")
	expect(t, s.run("config", "--networks"), 0, "default\n", "")
	if r = s.run("config", "--hash", "*"); len(strings.Fields(r.out.String())) != 4 || !strings.HasPrefix(r.out.String(), "db ") {
		t.Errorf("hashes: %q", r.out)
	}
	s.write("compose.yaml", "services: {web: {image: 'nginx:${TAG:-1}', command: 'echo $$HOME', environment: {A: '${B?missing}'}}}")
	s.env = []string{"B=x"}
	if r = s.run("config"); !strings.Contains(r.out.String(), "image: nginx:1\n") || !strings.Contains(r.out.String(), "$$HOME") {
		t.Errorf("dollars: %q %q", r.out, r.err)
	}
	expect(t, s.run("config", "--variables"), 0, `NAME                REQUIRED            DEFAULT VALUE       ALTERNATE VALUE
B                   true                                    
TAG                 false               1                   
`, "")
	if r = s.run("config", "--no-interpolate"); !strings.Contains(r.out.String(), "image: nginx:${TAG:-1}\n") || !strings.Contains(r.out.String(), "echo $$HOME") {
		t.Errorf("variables as they stand: %q %q", r.out, r.err)
	}
	if r = s.run("config", "-o", "out.yaml"); r.code != 0 || r.out.String() != "" {
		t.Errorf("to a file: %d %q", r.code, r.out)
	}
	if r = s.run("-f", "out.yaml", "config", "--services"); r.out.String() != "web\n" {
		t.Errorf("the file written is read as %q %q", r.out, r.err)
	}
	s.write("compose.yaml", "services:\n  web:\n    imagine: nginx\n")
	if r = s.run("config"); r.code != 1 || r.out.String() != "" || !strings.HasPrefix(r.err.String(), "error: ") {
		t.Errorf("a file that is wrong: %d %q %q", r.code, r.out, r.err)
	}
}

func TestWhatIsNoCommandOrFlagHasAWayOut(t *testing.T) {
	s := newShell(t, currentFile)
	s.down = true
	expect(t, s.run("-v"), 0, "berth version dev\n", "")
	expect(t, s.run("help", "nosuch"), 1, "", "error: \"nosuch\" is not a command\nhint:  see berth --help\n")
	expect(t, s.run("up", "-f", "x.yaml"), 1, "", "error: unknown shorthand flag: 'f' in -f\nhint:  --file stands before the verb: berth --file ... up\n")
	expect(t, s.run("ps", "--nosuch"), 1, "", "error: unknown flag: --nosuch\nhint:  see berth ps --help\n")
	expect(t, s.run("ps", "--serivces"), 1, "", "error: unknown flag: --serivces\nhint:  did you mean --services?\n")
	expect(t, s.run("donw"), 1, "", "error: \"donw\" is not a command\nhint:  did you mean down?\n")
	expect(t, s.run("watch"), 1, "", "error: berth has no command \"watch\" yet\nhint:  berth up -d --build builds what has changed, and replaces its containers\n")
	expect(t, s.run("-p", "Bad Name", "ps"), 1, "", "error: invalid project name \"Bad Name\": it must consist of lower case letters, digits, \"-\" and \"_\", and start with a letter or digit\nhint:  \"badname\" would do\n")
	for _, group := range []string{"", "engine ", "image ", "builder ", "system ", "completion "} {
		r := s.run(append(strings.Fields(group), "--help")...)
		_, usage, _ := strings.Cut(r.out.String(), "Usage:\n")
		usage, _, _ = strings.Cut(usage, "\n\n")
		want := "  berth " + group + "COMMAND"
		if group == "" {
			want = "  berth [OPTIONS] COMMAND"
		}
		if r.code != 0 || usage != want {
			t.Errorf("help of %q shows as its usage %q, want %q", group, usage, want)
		}
	}
	if r := s.run("help", "engine", "stop"); r.code != 0 || !strings.Contains(r.out.String(), "\n  berth engine stop [OPTIONS]\n") {
		t.Errorf("help of a command in a command: %d %q %q", r.code, r.out, r.err)
	}
}

func TestContentOfSecretsMustBeThereForContainersOnly(t *testing.T) {
	s := newShell(t, "services: {web: {image: nginx, secrets: [key]}}\nsecrets: {key: {environment: SHOP_KEY}}\n")
	s.down = true
	for _, verb := range []string{"up", "create", "plan"} {
		if r := s.run(verb); r.code != 1 || !strings.Contains(r.err.String(), "SHOP_KEY is not set") || s.started > 0 {
			t.Errorf("%s: %d %q, asked for an engine %d times", verb, r.code, r.err, s.started)
		}
	}
	expect(t, s.run("config", "-q"), 0, "", "")
}

func TestCompletionOffersServicesAndProfiles(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"__complete up w", "web\n:4\n"},
		{"__complete logs web d", "db\ndebug\n:4\n"},
		{"__complete --profile t", "tools\n:4\n"},
		{"__complete exec d", "db\ndebug\n:4\n"},
	} {
		s := newShell(t, currentFile)
		s.down = true
		r := s.run(strings.Fields(c.line)...)
		if r.code != 0 || r.out.String() != c.want {
			t.Errorf("%s: %d %q, want %q", c.line, r.code, r.out, c.want)
		}
	}
}

func TestEventsArePrintedAsTheyCome(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.Local)
	events := make(chan api.Event, 2)
	events <- api.Event{Kind: api.KindContainer, Time: at, Container: &api.ContainerEvent{
		Action: "start", ID: "6c1b", Name: "shop-web-1", Service: "web", Image: "nginx", Attributes: map[string]string{"tier": "front", "com.docker.compose.project": "shop"},
	}}
	events <- api.Event{Kind: api.KindContainer, Time: at, Container: &api.ContainerEvent{Action: "die", ID: "0a1b", Name: "shop-db-1", Service: "db"}}
	close(events)
	s := newShell(t, currentFile)
	s.engine.events = events
	expect(t, s.run("events", "web"), 0, "2026-11-22 12:00:00.123456 container start 6c1b (image=nginx, name=shop-web-1, tier=front)\n", "")

	s.run("events", "--since", "2026-11-22T12:00:00Z", "--until", "1700000000")
	if q := request[api.EventsRequest](t, s.engine); !q.Since.Equal(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)) || q.Until.Unix() != 1700000000 {
		t.Errorf("the engine was asked %+v", q)
	}
	if r := s.run("events", "--since", "noon"); r.code == 0 || !strings.Contains(r.err.String(), `--since: "noon" is neither a time nor a span of time`) {
		t.Errorf("%d %q", r.code, r.err)
	}
}
