package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/container"
	"berth/graph/plan"
	"berth/project"
)

func TestOneVerbAtATimePerProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l projectLocks
		release, err := l.acquire(t.Context(), "shop", "up", nil)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := l.acquire(t.Context(), "blog", "up", nil); err != nil {
			t.Fatal(err)
		} else {
			other()
		}
		told := 0
		got := make(chan error)
		go func() {
			release, err := l.acquire(t.Context(), "shop", "down", func(holder string, _ time.Time) {
				if told++; holder != "up" {
					t.Errorf("holder: %s", holder)
				}
			})
			if err == nil {
				release()
			}
			got <- err
		}()
		synctest.Wait()
		if told != 1 || !l.busy() {
			t.Errorf("who waits was told %d times", told)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.acquire(ctx, "shop", "ps", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("who gives up: %v", err)
		}
		release()
		release() // twice is no harm
		if err := <-got; err != nil || l.busy() {
			t.Errorf("%v, busy %v", err, l.busy())
		}
	})
}

func TestWhoWaitsIsToldForWhom(t *testing.T) {
	since := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for holder, want := range map[string]string{
		"up":        `waiting for berth up, which works on project "shop" since 15:04:05`,
		verbRestore: `waiting for the engine, which brings project "shop" back since 15:04:05`,
	} {
		if got := waitingFor(holder, "shop", since); got != want {
			t.Errorf("%s", got)
		}
	}
}

func TestKeptProjects(t *testing.T) {
	k := &keptProjects{dir: filepath.Join(t.TempDir(), "projects")}
	if _, err := k.Get("shop"); !errdefs.IsNotFound(err) {
		t.Errorf("one that was never kept: %v", err)
	}
	if err := k.Put(project.Empty("shop")); err != nil {
		t.Fatal(err)
	}
	if p, err := k.Get("shop"); err != nil || p.Name != "shop" {
		t.Errorf("%v, %v", p, err)
	}
	if info, err := os.Stat(k.file("shop")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v, %v", info, err)
	}
	if names := k.Names(); !slices.Equal(names, []string{"shop"}) {
		t.Errorf("%v", names)
	}
	if err := os.WriteFile(k.file("bad"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Get("bad"); err == nil || errdefs.IsNotFound(err) || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("a damaged one: %v", err)
	}
	if err := errors.Join(k.Forget("shop"), k.Forget("shop")); err != nil {
		t.Error(err)
	}
	if _, err := k.Get("shop"); !errdefs.IsNotFound(err) {
		t.Errorf("one that was forgotten: %v", err)
	}
}

type hinted struct{ error }

func (hinted) Hint() string    { return "the way out" }
func (h hinted) Unwrap() error { return h.error }

func TestErrorsTravelWithClassAndHint(t *testing.T) {
	for _, c := range []struct {
		err  error
		want api.Error
	}{
		{fmt.Errorf("x: %w", errdefs.ErrNotFound), api.Error{Class: api.ClassNotFound, Message: "x: not found"}},
		{errdefs.ErrConflict, api.Error{Class: api.ClassAlreadyExists, Message: "conflict"}},
		{context.Canceled, api.Error{Class: api.ClassCanceled, Message: "context canceled"}},
		{fmt.Errorf("up: %w", hinted{errdefs.ErrUnavailable}), api.Error{Class: api.ClassUnavailable, Message: "up: unavailable", HintText: "the way out"}},
		{errors.New("odd"), api.Error{Class: api.ClassUnknown, Message: "odd"}},
		{fmt.Errorf("again: %w", &api.Error{Class: api.ClassNotImplemented, Message: "as it was"}), api.Error{Class: api.ClassNotImplemented, Message: "as it was"}},
	} {
		if got := ToAPI(c.err); *got != c.want {
			t.Errorf("%v: %+v", c.err, *got)
		}
	}
}

func TestACallThatTheEnginesEndBreaksOffSaysSo(t *testing.T) {
	e := &Engine{}
	e.ctx, e.cancel = context.WithCancel(t.Context())
	if got := e.toAPI(context.Canceled); got.Class != api.ClassCanceled {
		t.Errorf("while it runs: %+v", got)
	}
	e.cancel()
	if got := e.toAPI(fmt.Errorf("up: %w", context.Canceled)); got.Class != api.ClassUnavailable || got.Hint() == "" {
		t.Errorf("when it ends: %+v", got)
	}
	if got := e.toAPI(errdefs.ErrNotFound); got.Class != api.ClassNotFound {
		t.Errorf("another error: %+v", got)
	}
}

func TestACallLastsUntilItIsAnsweredOrTheEngineEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{ready: make(chan struct{})}
		e.ctx, e.cancel = context.WithCancel(t.Context())
		began := make(chan error)
		request, answered := context.WithCancel(t.Context())
		go func() {
			_, err := e.begin(request)
			began <- err
		}()
		synctest.Wait()
		if e.calls.Load() != 1 {
			t.Error("a call that waits for the engine is under way")
		}
		close(e.ready)
		if err := <-began; err != nil {
			t.Fatal(err)
		}
		answered()
		synctest.Wait()
		if n := e.calls.Load(); n != 0 {
			t.Errorf("%d calls are under way after the answer", n)
		}
		ctx, err := e.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e.cancel()
		<-ctx.Done()
		synctest.Wait()
		if n := e.calls.Load(); n != 0 {
			t.Errorf("%d calls are under way after the end", n)
		}
	})
}

