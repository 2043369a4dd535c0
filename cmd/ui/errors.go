package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"berth/engine/api"
)

// Exit ends a command with a code and without a message: what there was to say has been said.
type Exit struct{ Code int }

func (e *Exit) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// Interrupted is the end of a command by Ctrl-C.
const Interrupted = 130

// Problem is an error of the command line itself, with a way out where one is known.
type Problem struct{ Text, Way string }

func (p *Problem) Error() string { return p.Text }

// Hint is the way out.
func (p *Problem) Hint() string { return p.Way }

// ExitCode is the code that a command ends with.
func ExitCode(err error) int {
	var exit *Exit
	var failed *api.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.As(err, &failed):
		if failed.Code != 0 {
			return failed.Code
		}
		if failed.Class == api.ClassCanceled {
			return Interrupted
		}
	}
	return 1
}

// RenderError prints an error and the way out, or nothing where there is nothing to say.
func (u *UI) RenderError(err error) {
	if u.cfg.Progress == ModeJSON && err != nil && said(err) {
		writeLine(u.cfg.Err, jsonError{Error: true, Message: err.Error(), Hint: HintOf(err)})
		return
	}
	renderError(u.cfg.Err, u.errColored(), err)
}

// jsonError is an error among the lines of JSON progress.
type jsonError struct {
	Error   bool   `json:"error"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// said says whether an error has anything to tell: not so the exit code of a container, or an interrupt.
func said(err error) bool {
	var exit *Exit
	return !errors.As(err, &exit) && ExitCode(err) != Interrupted
}

func renderError(w io.Writer, color bool, err error) {
	if err == nil || !said(err) {
		return
	}
	p := newPalette(color)
	fmt.Fprintln(w, p.failure("error:")+" "+indent(marked(err.Error(), p), "       "))
	if h := HintOf(err); h != "" {
		fmt.Fprintln(w, p.info("hint:")+"  "+indent(h, "       "))
	}
}

// sourceLine is a line of a Dockerfile in a message.
var sourceLine = regexp.MustCompile(`^ *\d* \| `)

// marked makes the lines of a Dockerfile that a message shows stand out from what a step printed.
func marked(message string, p palette) string {
	lines := strings.Split(message, "\n")
	for i, l := range lines[1:] {
		if sourceLine.MatchString(l) {
			lines[i+1] = p.failure(l)
		}
	}
	return strings.Join(lines, "\n")
}

// HintOf is the way out that an error knows, or "".
func HintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return strings.TrimSpace(h.Hint())
	}
	return ""
}

func indent(s, by string) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+by)
}
