package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"berth/engine/api"
)

const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearBelow = "\x1b[J"
)

// tty redraws a picture in place: the builds that are under way, and a board of tasks. A goroutine redraws at each tick;
// Done ends it.
type tty struct {
	mu        sync.Mutex
	w         io.Writer
	color     bool
	options   ProgressOptions
	board     board
	builds    *builds
	translate *translator
	size      func() (cols, rows int)
	now       func() time.Time
	drawn     int // lines on the screen that the next drawing replaces
	remarks   []string
	stop      func()
}

func startTTY(w io.Writer, color bool, o ProgressOptions, size func() (int, int), now func() time.Time, tick <-chan time.Time, stopTick func()) *tty {
	t := &tty{
		w: w, color: color, options: o, translate: newTranslator(o), size: size, now: now, board: newBoard(o), builds: newBuilds(),
	}
	t.stop = onTicks(tick, stopTick, func() { t.draw(false, nil) })
	return t
}

func (t *tty) Event(e api.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if kind, text := spoken(e); text != "" {
		t.remarks = append(t.remarks, remark(t.color, kind, text))
	}
	if !t.options.HideBuilds {
		t.builds.event(e, t.now())
	}
	for _, u := range t.translate.translate(e) {
		if u.at.IsZero() {
			u.at = t.now()
		}
		t.board.apply(u, t.now())
	}
}

// Done draws everything once more, in full, and leaves it on the screen.
func (t *tty) Done(err error) {
	t.stop()
	if err != nil {
		t.builds.breakOff(t.now())
	}
	t.draw(true, err)
	if !t.options.HoldWarnings && !errors.Is(err, context.Canceled) {
		for _, l := range t.builds.warningLines(newPalette(t.color)) {
			fmt.Fprintln(t.w, l)
		}
	}
}

func (t *tty) draw(last bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.board.empty() && t.builds.empty() && len(t.remarks) == 0 {
		return
	}
	var b bytes.Buffer
	b.WriteString(hideCursor)
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", t.drawn)
	}
	b.WriteString("\r" + clearBelow)
	for _, r := range t.remarks {
		b.WriteString(r + "\n")
	}
	t.remarks = nil
	t.drawn = 0
	for _, l := range t.picture(last, err) {
		b.WriteString(l + "\n")
		t.drawn++
	}
	b.WriteString(showCursor)
	_, _ = t.w.Write(b.Bytes())
	if last {
		t.drawn = 0
	}
}

// picture is the builds above the board. While there are builds to be seen, the board leaves their images out.
func (t *tty) picture(last bool, err error) []string {
	cols, rows := t.size()
	v := view{cols: cols, limit: rows - 2, now: t.now(), color: t.color, last: last}
	if last || rows <= 0 {
		v.limit = 0
	}
	if !t.showsBuilds(last, err) {
		if t.board.empty() {
			return nil
		}
		return t.board.lines(v)
	}
	below := view{cols: v.cols, now: v.now, color: v.color, last: last, building: !last && t.builds.running()}
	tasks := len(t.board.shown(below))
	if v.limit > 0 && tasks > 0 {
		below.limit = min(tasks+1, max(v.limit/3, 2))
		v.limit = max(v.limit-below.limit, 2)
	}
	lines := t.builds.lines(v)
	if tasks > 0 {
		lines = append(lines, t.board.lines(below)...)
	}
	return lines
}

// showsBuilds: where building is all there is to see, or went wrong, the builds stay on the screen; else they make room for
// the rest of the verb.
func (t *tty) showsBuilds(last bool, err error) bool {
	if t.builds.empty() {
		return false
	}
	only := t.options.Operation == "build" || t.options.Operation == "check"
	return only || t.builds.running() && !last || err != nil && t.builds.failed()
}
