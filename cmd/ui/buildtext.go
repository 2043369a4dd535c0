package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"berth/engine/api"
)

const (
	// silence is how long a step writes nothing until another one may speak.
	silence = time.Second
	// patience is how long what a step has written is kept back for another one's sake.
	patience = 5 * time.Second
)

// buildText tells of builds in numbered lines, "#5 [web 2/3] RUN make". One step speaks at a time; the others' lines are
// kept back until it is over or has been silent for a while.
type buildText struct {
	w       io.Writer
	builds  *builds
	told    map[*buildStep]*toldStep
	order   []*toldStep // as they began
	numbers int
	current *toldStep
	spoke   time.Time // when current last did
}

// toldStep is a step with what was told of it.
type toldStep struct {
	*buildStep
	number  int
	pending []pendingLine
	since   time.Time // when the first of pending came
	ended   time.Time // the end that was told
	said    map[string]saidTransfer
}

// pendingLine is what is still to be told; one about a transfer is replaced by the next about it.
type pendingLine struct{ text, transfer string }

// saidTransfer is how far a transfer was when it was last told of.
type saidTransfer struct {
	current int64
	at      time.Time
	done    bool
}

func newBuildText(w io.Writer) *buildText {
	return &buildText{w: w, builds: newBuilds(), told: map[*buildStep]*toldStep{}}
}

// event takes in what an event says of builds. It is told with the next flush, so that what takes no time is told at once
// from beginning to end; only the end of a build is not waited with.
func (t *buildText) event(e api.Event, now time.Time) {
	lines := t.builds.event(e, now)
	if e.Build == nil {
		if e.Built != nil || e.Step != nil && e.Step.Verb == "build" {
			t.flush(now)
		}
		return
	}
	for _, s := range t.builds.steps[len(t.order):] {
		step := &toldStep{buildStep: s, since: now, said: map[string]saidTransfer{}}
		t.told[s], t.order = step, append(t.order, step)
	}
	for _, tr := range e.Build.Transfers {
		if s := t.told[t.builds.byID[tr.Step]]; s != nil && (!s.over() || s.ending()) {
			s.transferred(s.transferOf[tr.ID], now)
		}
	}
	for _, l := range lines {
		if s := t.told[l.step]; s != nil {
			s.say(l.text, l.at, now)
		}
	}
}

// flush tells what is to be told by now.
func (t *buildText) flush(now time.Time) {
	for _, s := range t.finished() {
		t.tell(s, now)
	}
	if t.current != nil && len(t.current.pending) > 0 {
		t.tell(t.current, now)
	}
	next := t.waiting()
	if next != nil && (t.current == nil || now.Sub(t.spoke) >= silence || now.Sub(next.since) >= patience) {
		t.tell(next, now)
	}
}

// close tells all that was kept back.
func (t *buildText) close(now time.Time) {
	for _, s := range t.order {
		s.output.flush(func(line string) { s.say(line, s.wrote, now) })
		if len(s.pending) > 0 || s.ending() {
			t.tell(s, now)
		}
	}
}

// finished are the steps whose end was not told yet, by their end; the one that speaks comes first.
func (t *buildText) finished() []*toldStep {
	var list []*toldStep
	for _, s := range t.order {
		if s.ending() || s.over() && len(s.pending) > 0 {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b *toldStep) int {
		switch t.current {
		case a:
			return -1
		case b:
			return 1
		}
		return a.buildStep.ended().Compare(b.buildStep.ended())
	})
	return list
}

// waiting is the step that has had something to tell for the longest time, nil if none has.
func (t *buildText) waiting() *toldStep {
	var first *toldStep
	for _, s := range t.order {
		if s == t.current || s.over() || s.number > 0 && len(s.pending) == 0 {
			continue
		}
		if first == nil || s.since.Before(first.since) {
			first = s
		}
	}
	return first
}

