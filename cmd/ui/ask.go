package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// CanAsk says whether there is someone to answer.
func (u *UI) CanAsk() bool {
	return u.cfg.InTTY && u.cfg.ErrTTY && u.cfg.Progress != ModeJSON && u.cfg.Progress != ModeQuiet
}

// Ask puts a yes-or-no question. Anything but y or yes is no.
func (u *UI) Ask(question string) (bool, error) {
	answer, err := u.AskText(strings.TrimSpace(question) + " [y/N]")
	switch strings.ToLower(answer) {
	case "y", "yes":
		return true, nil
	}
	return false, err
}

// AskText asks for a line.
func (u *UI) AskText(question string) (string, error) {
	fmt.Fprintf(u.cfg.Err, "%s ", question)
	line, err := u.line()
	return strings.TrimSpace(line), err
}

// AskSecret asks for a line that is not shown while it is typed. Ending ctx gives the terminal its echo back, and the
// answer up.
func (u *UI) AskSecret(ctx context.Context, question string) (string, error) {
	show, err := u.hide()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(u.cfg.Err, "%s ", question)
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() { // ends with the line, or with the process
		line, err := u.line()
		got <- answer{line, err}
	}()
	defer func() {
		show()
		fmt.Fprintln(u.cfg.Err)
	}()
	select {
	case a := <-got:
		return strings.TrimRight(a.line, "\r\n"), a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// line reads what the user types, up to its end; the end of input ends it too.
func (u *UI) line() (string, error) {
	if u.in == nil {
		u.in = bufio.NewReader(u.cfg.In)
	}
	line, err := u.in.ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}
