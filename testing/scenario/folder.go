package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Folder is a project's folder, which commands run in.
type Folder struct {
	// Name is the folder's and the project's.
	Name string
	// Path is where it is.
	Path string

	s    *Scenario
	env  []string
	used bool
}

// Folder makes a folder with a compose.yaml and further files, "name", text, "name", text ...
func (s *Scenario) Folder(name, compose string, files ...string) *Folder {
	s.Helper()
	f := &Folder{Name: name, Path: filepath.Join(s.dir, "projects", name), s: s}
	f.Write("compose.yaml", compose)
	for i := 0; i+1 < len(files); i += 2 {
		f.Write(files[i], files[i+1])
	}
	s.folders = append(s.folders, f)
	return f
}

// base is where commands run that concern no project.
func (s *Scenario) base() *Folder { return &Folder{Name: "base", Path: s.dir, s: s} }

// Berth runs a command outside of any project.
func (s *Scenario) Berth(args ...string) Result {
	s.Helper()
	return s.base().Berth(args...)
}

// Must runs a command outside of any project, which must succeed.
func (s *Scenario) Must(args ...string) Result {
	s.Helper()
	return s.base().Must(args...)
}

// Refused runs a command outside of any project, which must fail with code 1 and a message that has all of these texts.
func (s *Scenario) Refused(args []string, texts ...string) Result {
	s.Helper()
	return s.base().Refused(args, texts...)
}

// Write writes a file of the project; an empty text removes it.
func (f *Folder) Write(name, text string) {
	f.s.Helper()
	path := filepath.Join(f.Path, name)
	if text == "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			f.s.Fatal(err)
		}
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.TrimPrefix(text, "\n")), 0o644); err != nil {
		f.s.Fatal(err)
	}
}

// With gives the same folder with further variables, "NAME=value".
func (f *Folder) With(env ...string) *Folder {
	f.used = true
	return &Folder{Name: f.Name, Path: f.Path, s: f.s, env: append(slices.Clone(f.env), env...), used: true}
}

// Result is how a command ended.
type Result struct {
	Args           []string
	Stdout, Stderr string
	Code           int
	Elapsed        time.Duration
}

// String has all of it, for messages.
func (r Result) String() string {
	text := fmt.Sprintf("berth %s: exit code %d after %v", strings.Join(r.Args, " "), r.Code, r.Elapsed.Round(time.Millisecond))
	if r.Stdout != "" {
		text += "\n  stdout: " + strings.ReplaceAll(strings.TrimSpace(r.Stdout), "\n", "\n          ")
	}
	if r.Stderr != "" {
		text += "\n  stderr: " + strings.ReplaceAll(strings.TrimSpace(r.Stderr), "\n", "\n          ")
	}
	return text
}

// Lines are stdout's lines.
func (r Result) Lines() []string {
	text := strings.TrimRight(r.Stdout, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// Berth runs a command in the folder; it may fail.
func (f *Folder) Berth(args ...string) Result {
	f.s.Helper()
	return f.run(f.s.Context(), args)
}

// Must runs a command in the folder, which must succeed.
func (f *Folder) Must(args ...string) Result {
	f.s.Helper()
	r := f.run(f.s.Context(), args)
	if r.Code != 0 {
		f.s.Fatal(r)
	}
	return r
}

// Refused runs a command that must fail with code 1 and a message that has all of these texts.
func (f *Folder) Refused(args []string, texts ...string) Result {
	f.s.Helper()
	r := f.run(f.s.Context(), args)
	if r.Code != 1 {
		f.s.Fatalf("want exit code 1: %s", r)
	}
	for _, text := range texts {
		if !strings.Contains(r.Stderr, text) {
			f.s.Errorf("want %q in the message: %s", text, r)
		}
	}
	return r
}

// Exec runs the probe in a service's container and gives what it prints.
func (f *Folder) Exec(service string, probe ...string) string {
	f.s.Helper()
	r := f.Must(append([]string{"exec", "-T", service, "/probe"}, probe...)...)
	return strings.TrimRight(r.Stdout, "\n")
}

// commandLimit is when a command hangs: one that pulls an application and waits for its database takes a minute or two on a slow machine.
const commandLimit = 5 * time.Minute

func (f *Folder) run(ctx context.Context, args []string) Result {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := f.command(ctx, args)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := f.s.Network.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	return Result{Args: args, Stdout: stdout.String(), Stderr: stderr.String(), Code: exitCode(err), Elapsed: time.Since(began)}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func (f *Folder) command(ctx context.Context, args []string) *exec.Cmd {
	f.used = true
	cmd := exec.CommandContext(ctx, f.s.berth, args...)
	cmd.Dir = f.Path
	cmd.Env = append(slices.Clone(f.s.env), f.env...)
	// Output may be held open by what the command started, if that is wrong.
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Running is a command that goes on while the test does other things.
type Running struct {
	Stdin  func(text string)
	cmd    *exec.Cmd
	s      *Scenario
	stdout *lockedBuffer
	stderr *lockedBuffer
	done   chan struct{}
	err    error
	began  time.Time
}

// Start starts a command in the folder; it is killed at the latest when the test ends.
func (f *Folder) Start(args ...string) *Running {
	f.s.Helper()
	cmd := f.command(context.Background(), args)
	r := &Running{cmd: cmd, s: f.s, stdout: &lockedBuffer{}, stderr: &lockedBuffer{}, done: make(chan struct{}), began: time.Now()}
	cmd.Stdout, cmd.Stderr = r.stdout, r.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		f.s.Fatal(err)
	}
	r.Stdin = func(text string) {
		if _, err := in.Write([]byte(text)); err != nil {
			f.s.Errorf("write to %v: %v", args, err)
		}
	}
	if err := f.s.Network.Start(cmd); err != nil {
		f.s.Fatal(err)
	}
	go func() {
		r.err = cmd.Wait()
		close(r.done)
	}()
	f.s.Cleanup(func() {
		_ = cmd.Process.Kill() // if it hasn't ended yet
		<-r.done
	})
	return r
}

// Signal sends a signal.
func (r *Running) Signal(sig syscall.Signal) {
	r.s.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.s.Fatalf("signal %v: %v", r.cmd.Args, err)
	}
}

// Output is what came so far, stdout and then stderr.
func (r *Running) Output() string { return r.stdout.String() + r.stderr.String() }

// Stdout is what came so far on stdout.
func (r *Running) Stdout() string { return r.stdout.String() }

// Await waits for a text in the output.
func (r *Running) Await(text string) {
	r.s.Helper()
	r.s.Eventually(fmt.Sprintf("%v prints %q", r.cmd.Args[1:], text), func() error {
		if out := r.Output(); !strings.Contains(out, text) {
			return fmt.Errorf("so far: %s", out)
		}
		return nil
	})
}

// Over says whether the command has ended.
func (r *Running) Over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Wait waits for the command's end.
func (r *Running) Wait() Result {
	r.s.Helper()
	select {
	case <-r.done:
	case <-time.After(commandLimit):
		r.s.Fatalf("%v has not ended after %v; so far: %s", r.cmd.Args[1:], commandLimit, r.Output())
	}
	return Result{Args: r.cmd.Args[1:], Stdout: r.stdout.String(), Stderr: r.stderr.String(), Code: exitCode(r.err), Elapsed: time.Since(r.began)}
}

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
