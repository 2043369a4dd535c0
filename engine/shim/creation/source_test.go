package creation_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLibcontainerIsAsItIsTakenFor compares what is private to libcontainer, and taken for granted here, with its source. When it
// fails, a new version of runc has changed how it talks to its first process or what it writes down: look at what that
// is for before the lists here are changed.
func TestLibcontainerIsAsItIsTakenFor(t *testing.T) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/opencontainers/runc/libcontainer").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := parse(t, strings.TrimSpace(string(dir)))
	for name, want := range map[string]string{
		"initConfig": `Config *configs.Config json:"config"
Args []string json:"args"
Env []string json:"env"
UID int json:"uid"
GID int json:"gid"
AdditionalGroups []int json:"additional_groups"
Cwd string json:"cwd"
CreateConsole bool json:"create_console"
ConsoleWidth uint16 json:"console_width"
ConsoleHeight uint16 json:"console_height"
PassedFilesCount int json:"passed_files_count"
AppArmorProfile string json:"apparmor_profile"
Capabilities *configs.Capabilities json:"capabilities"
NoNewPrivileges bool json:"no_new_privileges"
ProcessLabel string json:"process_label"
Rlimits []configs.Rlimit json:"rlimits"
IOPriority *configs.IOPriority json:"io_priority,omitempty"
Scheduler *configs.Scheduler json:"scheduler,omitempty"
CPUAffinity *configs.CPUAffinity json:"cpu_affinity,omitempty"
ContainerID string json:"containerid"
Cgroup2Path string json:"cgroup2_path,omitempty"
Networks []*network json:"network"
SpecState *specs.State json:"spec_state,omitempty"
`,
		"network": `configs.Network
TempVethPeerName string json:"temp_veth_peer_name"
`,
		"pid": `Pid int json:"stage2_pid"
PidFirstChild int json:"stage1_pid"
`,
		"syncT": `Type syncType json:"type"
Flags syncFlags json:"flags"
Arg *json.RawMessage json:"arg,omitempty"
File *os.File json:"-"
`,
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
		"InitMsg": "62000", "CloneFlagsAttr": "27281", "NsPathsAttr": "27282", "OomScoreAdjAttr": "27286", "RootlessEUIDAttr": "27287",
		"procError": `"procError"`, "procReady": `"procReady"`, "procRun": `"procRun"`, "procHooks": `"procHooks"`, "procHooksDone": `"procHooksDone"`,
		"stateFilename": `"state.json"`, "execFifoFilename": `"exec.fifo"`, "initStandard": `"standard"`,
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