func (t *buildText) tell(s *toldStep, now time.Time) {
	var b bytes.Buffer
	if s.number == 0 {
		t.numbers++
		s.number = t.numbers
	}
	if s != t.current {
		if t.current != nil {
			fmt.Fprintf(&b, "#%d ...\n", t.current.number)
		}
		if !t.spoke.IsZero() {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "#%d %s\n", s.number, s.name())
	}
	if s.over() {
		s.output.flush(func(line string) { s.say(line, s.wrote, now) })
	}
	for _, line := range s.pending {
		fmt.Fprintf(&b, "#%d %s\n", s.number, line.text)
	}
	s.pending = nil
	t.current, t.spoke = s, now
	if s.ending() {
		fmt.Fprintf(&b, "#%d %s\n", s.number, s.result(now))
		s.ended = s.buildStep.ended()
	}
	if s.over() {
		t.current = nil
	}
	_, _ = t.w.Write(b.Bytes())
}

// ending says that the step is over and that this was not told yet.
func (s *toldStep) ending() bool { return s.over() && !s.ended.Equal(s.buildStep.ended()) }

func (s *toldStep) result(now time.Time) string {
	switch {
	case s.failed():
		return "ERROR: " + s.err
	case s.canceled():
		return "CANCELED"
	case s.cached:
		return "CACHED"
	}
	return fmt.Sprintf("DONE %.1fs", s.worked(now).Seconds())
}

func (s *toldStep) add(line pendingLine, now time.Time) {
	if line.transfer != "" { // output is not looked at, which may be a million lines
		at := slices.IndexFunc(s.pending, func(have pendingLine) bool { return have.transfer == line.transfer })
		if at >= 0 {
			s.pending[at] = line
			return
		}
	}
	if len(s.pending) == 0 {
		s.since = now
	}
	s.pending = append(s.pending, line)
}

// say adds a line of output, with the seconds since the step began.
func (s *toldStep) say(line string, at, now time.Time) {
	seconds := max(at.Sub(s.started()), 0).Seconds()
	digits := 1
	switch {
	case seconds < 10:
		digits = 3
	case seconds < 100:
		digits = 2
	}
	s.add(pendingLine{text: strconv.FormatFloat(seconds, 'f', digits, 64) + " " + line}, now)
}

// transferred adds a line about a transfer, unless it has hardly moved since the last one.
func (s *toldStep) transferred(t *transfer, now time.Time) {
	said, known := s.said[t.ID]
	if known && (said.done || !t.Done && now.Sub(said.at) < patience && (t.Total == 0 || (t.Current-said.current)*20 < t.Total)) {
		return
	}
	s.said[t.ID] = saidTransfer{t.Current, now, t.Done}
	line := t.ID
	if a := t.amount(); a != "" {
		line += " " + a
	}
	if took := t.took(now); took >= 10*time.Millisecond {
		line += fmt.Sprintf(" %.1fs", took.Seconds())
	}
	if t.Done {
		line += " done"
	}
	s.add(pendingLine{line, t.ID}, now)
}

// buildTeller lets a buildText speak also while no event comes. What else is written beside it is written under mu.
type buildTeller struct {
	mu   sync.Mutex
	text *buildText
	w    io.Writer
	ui   *UI
	stop func()
}

func (u *UI) teller(w io.Writer) *buildTeller {
	return &buildTeller{text: newBuildText(w), w: w, ui: u}
}

// event is called under mu.
func (t *buildTeller) event(e api.Event) {
	if e.Build != nil && t.stop == nil {
		tick, stopTick := t.ui.cfg.Tick()
		t.stop = onTicks(tick, stopTick, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.text.flush(t.ui.Now())
		})
	}
	t.text.event(e, t.ui.Now())
}

// done ends the telling, with what there is to say of Dockerfiles. err is how the verb ended.
func (t *buildTeller) done(err error, warnings bool) {
	if t.stop == nil {
		return
	}
	t.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.text.builds.breakOff(t.ui.Now())
	}
	t.text.close(t.ui.Now())
	if warnings && !errors.Is(err, context.Canceled) {
		for _, l := range t.text.builds.warningLines(newPalette(t.ui.colored(t.ui.statusTTY()))) {
			fmt.Fprintln(t.w, l)
		}
	}
}
