package shim

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// configure takes over what a container's annotations say of its engine. The latest counts: it is from the engine
// that runs now.
func (l *link) configure(command, stopped string) {
	if command == "" {
		return
	}
	var argv []string
	if err := json.Unmarshal([]byte(command), &argv); err != nil || len(argv) == 0 || argv[0] == "" {
		l.log.Warn("annotation is no command line", "annotation", AnnotationEngine, "value", command)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.command, l.stopped = argv, stopped
}

// wanted is how to start the engine; nil if it is not to be started.
func (l *link) wanted() []string {
	l.mu.Lock()
	command, stopped := l.command, l.stopped
	l.mu.Unlock()
	if command == nil {
		return nil
	}
	if stopped != "" {
		if _, err := os.Lstat(stopped); err == nil {
			return nil
		}
	}
	return command
}

// startEngine starts the engine as a process of its own: a session, the root folder, no streams of ours. The shim's
// reaper collects it if it ends.
func startEngine(argv []string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Dir:   "/",
		Env:   engineEnv(os.Environ()),
		Files: []*os.File{null, null, null},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start %q: %w", argv[0], err)
	}
	return p.Release()
}

// Variables that containerd's shim start adds; they are for shims.
var shimEnv = []string{"GOMAXPROCS", "OTEL_SERVICE_NAME", "TTRPC_ADDRESS", "GRPC_ADDRESS", "NAMESPACE", "MAX_SHIM_VERSION", "SCHED_CORE"}

func engineEnv(env []string) (out []string) {
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		keep := true
		for _, s := range shimEnv {
			keep = keep && name != s
		}
		if keep {
			out = append(out, kv)
		}
	}
	return out
}