func TestOnlyRunAndExecEndWithTheCodeOfAFailedStart(t *testing.T) {
	err := fmt.Errorf("x: %w", &container.StartError{Container: "c", Reason: "no", Code: 127})
	var e *api.Error
	if !errors.As(withCode(err), &e) || e.Code != 127 {
		t.Errorf("%+v", e)
	}
	if plain := errors.New("other"); withCode(plain) != plain {
		t.Error("another error is changed")
	}
}

func TestPolicyOfUp(t *testing.T) {
	for name, c := range map[string]struct {
		req  api.UpRequest
		want [2]plan.Recreate
	}{
		"plain":                   {api.UpRequest{}, [2]plan.Recreate{plan.RecreateDiverged, plan.RecreateDiverged}},
		"--force-recreate":        {api.UpRequest{ForceRecreate: true}, [2]plan.Recreate{plan.RecreateForce, plan.RecreateDiverged}},
		"--no-recreate":           {api.UpRequest{NoRecreate: true}, [2]plan.Recreate{plan.RecreateNever, plan.RecreateNever}},
		"--always-recreate-deps":  {api.UpRequest{AlwaysRecreateDeps: true}, [2]plan.Recreate{plan.RecreateDiverged, plan.RecreateForce}},
		"--renew-anon-volumes":    {api.UpRequest{RenewAnonVolumes: true}, [2]plan.Recreate{plan.RecreateForce, plan.RecreateDiverged}},
		"renewed, never replaced": {api.UpRequest{RenewAnonVolumes: true, NoRecreate: true}, [2]plan.Recreate{plan.RecreateNever, plan.RecreateNever}},
	} {
		c.req.Approved = []string{"volume a"}
		got := upPolicy(&c.req)
		if (got.Recreate != c.want[0]) || got.RecreateDeps != c.want[1] || !got.Approved["volume a"] {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestQuestionsThatWereAnsweredWithNoAreNotAskedAgain(t *testing.T) {
	all := []plan.Question{{Key: "a"}, {Key: "b"}}
	if got := unanswered(all, []string{"b"}); len(got) != 1 || got[0].Key != "a" || len(all) != 2 || all[1].Key != "b" {
		t.Errorf("%v of %v", got, all)
	}
}

func TestServiceOfAOneoff(t *testing.T) {
	value := "old"
	svc := types.ServiceConfig{Name: "web", ContainerName: "fixed", Restart: "always"}
	svc.Command, svc.Entrypoint = types.ShellCommand{"serve"}, types.ShellCommand{"/init"}
	svc.Environment, svc.Labels = types.MappingWithEquals{"KEEP": &value, "CHANGE": &value}, types.Labels{"a": "b"}
	svc.Volumes = []types.ServiceVolumeConfig{{Type: "volume", Source: "data", Target: "/data"}}
	svc.Ports = []types.ServicePortConfig{{Target: 80, Published: "8080"}}
	got, err := oneoffService(svc, &api.RunStart{
		Command: []string{"sh"}, Env: []string{"CHANGE=new"}, Labels: map[string]string{"c": "d"}, User: "app",
		Volumes: []string{"/srv:/data"}, Publish: []string{"9000:90"}, TTY: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Restart != "" || got.ContainerName != "" || !slices.Equal(got.Command, []string{"sh"}) || !slices.Equal(got.Entrypoint, []string{"/init"}) {
		t.Errorf("%+v", got)
	}
	if *got.Environment["CHANGE"] != "new" || *got.Environment["KEEP"] != "old" || *svc.Environment["CHANGE"] != "old" || len(svc.Labels) != 1 {
		t.Errorf("environment %v; of the service: %v, %v", got.Environment, svc.Environment, svc.Labels)
	}
	if len(got.Volumes) != 1 || got.Volumes[0].Source != "/srv" || svc.Volumes[0].Source != "data" {
		t.Errorf("volumes %v", got.Volumes)
	}
	if len(got.Ports) != 1 || got.Ports[0].Target != 90 || got.User != "app" || !got.Tty {
		t.Errorf("ports %v, user %q", got.Ports, got.User)
	}
	if got, err := oneoffService(svc, &api.RunStart{SetEntrypoint: true, ServicePorts: true}); err != nil || len(got.Entrypoint) != 0 || len(got.Command) != 0 || len(got.Ports) != 1 {
		t.Errorf("an empty entrypoint takes the command with it: %v, %v, %v, %v", got.Entrypoint, got.Command, got.Ports, err)
	}
	limits := &types.Resource{MemoryBytes: 64 << 20}
	svc.Deploy = &types.DeployConfig{Resources: types.Resources{Limits: limits}, RestartPolicy: &types.RestartPolicy{Condition: "any"}}
	svc.CapAdd, svc.CapDrop = []string{"SYS_TIME", "NET_ADMIN"}, []string{"NET_RAW", "CHOWN"}
	got, err = oneoffService(svc, &api.RunStart{CapAdd: []string{"CAP_CHOWN"}, CapDrop: []string{"net_admin"}})
	if err != nil || got.Deploy == nil || got.Deploy.Resources.Limits != limits || got.Deploy.RestartPolicy != nil || svc.Deploy.RestartPolicy == nil {
		t.Errorf("its limits stay, its restart policy goes: %+v, %v", got.Deploy, err)
	}
	if !slices.Equal(got.CapAdd, []string{"SYS_TIME", "CAP_CHOWN"}) || !slices.Equal(got.CapDrop, []string{"NET_RAW", "net_admin"}) {
		t.Errorf("the flag wins over the file: added %v, dropped %v", got.CapAdd, got.CapDrop)
	}
	if _, err := oneoffService(svc, &api.RunStart{Publish: []string{"nonsense:x"}}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a port that is none: %v", err)
	}
}
