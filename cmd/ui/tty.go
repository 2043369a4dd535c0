package ui

import (
	"bytes"
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

// tty redraws a board of tasks in place. A goroutine redraws at each tick; Done ends it.
type tty struct {
	mu        sync.Mutex
	w         io.Writer
	color     bool
	board     board
	translate *translator
	size      func() (cols, rows int)
	now       func() time.Time
	drawn     int // lines on the screen that the next drawing replaces
	remarks   []string
	stopTick  func()
	end, gone chan struct{}
}

func startTTY(w io.Writer, color bool, o ProgressOptions, size func() (int, int), now func() time.Time, tick <-chan time.Time, stopTick func()) *tty {
	t := &tty{
		w: w, color: color, translate: newTranslator(o), size: size, now: now, stopTick: stopTick,
		board: newBoard(o), end: make(chan struct{}), gone: make(chan struct{}),
	}
	go func() {
		defer close(t.gone)
		for {
			select {
			case <-tick:
				t.draw(false)
			case <-t.end:
				return
			}
		}
	}()
	return t
}

func (t *tty) Event(e api.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if kind, text := spoken(e); text != "" {
		t.remarks = append(t.remarks, remark(t.color, kind, text))
	}
	for _, u := range t.translate.translate(e) {
		if u.at.IsZero() {
			u.at = t.now()
		}
		t.board.apply(u, t.now())
	}
}

// Done draws everything once more, in full, and leaves it on the screen.
func (t *tty) Done(error) {
	t.stopTick()
	close(t.end)
	<-t.gone
	t.draw(true)
}

func (t *tty) draw(last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.board.empty() && len(t.remarks) == 0 {
		return
	}
	cols, rows := t.size()
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
	if !t.board.empty() {
		limit := rows - 2
		if last || rows <= 0 {
			limit = 0
		}
		for _, l := range t.board.lines(view{cols: cols, limit: limit, now: t.now(), color: t.color, last: last}) {
			b.WriteString(l + "\n")
			t.drawn++
		}
	}
	b.WriteString(showCursor)
	_, _ = t.w.Write(b.Bytes())
	if last {
		t.drawn = 0
	}
}
