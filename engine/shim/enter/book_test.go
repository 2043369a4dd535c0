package enter_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/engine/shim/enter"
)

const ordinary = `{"id":"a","cgroup_paths":{"cpu":"/sys/fs/cgroup/cpu/x"},"config":{"namespaces":[{"type":"NEWNS"},{"type":"NEWPID"}],
"capabilities":{"Bounding":["CAP_KILL"]},"seccomp":{"default_action":2,"flags":["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],"syscalls":[{"name":"read","action":4}]}}}`

// What is not known here for certain to be the same is left to runc.
func TestContainersThatAreLeftToRunc(t *testing.T) {
	for name, change := range map[string][2]string{
		"an ordinary container":         {},
		"another container's book":      {`"id":"a"`, `"id":"b"`},
		"a user namespace":              {`{"type":"NEWPID"}`, `{"type":"NEWUSER"}`},
		"a time namespace":              {`{"type":"NEWPID"}`, `{"type":"NEWTIME"}`},
		"the host's mounts":             {`{"type":"NEWNS"},`, ``},
		"no cgroup":                     {`{"cpu":"/sys/fs/cgroup/cpu/x"}`, `{}`},
		"AppArmor":                      {`"config":{`, `"config":{"apparmor_profile":"x",`},
		"SELinux":                       {`"config":{`, `"config":{"process_label":"x",`},
		"mapped users":                  {`"config":{`, `"config":{"uid_mappings":[{}],`},
		"a scheduler":                   {`"config":{`, `"config":{"scheduler":{"policy":"SCHED_FIFO"},`},
		"a personality":                 {`"config":{`, `"config":{"personality":{"domain":8},`},
		"a priority of its I/O":         {`"config":{`, `"config":{"io_priority":{"class":"IOPRIO_CLASS_RT"},`},
		"processors for further ones":   {`"config":{`, `"config":{"exec_cpu_affinity":{},`},
		"a group of resource control":   {`"id":"a"`, `"id":"a","intel_rdt_path":"/x"`},
		"a memory policy":               {`"config":{`, `"config":{"memory_policy":{},`},
		"a filter that asks somebody":   {`"action":4`, `"action":7`},
		"a filter with a listener":      {`"default_action":2`, `"default_action":2,"listener_path":"/x"`},
		"a filter with an unknown flag": {`FLAG_SPEC_ALLOW`, `FLAG_NEW_ONE`},
	} {
		dir := t.TempDir()
		text := ordinary
		if change[0] != "" {
			text = strings.Replace(ordinary, change[0], change[1], 1)
			if text == ordinary {
				t.Fatalf("%s: nothing was changed", name)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := enter.New("", nil).Container(dir, "a", dir)
		if wanted := change[0] != ""; wanted != errors.Is(err, enter.ErrOther) || !wanted && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
