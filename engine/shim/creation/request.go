package creation

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ErrOther is a case that is left to runc itself.
var ErrOther = errors.New("this is for runc to do")

// request is what a command line of "runc create" says.
type request struct {
	id      string
	root    string // where the books are
	bundle  string
	pidFile string
	log     string
	stdio   [3]*os.File // the container's; the first may be nil, for none
}

// parse reads a command line as containerd writes it for a container without anything special. Any further option makes it
// a case for runc.
func parse(cmd *exec.Cmd, program string) (*request, error) {
	form := []string{program, "--root", "", "--log", "", "--log-format", "json", "create", "--bundle", "", "--pid-file", "", ""}
	if cmd.Path != program || len(cmd.Args) != len(form) || len(cmd.ExtraFiles) > 0 || cmd.Dir != "" {
		return nil, ErrOther
	}
	for i, word := range form {
		if word != "" && cmd.Args[i] != word {
			return nil, ErrOther
		}
	}
	for _, v := range cmd.Env {
		// Sockets that the caller was given for somebody's use, which runc hands on.
		if strings.HasPrefix(v, "LISTEN_FDS=") || strings.HasPrefix(v, "NOTIFY_SOCKET=") {
			return nil, ErrOther
		}
	}
	r := &request{root: cmd.Args[2], log: cmd.Args[4], bundle: cmd.Args[9], pidFile: cmd.Args[11], id: cmd.Args[12]}
	if !validID(r.id) {
		return nil, ErrOther
	}
	for i, stream := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		f, ok := stream.(*os.File)
		if !ok && (stream != nil || i > 0) {
			return nil, ErrOther
		}
		r.stdio[i] = f
	}
	return r, nil
}

// validID says that an id can be the name of a folder and is one that runc takes.
func validID(id string) bool {
	if id == "" || id == "." || id == ".." {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") == ""
}

// report leaves a failure that runc will not be asked about where it is looked for, as runc does, and gives it back.
func (r *request) report(failure error) error {
	line, err := json.Marshal(struct {
		Level string    `json:"level"`
		Msg   string    `json:"msg"`
		Time  time.Time `json:"time"`
	}{"error", failure.Error(), time.Now()})
	if err == nil {
		err = os.WriteFile(r.log, append(line, '\n'), 0o600)
	}
	return errors.Join(failure, err)
}
