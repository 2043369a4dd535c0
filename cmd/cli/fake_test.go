package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/cmd/cli"
	"berth/cmd/ui"
	"berth/engine/api"
	"berth/engine/client"
	"berth/project"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// patience is how long a test waits for what has to come: it ends those that would wait for ever.
const patience = 3 * time.Minute

// fakeEngine answers from its fields and remembers what it was asked.
type fakeEngine struct {
	mu    sync.Mutex
	asked []any

	looked     func(q any) // at a request that comes
	up         func(ctx context.Context, q *api.UpRequest, report func(api.Event)) error
	report     []api.Event // of the other verbs
	err        error       // of the other verbs
	signal     func(ctx context.Context, q *api.SignalRequest, report func(api.Event)) error
	containers []api.Container
	kept       map[string]*project.Project
	projects   []api.ProjectInfo
	volumes    []api.Volume
	top        []api.ContainerTop
	images     []api.Image
	logs       func(ctx context.Context, q *api.LogsRequest, f func(api.LogBatch) error) error
	events     chan api.Event
	waits      []api.WaitResult
	stream     *fakeStream
	version    *api.VersionResponse
	running    int
	saved      string
	loaded     string
	token      string // that a registry gives for a login
	history    []api.ImageStep
	usage      api.DiskUsageResponse
}

func (f *fakeEngine) note(q any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	if f.looked != nil {
		f.looked(q)
	}
}

// request gives the last request of a type.
func request[Q any](t *testing.T, f *fakeEngine) *Q {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range slices.Backward(f.asked) {
		if q, ok := q.(*Q); ok {
			return q
		}
	}
	t.Fatalf("the engine was not asked for %T", new(Q))
	return nil
}

// change alters the fake while commands run.
func (f *fakeEngine) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// wasAsked waits for a request of a type.
func wasAsked[Q any](t *testing.T, f *fakeEngine) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		f.mu.Lock()
		ok := slices.ContainsFunc(f.asked, func(q any) bool { _, ok := q.(*Q); return ok })
		f.mu.Unlock()
		if ok {
			return
		}
	}
	t.Fatalf("the engine was never asked for %T", new(Q))
}

func (f *fakeEngine) Up(ctx context.Context, q *api.UpRequest, report func(api.Event)) error {
	copied := *q
	f.note(&copied)
	if f.up != nil {
		return f.up(ctx, q, report)
	}
	for _, e := range f.report {
		report(e)
	}
	return f.err
}

func (f *fakeEngine) verb(report func(api.Event)) error {
	for _, e := range f.report {
		report(e)
	}
	return f.err
}

func (f *fakeEngine) Down(_ context.Context, q *api.DownRequest, report func(api.Event)) error {
	f.note(q)
	return f.verb(report)
}

func (f *fakeEngine) Signal(ctx context.Context, q *api.SignalRequest, report func(api.Event)) error {
	copied := *q
	f.note(&copied)
	if f.signal != nil {
		return f.signal(ctx, q, report)
	}
	return f.verb(report)
}

func (f *fakeEngine) Pull(_ context.Context, q *api.PullRequest, report func(api.Event)) error {
	f.note(q)
	return f.verb(report)
}

func (f *fakeEngine) Containers(_ context.Context, q *api.ContainersRequest) (*api.ContainersResponse, error) {
	f.note(q)
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &api.ContainersResponse{}
	for _, c := range f.containers {
		live := c.State == "running" || c.State == "paused" || c.State == "restarting"
		if (q.All || live) && (len(q.Services) == 0 || slices.Contains(q.Services, c.Service)) {
			if q.Brief {
				c.Labels, c.Networks, c.Mounts, c.LocalVolumes = nil, nil, nil, 0
			}
			r.Containers = append(r.Containers, c)
		}
	}
	return r, nil
}

func (f *fakeEngine) Projects(context.Context) (*api.ProjectsResponse, error) {
	return &api.ProjectsResponse{Projects: f.projects}, nil
}

