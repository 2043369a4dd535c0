package plan_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"

	"berth/graph/plan"
	"berth/project"
)

var update = flag.Bool("update", false, "write the plans in testdata anew")

// load reads a compose file as the command line does, but for the host.
func load(t testing.TB, file string) *project.Project {
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

// TestPlans compares plans with those in testdata. A file there has
//
//	compose.yaml  the file; may be missing where the verb needs none
//	host.yaml     what the host has, as plan.Observed; "want" stands for the hash that the file asks for
//	policy.yaml   what the user asked for; "legacy: true" makes the file one in the v1 format
//	<verb>        what came out; there may be several
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no plans in testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a := parseArchive(data)
			in := parseInput(t, a)
			changed := false
			for i, f := range a.files {
				if filepath.Ext(f.name) == ".yaml" {
					continue
				}
				got := []byte(in.plan(t, f.name))
				if !bytes.Equal(got, f.data) {
					changed = true
					if !*update {
						t.Errorf("%s: plan differs\n--- want\n%s--- got\n%s", f.name, f.data, got)
					}
				}
				a.files[i].data = got
			}
			if changed && *update {
				if err := os.WriteFile(file, a.format(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type input struct {
	project *project.Project // nil without a file
	want    plan.Want
	host    plan.Observed
	policy  policy
}

type policy struct {
	Services                                         []string
	NoDeps, NoStart, Wait, RenewAnonVolumes, Oneoffs bool
	RemoveOrphans, IgnoreOrphans, Volumes            bool
	Stop, Legacy                                     bool
	IncludeDeps, IgnoreFailures, SkipMissing         bool
	IgnoreBuildable                                  bool
	Recreate, RecreateDeps                           plan.Recreate
	Approved                                         []string
	Pull, Build, Signal                              string
	Disabled                                         []string
	Timeout                                          *time.Duration
	Scale                                            map[string]int
	Images                                           int
}

func parseInput(t *testing.T, a *archive) input {
	t.Helper()
	var in input
	for _, f := range a.files {
		switch f.name {
		case "compose.yaml":
			in.project = load(t, string(f.data))
			in.want = plan.Wanted(in.project)
		case "host.yaml":
			decode(t, f, &in.host)
		case "policy.yaml":
			decode(t, f, &in.policy)
		}
	}
	in.host.Project = "shop"
	if in.project != nil {
		in.project.Legacy = in.policy.Legacy
		if in.policy.Legacy {
			in.project.Separator = "_"
		}
		for name, n := range in.policy.Scale {
			svc := in.project.Services[name]
			svc.SetScale(n)
			in.project.Services[name] = svc
		}
		in.project.Project = in.project.WithServicesDisabled(in.policy.Disabled...)
		resolveHashes(&in)
	}
	return in
}

func decode(t *testing.T, f archived, into any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(f.data))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
}

// resolveHashes puts the hashes of the file where the host says "want".
func resolveHashes(in *input) {
	for i := range in.host.Containers {
		if c := &in.host.Containers[i]; c.Hash == "want" {
			c.Hash = in.want.Services[c.Slot.Service]
		}
	}
	for i := range in.host.Networks {
		if n := &in.host.Networks[i]; n.Hash == "want" {
			n.Hash = in.want.Networks[n.Key]
		}
	}
	for i := range in.host.Volumes {
		if v := &in.host.Volumes[i]; v.Hash == "want" {
			v.Hash = in.want.Volumes[v.Key]
		}
	}
}

func (in input) plan(t *testing.T, verb string) string {
	t.Helper()
	p, err := in.verb(t, verb)
	if err == nil {
		return format(p)
	}
	text := "error: " + err.Error() + "\n"
	var hint interface{ Hint() string }
	if errors.As(err, &hint) {
		text += "hint: " + hint.Hint() + "\n"
	}
	return text
}

func (in input) verb(t *testing.T, verb string) (plan.Plan, error) {
	t.Helper()
	y := in.policy
	switch verb {
	case "up":
		approved := map[string]bool{}
		for _, key := range y.Approved {
			approved[key] = true
		}
		return plan.Up(in.project, in.want, in.host, plan.UpPolicy{
			Services: y.Services, NoDeps: y.NoDeps, Recreate: y.Recreate, RecreateDeps: y.RecreateDeps,
			RenewAnonVolumes: y.RenewAnonVolumes, RemoveOrphans: y.RemoveOrphans, IgnoreOrphans: y.IgnoreOrphans, NoStart: y.NoStart, Wait: y.Wait,
			Timeout: y.Timeout, Approved: approved,
		})
	case "images":
		return plan.Images(in.project, in.host, plan.ImagesPolicy{Services: y.Services, NoDeps: y.NoDeps, Pull: y.Pull, Build: y.Build})
	case "builds":
		return plan.Builds(in.project, in.host, plan.ImagesPolicy{Services: y.Services, NoDeps: y.NoDeps, Pull: y.Pull, Build: y.Build})
	case "build":
		return plan.Build(in.project, in.host, plan.BuildPolicy{Services: y.Services, IncludeDeps: y.IncludeDeps})
	case "pull":
		return plan.Pull(in.project, in.host, plan.PullPolicy{Services: y.Services, IncludeDeps: y.IncludeDeps, Policy: y.Pull, IgnoreFailures: y.IgnoreFailures, IgnoreBuildable: y.IgnoreBuildable})
	case "down":
		return plan.Down(in.project, in.host, plan.DownPolicy{Services: y.Services, RemoveOrphans: y.RemoveOrphans, Volumes: y.Volumes, Timeout: y.Timeout, Images: y.Images})
	case "stop":
		return plan.Stop(in.project, in.host, plan.StopPolicy{Services: y.Services, Oneoffs: y.Oneoffs, Timeout: y.Timeout})
	case "start":
		return plan.Start(in.project, in.host, plan.StartPolicy{Services: y.Services, Wait: y.Wait, SkipMissing: y.SkipMissing})
	case "restart":
		return plan.Restart(in.project, in.host, plan.RestartPolicy{Services: y.Services, NoDeps: y.NoDeps, Timeout: y.Timeout})
	case "kill":
		return plan.Kill(in.project, in.host, plan.KillPolicy{Services: y.Services, Signal: y.Signal, RemoveOrphans: y.RemoveOrphans})
	case "pause":
		return plan.Pause(in.project, in.host, plan.PausePolicy{Services: y.Services})
	case "unpause":
		return plan.Unpause(in.project, in.host, plan.PausePolicy{Services: y.Services})
	case "rm":
		return plan.Remove(in.project, in.host, plan.RemovePolicy{Services: y.Services, Stop: y.Stop, Oneoffs: y.Oneoffs, Volumes: y.Volumes, Timeout: y.Timeout})
	}
	t.Fatalf("no such verb: %s", verb)
	return plan.Plan{}, nil
}
