package ui

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// Mode is how progress is shown.
type Mode string

const (
	ModeAuto  Mode = "auto" // tty on a terminal, else plain
	ModeTTY   Mode = "tty"
	ModePlain Mode = "plain"
	ModeJSON  Mode = "json"
	ModeQuiet Mode = "quiet"
)

// ParseMode takes the value of --progress.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case ModeAuto, ModeTTY, ModePlain, ModeJSON, ModeQuiet:
		return m, nil
	case "":
		return ModeAuto, nil
	case "rawjson": // BuildKit's word; of builds, JSON is what BuildKit writes
		return ModeJSON, nil
	}
	return "", &Problem{Text: fmt.Sprintf("--progress: %q is not a kind of progress output", s), Way: "use auto, tty, plain, json or quiet"}
}

// Config is what a UI is made of.
type Config struct {
	In       io.Reader
	Out, Err io.Writer
	// InTTY, OutTTY, ErrTTY say what is a terminal.
	InTTY, OutTTY, ErrTTY bool
	// Size gives the terminal's columns and rows; 0, 0 if there is none.
	Size func() (cols, rows int)
	Now  func() time.Time
	// Tick gives the moments to redraw progress at, and ends them. Nil: ten a second.
	Tick     func() (<-chan time.Time, func())
	Progress Mode
	// ANSI is "auto", "always" or "never". NoColor leaves only colours out where it is "auto".
	ANSI    string
	NoColor bool
	// StatusToOut sends progress to Out (COMPOSE_STATUS_STDOUT).
	StatusToOut bool
}

// UI is the terminal, or what stands in for it.
type UI struct {
	cfg Config
	in  *bufio.Reader
}

// New makes a UI.
func New(cfg Config) *UI {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Size == nil {
		cfg.Size = func() (int, int) { return 0, 0 }
	}
	if cfg.Tick == nil {
		cfg.Tick = func() (<-chan time.Time, func()) {
			t := time.NewTicker(100 * time.Millisecond)
			return t.C, t.Stop
		}
	}
	if cfg.Progress == "" {
		cfg.Progress = ModeAuto
	}
	if cfg.ANSI == "" {
		cfg.ANSI = "auto"
	}
	return &UI{cfg: cfg}
}

// With gives a UI that differs in its configuration.
func (u *UI) With(change func(*Config)) *UI {
	cfg := u.cfg
	change(&cfg)
	return New(cfg)
}

// Out is where results go, Err where everything else goes, In what the user types.
func (u *UI) Out() io.Writer { return u.cfg.Out }
func (u *UI) Err() io.Writer { return u.cfg.Err }
func (u *UI) In() io.Reader  { return u.cfg.In }

// InTTY and OutTTY say whether there is a terminal on that side; Now is the clock.
func (u *UI) InTTY() bool    { return u.cfg.InTTY }
func (u *UI) OutTTY() bool   { return u.cfg.OutTTY }
func (u *UI) Now() time.Time { return u.cfg.Now() }

// Size gives the terminal's columns and rows, 0 and 0 if there is none.
func (u *UI) Size() (cols, rows int) { return u.cfg.Size() }

// Mode is how progress is shown, never ModeAuto.
func (u *UI) Mode() Mode {
	if u.cfg.Progress != ModeAuto {
		return u.cfg.Progress
	}
	if u.statusTTY() && u.cfg.ANSI != "never" {
		return ModeTTY
	}
	return ModePlain
}

// status is where progress goes.
func (u *UI) status() io.Writer {
	if u.cfg.StatusToOut {
		return u.cfg.Out
	}
	return u.cfg.Err
}

func (u *UI) statusTTY() bool {
	if u.cfg.StatusToOut {
		return u.cfg.OutTTY
	}
	return u.cfg.ErrTTY
}

// Colored says whether what goes to Out is coloured.
func (u *UI) Colored() bool { return u.colored(u.cfg.OutTTY) }

func (u *UI) errColored() bool { return u.colored(u.cfg.ErrTTY) }

func (u *UI) colored(tty bool) bool {
	switch u.cfg.ANSI {
	case "always":
		return true
	case "never":
		return false
	}
	return tty && !u.cfg.NoColor
}

// Printf writes a result.
func (u *UI) Printf(format string, a ...any) error {
	_, err := fmt.Fprintf(u.cfg.Out, format, a...)
	return err
}

// Note says something that is good to know, Warn something that is likely not wanted.
func (u *UI) Note(text string) { u.remark("note", text) }
func (u *UI) Warn(text string) { u.remark("warning", text) }

func (u *UI) remark(kind, text string) {
	if u.cfg.Progress == ModeQuiet && kind == "note" {
		return
	}
	fmt.Fprintln(u.cfg.Err, remark(u.errColored(), kind, text))
}

func remark(color bool, kind, text string) string {
	p := newPalette(color)
	head := p.info(kind + ":")
	if kind == "warning" {
		head = p.warning(kind + ":")
	}
	return head + " " + strings.TrimSpace(text)
}