func (f *fakeEngine) KeptProject(_ context.Context, name string) (*api.KeptProjectResponse, error) {
	p, ok := f.kept[name]
	if !ok {
		return nil, &api.Error{Class: api.ClassNotFound, Message: "no project " + name}
	}
	b, err := project.Encode(p)
	return &api.KeptProjectResponse{Project: b}, err
}

func (f *fakeEngine) Volumes(_ context.Context, q *api.ProjectSelector) (*api.VolumesResponse, error) {
	f.note(q)
	return &api.VolumesResponse{Volumes: f.volumes}, nil
}

func (f *fakeEngine) Top(context.Context, *api.ProjectSelector) (*api.TopResponse, error) {
	return &api.TopResponse{Containers: f.top}, nil
}

func (f *fakeEngine) Logs(ctx context.Context, q *api.LogsRequest, send func(api.LogBatch) error) error {
	f.note(q)
	if f.logs == nil {
		return nil
	}
	return f.logs(ctx, q, send)
}

func (f *fakeEngine) Events(ctx context.Context, q *api.EventsRequest, ready func(), send func(api.Event) error) error {
	f.note(q)
	ready()
	for {
		select {
		case e, ok := <-f.events:
			if !ok {
				return nil
			}
			if e.Kind == "lost" {
				return &api.Error{Class: api.ClassUnavailable, Message: "the engine went away"}
			}
			if err := send(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fakeEngine) Wait(_ context.Context, q *api.WaitRequest, report func(api.WaitResult)) error {
	f.note(q)
	for _, w := range f.waits {
		report(w)
	}
	return f.err
}

func (f *fakeEngine) Exec(_ context.Context, q *api.ExecStart) (cli.Stream, error) {
	f.note(q)
	return f.stream, f.err
}

func (f *fakeEngine) Run(_ context.Context, q *api.RunStart) (cli.Stream, error) {
	f.note(q)
	return f.stream, f.err
}

func (f *fakeEngine) Version(context.Context) (*api.VersionResponse, error) { return f.version, nil }

func (f *fakeEngine) Shutdown(_ context.Context, q *api.ShutdownRequest) (*api.ShutdownResponse, error) {
	f.note(q)
	return &api.ShutdownResponse{Running: f.running}, nil
}

func (f *fakeEngine) Images(context.Context) (*api.ImagesResponse, error) {
	return &api.ImagesResponse{Images: f.images}, nil
}

func (f *fakeEngine) ImageTag(_ context.Context, q *api.ImageTagRequest) error {
	f.note(q)
	return f.err
}

func (f *fakeEngine) ImageRemove(_ context.Context, q *api.ImageRemoveRequest) (*api.ImageRemoveResponse, error) {
	f.note(q)
	return &api.ImageRemoveResponse{Untagged: q.Refs, Deleted: []string{"sha256:1234"}}, f.err
}

func (f *fakeEngine) ImageLoad(_ context.Context, r io.Reader) (*api.ImageLoadResponse, error) {
	b, err := io.ReadAll(r)
	f.loaded = string(b)
	return &api.ImageLoadResponse{Names: []string{"docker.io/library/hello:1"}}, err
}

func (f *fakeEngine) ImageSave(_ context.Context, q *api.ImageSaveRequest, w io.Writer) error {
	f.note(q)
	if f.err != nil {
		return f.err
	}
	_, err := io.WriteString(w, f.saved)
	return err
}

func (f *fakeEngine) Push(_ context.Context, q *api.PushRequest, report func(api.Event)) error {
	f.note(q)
	return f.verb(report)
}

func (f *fakeEngine) Build(_ context.Context, q *api.BuildRequest, report func(api.Event)) error {
	f.note(q)
	return f.verb(report)
}

func (f *fakeEngine) BuildPrune(_ context.Context, q *api.BuildPruneRequest) (*api.BuildPruneResponse, error) {
	f.note(q)
	return &api.BuildPruneResponse{Reclaimed: 1500000}, f.err
}

func (f *fakeEngine) Login(_ context.Context, q *api.LoginRequest) (*api.LoginResponse, error) {
	f.note(q)
	return &api.LoginResponse{Host: q.Host, IdentityToken: f.token}, f.err
}

func (f *fakeEngine) ImageInspect(_ context.Context, q *api.ImageRequest) (*api.ImageInspectResponse, error) {
	f.note(q)
	if q.Ref == "gone" {
		return nil, &api.Error{Class: api.ClassNotFound, Message: `image "gone" is not here`}
	}
	return &api.ImageInspectResponse{Image: []byte(`{"Id":"sha256:12","RepoTags":["` + q.Ref + `:latest"],"Size":123456789,"Config":{"Cmd":["a","<b>"]}}`)}, f.err
}

func (f *fakeEngine) ImageDigests(_ context.Context, q *api.ImageDigestsRequest) (*api.ImageDigestsResponse, error) {
	f.note(q)
	r := &api.ImageDigestsResponse{}
	for _, ref := range q.Refs {
		r.Pinned = append(r.Pinned, ref+"@sha256:12")
	}
	return r, f.err
}

func (f *fakeEngine) ImageHistory(_ context.Context, q *api.ImageRequest) (*api.ImageHistoryResponse, error) {
	f.note(q)
	return &api.ImageHistoryResponse{Steps: f.history}, f.err
}

func (f *fakeEngine) ImagePrune(_ context.Context, q *api.ImagePruneRequest) (*api.ImagePruneResponse, error) {
	f.note(q)
	return &api.ImagePruneResponse{Untagged: []string{"old:1"}, Deleted: []string{"sha256:12"}, Reclaimed: 2500000}, f.err
}

func (f *fakeEngine) VolumePrune(context.Context) (*api.VolumePruneResponse, error) {
	return &api.VolumePruneResponse{Removed: []string{"0abc"}, Reclaimed: 500000}, f.err
}

func (f *fakeEngine) DiskUsage(context.Context) (*api.DiskUsageResponse, error) {
	return &f.usage, f.err
}

func (f *fakeEngine) Commit(_ context.Context, q *api.CommitRequest) (*api.CommitResponse, error) {
	f.note(q)
	return &api.CommitResponse{ID: "sha256:99", Container: "shop-db-1"}, f.err
}

func (f *fakeEngine) Export(_ context.Context, q *api.ExportRequest, w io.Writer) error {
	f.note(q)
	if f.err != nil {
		return f.err
	}
	_, err := io.WriteString(w, f.saved)
	return err
}

func (f *fakeEngine) Profile(_ context.Context, q *api.ProfileRequest, w io.Writer) error {
	f.note(q)
	if f.err != nil {
		return f.err
	}
	_, err := io.WriteString(w, f.saved)
	return err
}

func (f *fakeEngine) Close() error { return nil }

// fakeStream plays frames and keeps what is sent.
type fakeStream struct {
	mu   sync.Mutex
	play chan api.Frame
	sent []api.Frame
	seen chan api.Frame
}

func newStream(frames ...api.Frame) *fakeStream {
	s := &fakeStream{play: make(chan api.Frame, 64), seen: make(chan api.Frame, 64)}
	for _, f := range frames {
		s.play <- f
	}
	return s
}

func (s *fakeStream) Send(f api.Frame) error {
	f.Stdin = slices.Clone(f.Stdin)
	s.mu.Lock()
	s.sent = append(s.sent, f)
	s.mu.Unlock()
	s.seen <- f
	return nil
}

func (s *fakeStream) Recv() (api.Frame, error) {
	f, ok := <-s.play
	if !ok {
		return f, io.EOF
	}
	return f, nil
}

func (s *fakeStream) CloseSend() error { return nil }

// shell runs command lines against a fake engine.
type shell struct {
	t       *testing.T
	dir     string
	env     []string
	engine  *fakeEngine
	down    bool // no engine runs, and none may be started
	tty     bool
	in      io.Reader
	signals chan os.Signal
	ticks   chan time.Time
	clock   func() time.Time
	argv0   string
	slow    chan struct{} // not nil: an engine takes until then to start
	started int           // connections that may start an engine
}

const currentFile = `
name: shop
services:
  db:
    image: mariadb
  web:
    image: nginx
    depends_on: [db]
    profiles: []
  debug:
    image: busybox
    profiles: [tools]
`

const legacyFile = `
wordpress:
  image: wordpress
  links: ["db:mysql"]
  ports: ["8080:80"]
db:
  image: mariadb
`

func newShell(t *testing.T, file string) *shell {
	s := &shell{t: t, dir: filepath.Join(t.TempDir(), "wordpress"), engine: &fakeEngine{}, in: strings.NewReader(""), argv0: "berth"}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if file != "" {
		s.write("compose.yaml", file)
	}
	return s
}

func (s *shell) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// lockedBuffer can be written by several goroutines and read meanwhile.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type result struct {
	out, err *lockedBuffer
	code     int
}

func (s *shell) run(args ...string) result {
	r, wait := s.begin(args...)
	r.code = wait()
	return *r
}

func (s *shell) begin(args ...string) (*result, func() int) {
	r := &result{out: &lockedBuffer{}, err: &lockedBuffer{}}
	clock := s.clock
	if clock == nil {
		clock = func() time.Time { return now }
	}
	h := cli.Host{
		Args: append([]string{s.argv0}, args...), Environ: s.env, WorkDir: s.dir,
		UI: func(c ui.Config) *ui.UI {
			c.In, c.Out, c.Err = s.in, r.out, r.err
			c.InTTY, c.OutTTY, c.ErrTTY = s.tty, s.tty, s.tty
			c.Now = clock
			c.Size = func() (int, int) {
				if s.tty {
					return 80, 24
				}
				return 0, 0
			}
			c.Tick = func() (<-chan time.Time, func()) { return s.ticks, func() {} }
			return ui.New(c)
		},
		Connect: func(ctx context.Context, start bool) (cli.Engine, error) {
			if s.slow != nil {
				select {
				case <-s.slow:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			if start {
				s.started++
			}
			if s.down {
				if start {
					return nil, errors.New("an engine was to be started")
				}
				return nil, client.ErrNotRunning
			}
			return s.engine, nil
		},
		Signals: func() (<-chan os.Signal, func()) { return s.signals, func() {} },
		Daemon:  func(p cli.Paths, _ bool) ([]string, error) { return []string{"berthd", "--root", p.Root}, nil },
		Carried: func() (cli.Versions, bool) { return cli.Versions{Containerd: "v2.4.2", Runc: "v1.5.2"}, true },
	}
	done := make(chan int, 1)
	go func() { done <- cli.Main(context.Background(), h) }()
	return r, func() int {
		select {
		case code := <-done:
			return code
		case <-time.After(patience):
			s.t.Fatalf("berth %s does not end; it has written %q and %q", strings.Join(args, " "), r.out, r.err)
			return -1
		}
	}
}

func expect(t *testing.T, r result, code int, out, err string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	if got := r.out.String(); got != out {
		t.Errorf("standard output is\n%s\nwant\n%s", got, out)
	}
	if got := r.err.String(); got != err {
		t.Errorf("standard error is\n%s\nwant\n%s", got, err)
	}
}

// step gives the events of a step that is done.
func step(verb, object, service string) []api.Event {
	s := api.Step{Verb: verb, Object: object}
	return []api.Event{
		{Kind: api.KindStep, Step: &api.StepEvent{Step: s, Status: "working", Service: service}},
		{Kind: api.KindStep, Step: &api.StepEvent{Step: s, Status: "done", Service: service}},
	}
}

func verdict(object, outcome string) api.Event {
	return api.Event{Kind: api.KindVerdict, Verdict: &api.Verdict{Object: object, Outcome: outcome}}
}

func lines(service string, number int, stderr bool, text ...string) api.LogBatch {
	b := api.LogBatch{Container: "shop-" + service + "-1", ID: "id-" + service, Service: service, Number: number}
	for _, l := range text {
		b.Data = api.AppendLog(b.Data, api.LogEntry{Time: now, Stderr: stderr, Data: []byte(l)})
	}
	return b
}

var interrupt os.Signal = syscall.SIGINT

// until waits for a text to be written.
func until(t *testing.T, b *lockedBuffer, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if strings.Contains(b.String(), text) {
			return
		}
	}
	t.Fatalf("%q never appeared in %q", text, b.String())
}
