package graph_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"berth/graph"
	"berth/project"
)

func load(t *testing.T, file string) *project.Project {
	t.Helper()
	p, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "/shop",
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(file)}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) { o.SetProjectName("shop", true) })
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return &project.Project{Project: p, Separator: "-"}
}

func build(t *testing.T, file string) *graph.Graph {
	t.Helper()
	g, err := graph.Build(load(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// services gives a project whose services depend on others as the map says, without a loader that would object.
func services(dependsOn map[string][]string) *project.Project {
	p := &types.Project{Name: "shop", Services: types.Services{}}
	for name, on := range dependsOn {
		svc := types.ServiceConfig{Name: name}
		svc.DependsOn = types.DependsOnConfig{}
		for _, o := range on {
			svc.DependsOn[o] = types.ServiceDependency{Condition: types.ServiceConditionStarted, Required: true}
		}
		p.Services[name] = svc
	}
	return &project.Project{Project: p}
}

func TestEveryFieldThatNeedsAnotherServiceMakesAnEdge(t *testing.T) {
	const file = `
services:
  web:
    image: web
    depends_on: {db: {condition: service_healthy, required: false, restart: true}}
    links: ["cache:store"]
    volumes_from: ["files:ro", "container:other"]
    pid: service:agent
    ipc: service:agent
    networks: []
  side: {image: side, network_mode: "service:web"}
  db: {image: db}
  cache: {image: cache}
  files: {image: files}
  agent: {image: agent}
`
	g := build(t, file)
	want := []graph.Edge{
		{From: "web", To: "agent", Kinds: []graph.Kind{graph.DependsOn, graph.Ipc, graph.Pid}, Condition: "service_started", Required: true, Restart: true},
		{From: "web", To: "cache", Kinds: []graph.Kind{graph.DependsOn, graph.Links}, Condition: "service_started", Required: true, Restart: true},
		{From: "web", To: "db", Kinds: []graph.Kind{graph.DependsOn}, Condition: "service_healthy", Required: false, Restart: true},
		{From: "web", To: "files", Kinds: []graph.Kind{graph.DependsOn, graph.VolumesFrom}, Condition: "service_started", Required: true},
	}
	if got := g.Dependencies("web"); !slices.EqualFunc(got, want, equal) {
		t.Errorf("web depends on\n%v, want\n%v", got, want)
	}
	if got := g.Dependents("web"); len(got) != 1 || got[0].From != "side" || !got[0].Joins() {
		t.Errorf("dependents of web: %v, want side, which joins it", got)
	}
	for _, e := range g.Dependencies("web") {
		if joins := e.To == "agent" || e.To == "files"; e.Joins() != joins {
			t.Errorf("edge to %s joins: %v, want %v", e.To, e.Joins(), joins)
		}
	}
}

func equal(a, b graph.Edge) bool {
	return a.From == b.From && a.To == b.To && slices.Equal(a.Kinds, b.Kinds) &&
		a.Condition == b.Condition && a.Required == b.Required && a.Restart == b.Restart
}

func TestWhatAFieldImpliesNeedsNoLoader(t *testing.T) {
	p := services(map[string][]string{"web": nil, "db": nil})
	web := p.Services["web"]
	web.Links = []string{"db:mysql"}
	web.VolumesFrom = []string{"db"}
	p.Services["web"] = web
	for _, legacy := range []bool{false, true} {
		p.Legacy = legacy
		g, err := graph.Build(p)
		if err != nil {
			t.Fatal(err)
		}
		want := graph.Edge{From: "web", To: "db", Kinds: []graph.Kind{graph.Links, graph.VolumesFrom}, Condition: "service_started", Required: true, Restart: !legacy}
		if got := g.Dependencies("web"); len(got) != 1 || !equal(got[0], want) {
			t.Errorf("legacy %v: %v, want %v", legacy, got, want)
		}
	}
}

func TestACycleIsNamedMemberByMember(t *testing.T) {
	tests := []struct {
		name    string
		depends map[string][]string
		want    []string
	}{
		{"a service that depends on itself", map[string][]string{"a": {"a"}}, []string{"a"}},
		{"two", map[string][]string{"b": {"a"}, "a": {"b"}}, []string{"a", "b"}},
		{"three, entered from outside in the middle", map[string][]string{
			"a-entry": {"y"}, "z": {"x"}, "x": {"y"}, "y": {"z"}}, []string{"x", "y", "z"}},
		{"a cycle beside a diamond", map[string][]string{
			"top": {"left", "right"}, "left": {"low"}, "right": {"low"}, "low": nil, "p": {"q", "low"}, "q": {"p"}}, []string{"p", "q"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := graph.Build(services(test.depends))
			var cycle *graph.CycleError
			if !errors.As(err, &cycle) {
				t.Fatalf("error %v, want a cycle", err)
			}
			if got := cycle.Services(); !slices.Equal(got, test.want) {
				t.Errorf("cycle of %v, want %v", got, test.want)
			}
		})
	}
}

func TestTheMessageOfACycleShowsItsFields(t *testing.T) {
	p := services(map[string][]string{"web": {"db"}, "db": nil})
	db := p.Services["db"]
	db.NetworkMode = "service:web"
	p.Services["db"] = db
	_, err := graph.Build(p)
	const want = `dependency cycle: "db" (network_mode) -> "web" (depends_on) -> "db"`
	if err == nil || err.Error() != want {
		t.Fatalf("error\n%v, want\n%v", err, want)
	}
	const hint = "take one of these out of the file: services.db.network_mode, services.web.depends_on.db"
	if got := err.(*graph.CycleError).Hint(); got != hint {
		t.Errorf("hint\n%v, want\n%v", got, hint)
	}
}

func TestOrderPutsDependenciesFirstAndIsStable(t *testing.T) {
	depends := map[string][]string{
		"a": {"z"}, "b": {"a", "c"}, "c": {"z"}, "z": nil, "y": nil, "m": {"y", "b"},
	}
	first, err := graph.Build(services(depends))
	if err != nil {
		t.Fatal(err)
	}
	for name, on := range depends {
		for _, o := range on {
			if slices.Index(first.Order(), o) > slices.Index(first.Order(), name) {
				t.Errorf("%s comes after %s, which depends on it: %v", o, name, first.Order())
			}
		}
	}
	for range 20 {
		again, err := graph.Build(services(depends))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again.Order(), first.Order()) {
			t.Fatalf("order %v, then %v", first.Order(), again.Order())
		}
	}
}

func TestClosureHasTheTargetsAndWhatTheyNeed(t *testing.T) {
	g, err := graph.Build(services(map[string][]string{
		"web": {"app"}, "app": {"db", "cache"}, "db": nil, "cache": nil, "mail": {"db"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		services []string
		want     []string
	}{
		{"all, when none is named", nil, []string{"cache", "db", "app", "mail", "web"}},
		{"a leaf alone", []string{"db"}, []string{"db"}},
		{"through several levels", []string{"web"}, []string{"cache", "db", "app", "web"}},
		{"shared dependencies once", []string{"mail", "app"}, []string{"cache", "db", "app", "mail"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := g.Closure(test.services...)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("closure %v, %v, want %v", got, err, test.want)
			}
		})
	}
	if _, err := g.Closure("web", "wbe"); err == nil || err.Error() != "no such service: wbe" {
		t.Errorf("closure of an unknown service: %v", err)
	}
}

func TestADependencyOnADisabledService(t *testing.T) {
	p := services(map[string][]string{"web": {"debug"}, "debug": nil, "other": nil})
	p.Project = p.Project.WithServicesDisabled("debug")
	web := p.Services["web"]
	web.DependsOn = types.DependsOnConfig{"debug": {Condition: types.ServiceConditionStarted, Required: true}}
	p.Services["web"] = web
	g, err := graph.Build(p)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := g.Closure("other"); err != nil || !slices.Equal(got, []string{"other"}) {
		t.Errorf("a service that doesn't need it: %v, %v", got, err)
	}
	_, err = g.Closure("web")
	if err == nil || err.Error() != `service "web" depends on "debug", which is not enabled` {
		t.Fatalf("required: %v", err)
	}
	if hint := err.(*graph.DisabledError).Hint(); !strings.Contains(hint, "--profile") {
		t.Errorf("hint %q doesn't speak of profiles", hint)
	}

	web.DependsOn = types.DependsOnConfig{"debug": {Condition: types.ServiceConditionStarted, Required: false}}
	p.Services["web"] = web
	g, err = graph.Build(p)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := g.Closure("web"); err != nil || !slices.Equal(got, []string{"web"}) {
		t.Errorf("not required: %v, %v, want web alone", got, err)
	}
}

func TestARequiredServiceMustBeDefined(t *testing.T) {
	p := services(map[string][]string{"web": nil})
	web := p.Services["web"]
	web.Links = []string{"dbb:mysql"}
	p.Services["web"] = web
	_, err := graph.Build(p)
	const want = `services.web.links: service "dbb" is not defined`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %v", err, want)
	}
	web.Links = nil
	web.DependsOn = types.DependsOnConfig{"dbb": {Required: false}}
	p.Services["web"] = web
	if _, err := graph.Build(p); err != nil {
		t.Errorf("an optional dependency that is nowhere: %v", err)
	}
}

func TestDependentsAreFollowedOverChosenEdges(t *testing.T) {
	p := services(map[string][]string{"a": nil, "b": {"a"}, "c": {"b"}, "d": {"a"}})
	for _, name := range []string{"b", "c"} {
		svc := p.Services[name]
		for on, d := range svc.DependsOn {
			d.Restart = true
			svc.DependsOn[on] = d
		}
	}
	g, err := graph.Build(p)
	if err != nil {
		t.Fatal(err)
	}
	got := g.WithDependents([]string{"a"}, func(e graph.Edge) bool { return e.Restart })
	if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("dependents %v, want %v", got, want)
	}
}
