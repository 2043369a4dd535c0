package logs_test

import (
	"errors"
	"strings"
	"testing"

	"berth/engine/logs"
)

func TestParseOptions(t *testing.T) {
	for name, c := range map[string]struct {
		driver  string
		opts    map[string]string
		want    logs.Options
		enabled bool
		err     string
	}{
		"no logging section":             {"", nil, logs.Options{}, true, ""},
		"json-file with rotation":        {"json-file", map[string]string{"max-size": "10m", "max-file": "3"}, logs.Options{MaxSizeBytes: 10_000_000, MaxFiles: 3}, true, ""},
		"a size in words of Docker":      {"", map[string]string{"max-size": "1.5 GB"}, logs.Options{MaxSizeBytes: 1_500_000_000}, true, ""},
		"a size in bytes":                {"", map[string]string{"max-size": "4096"}, logs.Options{MaxSizeBytes: 4096}, true, ""},
		"local rotates by itself":        {"local", nil, logs.Options{MaxSizeBytes: 20_000_000, MaxFiles: 5}, true, ""},
		"none":                           {"none", map[string]string{"max-size": "junk"}, logs.Options{}, false, ""},
		"options that change nothing":    {"json-file", map[string]string{"labels": "x", "tag": "{{.Name}}", "mode": "non-blocking"}, logs.Options{}, true, ""},
		"a driver that there is not":     {"syslog", nil, logs.Options{}, false, `log driver "syslog" is not supported`},
		"an option that there is not":    {"", map[string]string{"max-sise": "1m"}, logs.Options{}, false, `log option "max-sise" is not known`},
		"a size that is none":            {"", map[string]string{"max-size": "ten"}, logs.Options{}, false, `max-size: "ten" is not a size`},
		"a size of nothing":              {"", map[string]string{"max-size": "0"}, logs.Options{}, false, `max-size: "0" is not a size`},
		"a number of files that is none": {"", map[string]string{"max-file": "0"}, logs.Options{}, false, `max-file: "0" is not a number`},
	} {
		t.Run(name, func(t *testing.T) {
			got, enabled, err := logs.ParseOptions(c.driver, c.opts)
			if c.err != "" {
				var hint interface{ Hint() string }
				if err == nil || !strings.Contains(err.Error(), c.err) || !errors.As(err, &hint) || hint.Hint() == "" {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err != nil || got != c.want || enabled != c.enabled {
				t.Errorf("%+v, %v, %v", got, enabled, err)
			}
		})
	}
}

func TestURISurvivesTheWay(t *testing.T) {
	for _, dir := range []string{"/var/lib/berth/logs/abc", "/a dir/with ? and # and %", "/ü"} {
		for _, o := range []logs.Options{{}, {MaxSizeBytes: 5, MaxFiles: 2}, {MaxFiles: 1}} {
			gotDir, got, ok := logs.ParseURI(logs.URI(dir, o))
			if !ok || gotDir != dir || got != o {
				t.Errorf("%q %+v became %q %+v %v", dir, o, gotDir, got, ok)
			}
		}
	}
	for _, s := range []string{"", "/run/fifo", "file:///x", "berth-log:relative", "berth-log:///x?max-size=-1", "berth-logs:///x"} {
		if _, _, ok := logs.ParseURI(s); ok {
			t.Errorf("%q was taken for a log", s)
		}
	}
}
