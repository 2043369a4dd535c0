package ui

import (
	"bufio"
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
	fmt.Fprintf(u.cfg.Err, "%s [y/N] ", strings.TrimSpace(question))
	if u.in == nil {
		u.in = bufio.NewReader(u.cfg.In)
	}
	line, err := u.in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}
