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

// Ask puts a yes-or-no question. Anything but y or yes is no. A question is given up when ctx ends.
func (u *UI) Ask(ctx context.Context, question string) (bool, error) {
	yes, _, err := u.ask(ctx, question)
	return yes, err
}

// AskAnyone is Ask, for a question that a script may answer as well: yes | berth rm. answered is false if nobody does.
func (u *UI) AskAnyone(ctx context.Context, question string) (yes, answered bool, err error) {
	if u.cfg.InTTY && !u.CanAsk() {
		return false, false, nil
	}
	return u.ask(ctx, question)
}

func (u *UI) ask(ctx context.Context, question string) (yes, answered bool, err error) {
	answer, err := u.AskText(ctx, strings.TrimSpace(question)+" [y/N]")
	switch strings.ToLower(answer) {
	case "y", "yes":
		return true, true, nil
	}
	return false, answer != "" || u.CanAsk(), err
}

// AskText asks for a line.
func (u *UI) AskText(ctx context.Context, question string) (string, error) {
	fmt.Fprintf(u.cfg.Err, "%s ", question)
	line, err := u.line(ctx)
	if ctx.Err() != nil {
		fmt.Fprintln(u.cfg.Err)
	}
	return strings.TrimSpace(line), err
}

// AskSecret asks for a line that is not shown while it is typed.
func (u *UI) AskSecret(ctx context.Context, question string) (string, error) {
	show, err := u.hide()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(u.cfg.Err, "%s ", question)
	line, err := u.line(ctx)
	show()
	fmt.Fprintln(u.cfg.Err)
	return strings.TrimRight(line, "\r\n"), err
}

// line reads what the user types, up to its end; the end of input ends it too. Reading can't be broken off: when ctx ends,
// it is left alone, and no further question can be answered.
func (u *UI) line(ctx context.Context) (string, error) {
	if u.in == nil {
		u.in = bufio.NewReader(u.cfg.In)
	}
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() { // ends with the line, or with the process
		line, err := u.in.ReadString('\n')
		got <- answer{line, err}
	}()
	select {
	case a := <-got:
		if errors.Is(a.err, io.EOF) {
			a.err = nil
		}
		return a.line, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
