package scenario_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/testing/scenario"
)

const randomFile = `
services:
  web:
    image: probe
    ports: ["8080-8089:80"]
    restart: unless-stopped
    depends_on: [db]
    secrets: [{source: key, mode: 0400}]
  db:
    image: probe-volume
    ipc: shareable
    secrets: [word]
    networks: {default: {}, back: {}}
  beside:
    image: probe
    network_mode: service:db
    ipc: service:db
    command: sleep
  flap:
    image: probe
    command: sequence cat /part then exit 1 100ms
    restart: always
    volumes: [{type: volume, source: shelf, target: /part, volume: {subpath: link}}]
  shell: {image: probe, network_mode: bridge, command: sleep, restart: always}
networks: {back: {}}
volumes: {shelf: {external: true, name: shelf}}
secrets:
  word: {environment: WORD}
  key: {file: ./key}
`

// Whatever the engine was doing when it was killed, the next commands work, and in the end nothing is left.
func TestEngineKilledAtRandom(t *testing.T) {
	s := scenario.New(t)
	elsewhere := s.Folder("elsewhere", "services: {a: {image: probe-volume, command: sleep, volumes: [\"shelf:/data\"]}}\nvolumes: {shelf: {name: shelf}}\n")
	elsewhere.Must("up", "-d")
	elsewhere.Must("down", "-t", "0")
	f := s.Folder("random", randomFile, "key", "from a file").With("WORD=from a variable")
	takes := map[string]time.Duration{"up": f.Must("up", "-d").Elapsed}
	verbs := [][]string{
		{"up", "-d"}, {"up", "-d", "--force-recreate"}, {"up", "-d", "--scale", "web=3"}, {"scale", "web=1"},
		{"restart", "-t", "0"}, {"stop", "-t", "0"}, {"start"}, {"run", "--rm", "-T", "db", "env"}, {"down", "-t", "0"}, {"down", "-v", "-t", "0"},
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, seed))
	s.Step(fmt.Sprintf("verbs and moments are those of seed %d", seed))
	for end := time.Now().Add(killingTime(t)); time.Now().Before(end); {
		verb := verbs[r.IntN(len(verbs))]
		limit := max(takes[verb[0]], takes["up"]/2)
		delay := time.Duration(r.Int64N(int64(limit)))
		s.Step(fmt.Sprintf("%s is hit after %v", strings.Join(verb, " "), delay.Round(time.Millisecond)))
		began := time.Now()
		running := f.Start(verb...)
		time.Sleep(delay)
		s.HitEngine()
		if running.Wait().Code == 0 {
			takes[verb[0]] = time.Since(began) // the kill came too late
		}
		if r.IntN(2) == 0 {
			continue // the next verb finds what this one has left
		}
		f.Must("up", "-d")
		checkRandom(t, s, f)
	}

	s.Step("down leaves nothing, in the engine's folders neither")
	f.Must("down", "-v", "-t", "0", "--remove-orphans")
	for _, dir := range []string{"netns", "zones", "containers"} {
		empty(t, filepath.Join(s.State, dir))
	}
	for _, dir := range []string{"containers", "projects", "networks/network/owners"} {
		empty(t, filepath.Join(s.Root, dir))
	}
}

// killingTime is how long the engine is killed over and over: BERTH_KILLING ("10m" to search), or some seconds.
func killingTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("BERTH_KILLING")
	if text == "" {
		return 10 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("BERTH_KILLING: %v", err)
	}
	return d
}

// checkRandom wants all of the project to be there, and whole.
func checkRandom(t *testing.T, s *scenario.Scenario, f *scenario.Folder) {
	t.Helper()
	// What a killed run has left goes by itself, beside what up does.
	s.Eventually("after up all is running", func() error {
		for _, line := range f.Must("ps", "-a", "--format", "{{.Name}} {{.Service}} {{.State}}").Lines() {
			if !strings.HasSuffix(line, " running") && !strings.Contains(line, " flap ") {
				return errString(line)
			}
		}
		return nil
	})
	s.Eventually("what runs listens", func() error {
		for _, host := range []string{"db", "127.0.0.1"} {
			if r := f.Berth("exec", "-T", "web", "/probe", "get", "http://"+host+"/"); r.Code != 0 {
				return errString(r.String())
			}
		}
		return nil
	})
	if got := f.Exec("web", "get", "http://db/file/run/secrets/word"); got != "200 from a variable" {
		t.Errorf("web asks db for its secret: %q", got)
	}
	if got := f.Exec("beside", "get", "http://127.0.0.1/"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("beside asks db over the loopback that they share: %q", got)
	}
	if got := f.Exec("web", "get", "http://127.0.0.1/file/run/secrets/key"); got != "200 from a file" {
		t.Errorf("web's secret: %q", got)
	}
	s.Eventually("flap has said what its part of a volume is", func() error {
		said := f.Must("logs", "--no-log-prefix", "flap").Lines()
		for _, line := range said {
			if line != "from the image" {
				t.Errorf("in flap is %q", line)
			}
		}
		if len(said) == 0 {
			return errString("nothing")
		}
		return nil
	})
	// A web that was made beside others has not always the first of the range.
	if _, err := s.Get("http://" + strings.Replace(f.Must("port", "web", "80").Lines()[0], "0.0.0.0", "127.0.0.1", 1) + "/"); err != nil {
		t.Errorf("a published port: %v", err)
	}
}

// empty fails the test if a folder has files or folders; one that isn't there is empty.
func empty(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != dir {
			t.Errorf("left behind: %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
