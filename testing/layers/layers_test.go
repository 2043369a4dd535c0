package layers_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"berth/testing/layers"
)

func TestProjectKeepsItsLayers(t *testing.T) {
	packages, err := layers.Read(os.DirFS(root(t)))
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 10 {
		t.Fatalf("only %d packages were found below %s", len(packages), root(t))
	}
	for _, breach := range layers.Check(packages) {
		t.Error(breach)
	}
}

// The command line starts in milliseconds because it links none of these.
func TestCommandLineLinksNoEngine(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./cmd/berth")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for dep := range strings.Lines(string(out)) {
		for _, heavy := range []string{"github.com/containerd/containerd/", "github.com/moby/buildkit/", "github.com/vishvananda/netlink", "github.com/google/nftables"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("cmd/berth links %s", strings.TrimSpace(dep))
			}
		}
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  string // in the only breach; "" for none
	}{
		"a layer may import what is below it": {
			files: map[string]string{"engine/apply/a.go": imports("berth/netplan/cni", "berth/project", "github.com/containerd/containerd/v2/client")},
		},
		"the command line may use the client and the plan's types": {
			files: map[string]string{"cmd/cli/a.go": imports("berth/engine/client", "berth/graph/plan", "berth/cmd/ui")},
		},
		"the command line doesn't reach into the engine": {
			files: map[string]string{"cmd/cli/a.go": imports("berth/engine/apply")},
			want:  "no edge goes from cmd",
		},
		"a part of the engine doesn't import the engine": {
			files: map[string]string{"engine/daemon/a.go": imports("berth/engine")},
			want:  "never imports engine",
		},
		"the engine's main joins engine and server": {
			files: map[string]string{"cmd/berthd/a.go": imports("berth/engine", "berth/engine/daemon")},
		},
		"netplan and volumes don't meet": {
			files: map[string]string{"netplan/a.go": imports("berth/volumes")},
			want:  "no edge goes from netplan",
		},
		"the client knows no containerd": {
			files: map[string]string{"engine/client/a.go": imports("github.com/containerd/containerd/v2/client")},
			want:  "containerd's API stays inside engine",
		},
		"the messages know no containerd": {
			files: map[string]string{"engine/api/a.go": imports("github.com/containerd/containerd/v2/core/images")},
			want:  "containerd's API stays inside engine",
		},
		"project takes compose-go and YAML only": {
			files: map[string]string{"project/a.go": imports("github.com/compose-spec/compose-go/v2/types", "github.com/spf13/cobra", "os")},
			want:  "project takes nothing from that module",
		},
		"a pure package doesn't open files": {
			files: map[string]string{"graph/plan/a.go": imports("os")},
			want:  "is pure",
		},
		"a pure package may calculate with addresses": {
			files: map[string]string{"netplan/a.go": imports("net/netip", "strings", "berth/project")},
		},
		"a pure package doesn't dial": {
			files: map[string]string{"netplan/a.go": imports("net")},
			want:  "is pure",
		},
		"a pure package has no clock": {
			files: map[string]string{"graph/plan/a.go": "// Package plan plans.\npackage plan\nimport \"time\"\nvar t = time.Now()\n"},
			want:  "reads the clock",
		},
		"its tests may do all that": {
			files: map[string]string{"graph/plan/a_test.go": imports("os", "time", "berth/testing/host", "berth/graph/plan")},
		},
		"the product doesn't use its tests' tools": {
			files: map[string]string{"engine/a.go": imports("berth/testing/host")},
			want:  "no edge goes from engine",
		},
		"a package says what it owns": {
			files: map[string]string{"engine/a.go": "package engine\n"},
			want:  "has no package comment",
		},
		"a package has a name that says something": {
			files: map[string]string{"engine/util/a.go": imports()},
			want:  `the name "util"`,
		},
		"nothing happens at start-up": {
			files: map[string]string{"engine/a.go": imports() + "func init() {}\n"},
			want:  "has a function init",
		},
		"a new top folder is a decision": {
			files: map[string]string{"pkg/a/a.go": imports("berth/project")},
			want:  "belongs to no layer",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for path, text := range test.files {
				tree[path] = &fstest.MapFile{Data: []byte(text)}
			}
			packages, err := layers.Read(tree)
			if err != nil {
				t.Fatal(err)
			}
			got := layers.Check(packages)
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("breaches: %q", got)
			case test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)):
				t.Errorf("breaches: %q, want one with %q", got, test.want)
			}
		})
	}
}

// imports is a file with a package comment and these imports.
func imports(paths ...string) string {
	text := "// Package x has a comment.\npackage x\n"
	for _, p := range paths {
		text += "import _ \"" + p + "\"\n"
	}
	return text
}
