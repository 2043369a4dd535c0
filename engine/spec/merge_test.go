package spec_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/engine/spec"
)

func TestServiceOverridesImage(t *testing.T) {
	second := types.Duration(time.Second)
	three := uint64(3)
	value := func(s string) *string { return &s }
	image := `{"config":{"Entrypoint":["docker-entrypoint.sh"],"Cmd":["mariadbd"],"Env":["PATH=/bin","LANG=C","GONE=1"],
		"User":"mysql","WorkingDir":"/var/lib","StopSignal":"SIGUSR1","ExposedPorts":{"3306/tcp":{},"53/udp":{},"bad":{}},
		"Volumes":{"/var/lib/mysql":{},"/b":{}},"Labels":{"a":"image","b":"image"},
		"Healthcheck":{"Test":["CMD","ping"],"Interval":5000000000,"Retries":7},"Shell":["/bin/bash","-c"]}}`
	for name, c := range map[string]struct {
		service types.ServiceConfig
		image   string
		get     func(spec.Process) any
		want    any
	}{
		"without a word it runs what the image says": {
			get: args, want: []string{"docker-entrypoint.sh", "mariadbd"},
		},
		"a command replaces the image's command": {
			service: service(func(s *types.ServiceConfig) { s.Command = types.ShellCommand{"bash"} }),
			get:     args, want: []string{"docker-entrypoint.sh", "bash"},
		},
		"an entrypoint drops the image's command": {
			service: service(func(s *types.ServiceConfig) { s.Entrypoint = types.ShellCommand{"sh", "-c"} }),
			get:     args, want: []string{"sh", "-c"},
		},
		"entrypoint and command are put together": {
			service: service(func(s *types.ServiceConfig) {
				s.Entrypoint, s.Command = types.ShellCommand{"sh"}, types.ShellCommand{"x"}
			}),
			get: args, want: []string{"sh", "x"},
		},
		"an empty entrypoint drops only the image's": {
			service: service(func(s *types.ServiceConfig) { s.Entrypoint = types.ShellCommand{} }),
			get:     args, want: []string{"mariadbd"},
		},
		"an empty command is the image's, as with docker": {
			service: service(func(s *types.ServiceConfig) { s.Command = types.ShellCommand{} }),
			get:     args, want: []string{"docker-entrypoint.sh", "mariadbd"},
		},
		"variables are replaced in place, added in order, and taken away": {
			service: service(func(s *types.ServiceConfig) {
				s.Environment = types.MappingWithEquals{"Z": value("1"), "LANG": value("de"), "A": value(""), "GONE": nil}
			}),
			get: func(p spec.Process) any { return p.Env }, want: []string{"PATH=/bin", "LANG=de", "A=", "Z=1"},
		},
		"user, folder and signal come from the image": {
			get: func(p spec.Process) any { return p.User + p.WorkingDir + p.StopSignal }, want: "mysql/var/libSIGUSR1",
		},
		"user, folder and signal come from the service": {
			service: service(func(s *types.ServiceConfig) { s.User, s.WorkingDir, s.StopSignal = "1:2", "srv", "SIGINT" }),
			get:     func(p spec.Process) any { return p.User + p.WorkingDir + p.StopSignal }, want: "1:2/srvSIGINT",
		},
		"with nothing said it is root in / and ends by SIGTERM": {
			image: `{"config":{}}`,
			get:   func(p spec.Process) any { return p.User + p.WorkingDir + p.StopSignal }, want: "/SIGTERM",
		},
		"exposed ports add up": {
			service: service(func(s *types.ServiceConfig) {
				s.Expose = types.StringOrNumberList{"8000-8001", "53/tcp"}
				s.Ports = []types.ServicePortConfig{{Target: 80, Published: "8080"}, {Target: 3306, Protocol: "tcp"}, {Target: 9, Protocol: "udp"}}
			}),
			get:  func(p spec.Process) any { return ports(p.Exposed) },
			want: "9/udp 53/tcp 53/udp 80/tcp 3306/tcp 8000/tcp 8001/tcp",
		},
		"volumes are sorted": {
			get: func(p spec.Process) any { return p.Volumes }, want: []string{"/b", "/var/lib/mysql"},
		},
		"labels of the service win, and the tool's over those": {
			service: service(func(s *types.ServiceConfig) {
				s.Labels, s.CustomLabels = types.Labels{"b": "service", "c": "service"}, types.Labels{"c": "tool"}
			}),
			get: func(p spec.Process) any { return p.Labels }, want: map[string]string{"a": "image", "b": "service", "c": "tool"},
		},
		"a check of the image gets docker's defaults": {
			get: func(p spec.Process) any { return *p.Health },
			want: spec.Healthcheck{Test: []string{"CMD", "ping"}, Interval: 5 * time.Second, Timeout: 30 * time.Second,
				StartInterval: 5 * time.Second, Retries: 7},
		},
		"a check of the service keeps the image's other fields": {
			service: service(func(s *types.ServiceConfig) {
				s.HealthCheck = &types.HealthCheckConfig{Test: types.HealthCheckTest{"CMD-SHELL", "true"}, Timeout: &second, StartPeriod: &second, Retries: &three}
			}),
			get: func(p spec.Process) any { return *p.Health },
			want: spec.Healthcheck{Test: []string{"CMD-SHELL", "true"}, Interval: 5 * time.Second, Timeout: time.Second,
				StartPeriod: time.Second, StartInterval: 5 * time.Second, Retries: 3},
		},
		"a check can be switched off": {
			service: service(func(s *types.ServiceConfig) { s.HealthCheck = &types.HealthCheckConfig{Disable: true} }),
			get:     hasHealth, want: false,
		},
		"NONE switches a check off": {
			service: service(func(s *types.ServiceConfig) {
				s.HealthCheck = &types.HealthCheckConfig{Test: types.HealthCheckTest{"NONE"}}
			}),
			get: hasHealth, want: false,
		},
		"an interval alone makes no check": {
			image:   `{"config":{}}`,
			service: service(func(s *types.ServiceConfig) { s.HealthCheck = &types.HealthCheckConfig{Interval: &second} }),
			get:     hasHealth, want: false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.image == "" {
				c.image = image
			}
			if got := c.get(spec.Merge(c.service, imageOf(t, c.image))); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}

func args(p spec.Process) any      { return p.Args }
func hasHealth(p spec.Process) any { return p.Health != nil }

func ports(all []spec.Port) string {
	var words []string
	for _, p := range all {
		words = append(words, p.String())
	}
	return strings.Join(words, " ")
}

func TestMergeLeavesTheImageAlone(t *testing.T) {
	img := imageOf(t, `{"config":{"Cmd":["a","b"],"Env":["A=1"],"Labels":{"l":"1"}}}`)
	p := spec.Merge(types.ServiceConfig{}, img)
	p.Cmd[0], p.Args[1], p.Env[0], p.Labels["l"] = "x", "x", "x", "x"
	if img.Cmd[0] != "a" || img.Cmd[1] != "b" || img.Env[0] != "A=1" || img.Labels["l"] != "1" {
		t.Errorf("the image changed: %+v", img)
	}
}

// imageOf reads an image's configuration.
func imageOf(t *testing.T, blob string) spec.Image {
	t.Helper()
	var parsed struct {
		Config spec.Image `json:"config"`
	}
	if err := json.Unmarshal([]byte(blob), &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed.Config
}
