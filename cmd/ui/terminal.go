package ui

import (
	"os"

	"github.com/moby/term"
)

// Streams are a process's own.
type Streams struct{ In, Out, Err *os.File }

// NewFromStreams makes a UI of a process's streams; what cfg says of them is filled in.
func NewFromStreams(s Streams, cfg Config) *UI {
	cfg.In, cfg.Out, cfg.Err = s.In, s.Out, s.Err
	cfg.InTTY, cfg.OutTTY, cfg.ErrTTY = isTTY(s.In), isTTY(s.Out), isTTY(s.Err)
	if cfg.Size == nil {
		cfg.Size = func() (int, int) {
			for _, f := range []*os.File{s.Err, s.Out, s.In} {
				if ws, err := term.GetWinsize(f.Fd()); err == nil && ws.Width > 0 {
					return int(ws.Width), int(ws.Height)
				}
			}
			return 0, 0
		}
	}
	return New(cfg)
}

func isTTY(f *os.File) bool { return f != nil && term.IsTerminal(f.Fd()) }

// Raw puts the terminal that the user types at into raw mode, so that every key goes to a container. The returned
// function puts it back. Where In is no terminal nothing happens.
func (u *UI) Raw() (restore func(), err error) {
	f, ok := u.cfg.In.(*os.File)
	if !ok || !u.cfg.InTTY {
		return func() {}, nil
	}
	before, err := term.SetRawTerminal(f.Fd())
	if err != nil {
		return nil, err
	}
	return func() { _ = term.RestoreTerminal(f.Fd(), before) }, nil
}

// hide stops the terminal from showing what is typed; show has it do so again. Where In is no terminal nothing happens.
func (u *UI) hide() (show func(), err error) {
	f, ok := u.cfg.In.(*os.File)
	if !ok || !u.cfg.InTTY {
		return func() {}, nil
	}
	before, err := term.SaveState(f.Fd())
	if err != nil {
		return nil, err
	}
	if err := term.DisableEcho(f.Fd(), before); err != nil {
		return nil, err
	}
	return func() { _ = term.RestoreTerminal(f.Fd(), before) }, nil
}
