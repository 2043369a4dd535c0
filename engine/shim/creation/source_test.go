package creation_test

import (
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLibcontainerIsAsItIsTakenFor compares what is private to libcontainer, and taken for granted here, with its source. When it
// fails, a new version of runc does something else: look at what that is for, do the same in steps.go or in
// engine/shim/enter/program, and only then change what is here.
func TestLibcontainerIsAsItIsTakenFor(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/opencontainers/runc/libcontainer").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(string(out))
	// These are what "runc init" does.
	for name, want := range map[string]string{
		"standard_init_linux.go": "ca458ed85eee8e68", "rootfs_linux.go": "27dd189933910901", "init_linux.go": "fd94c3f85b63c6ac", "env.go": "253daae8958e0de3", "mount_linux.go": "fc3f736934a6ba48", "nsenter/nsexec.c": "f0baa880bccac4cb",
		"keys/keyctl.go": "043eccdecabe9491", "capabilities/capabilities.go": "7e9bb2d854165d09", "apparmor/apparmor_linux.go": "1cfdc154cf0cb155", "../internal/sys/sysctl_linux.go": "8a8808703d523c7b",
		"seccomp/seccomp_linux.go": "c197e62b5e9c7eb9", "seccomp/patchbpf/enosys_linux.go": "c38bb4b8951cf6f0",
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if sum := fmt.Sprintf("%.8x", sha256.Sum256(text)); sum != want {
			t.Errorf("%s has changed: its sum begins with %s", name, sum)
		}
	}
	files := parse(t, dir)
	for name, want := range map[string]string{
		"BaseState": `ID string json:"id"
InitProcessPid int json:"init_process_pid"
InitProcessStartTime uint64 json:"init_process_start"
Created time.Time json:"created"
Config configs.Config json:"config"
`,
		"State": `BaseState
Rootless bool json:"rootless,omitempty"
CgroupPaths map[string]string json:"cgroup_paths,omitempty"
NamespacePaths map[configs.NamespaceType]string json:"namespace_paths"
ExternalDescriptors []string json:"external_descriptors,omitempty"
IntelRdtPath string json:"intel_rdt_path,omitempty"
IntelRdtMonPath string json:"intel_rdt_mon_path,omitempty"
`,
	} {
		if have := members(t, files, name); have != want {
			t.Errorf("%s is\n%s\nit is taken for\n%s", name, have, want)
		}
	}
	for name, want := range map[string]string{
		"stateFilename": `"state.json"`, "execFifoFilename": `"exec.fifo"`,
	} {
		if have := constant(files, name); have != want {
			t.Errorf("%s is %s, it is taken for %s", name, have, want)
		}
	}
}

func parse(t *testing.T, dir string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no source", dir, err)
	}
	var files []*ast.File
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// members lists the fields of a struct, each with its type and tag.
func members(t *testing.T, files []*ast.File, name string) string {
	t.Helper()
	var out strings.Builder
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != name {
				return true
			}
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				var words []string
				for _, n := range field.Names {
					words = append(words, n.Name)
				}
				words = append(words, types.ExprString(field.Type))
				if field.Tag != nil {
					words = append(words, strings.Trim(field.Tag.Value, "`"))
				}
				out.WriteString(strings.Join(words, " ") + "\n")
			}
			return false
		})
	}
	return out.String()
}

// constant is a constant's value as it is written.
func constant(files []*ast.File, name string) (value string) {
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if ok && len(spec.Values) > 0 && spec.Names[0].Name == name {
				value = types.ExprString(spec.Values[0])
			}
			return true
		})
	}
	return value
}
