package ui

import (
	"slices"
	"strings"
	"time"

	"berth/engine/api"
)

// builds is the state of the builds of a verb, of all services together. A step that several services need is one step,
// named after the first of them. It does no I/O.
type builds struct {
	began, ended time.Time
	steps        []*buildStep // in the order of their start
	byID         map[string]*buildStep
	open         map[string]bool // by service: whether its build goes on
	warnings     []buildWarning
}

// buildStep is a node of a build with all that is known of it.
type buildStep struct {
	id      string
	title   string // without a service
	service string // that it is shown as a step of
	spans   []span // a step can be taken up again
	cached  bool
	err     string

	transfers  []*transfer
	transferOf map[string]*transfer

	output lineSplitter
	tail   []string  // the last lines of output
	wrote  time.Time // of the last piece of output
	writer string    // the service that it came by
}

// span is a time of work; end is zero while it goes on.
type span struct{ start, end time.Time }

// transfer is something within a step that can be counted.
type transfer struct {
	api.BuildTransfer
	span
}

// tailLines is how much of a running step's output is shown.
const tailLines = 6

func newBuilds() *builds {
	return &builds{byID: map[string]*buildStep{}, open: map[string]bool{}}
}

func (b *builds) empty() bool { return len(b.open) == 0 }

// running says whether the build of any service goes on.
func (b *builds) running() bool {
	for _, open := range b.open {
		if open {
			return true
		}
	}
	return false
}

// failed says whether a step went wrong.
func (b *builds) failed() bool { return slices.ContainsFunc(b.steps, (*buildStep).failed) }

// counts are the steps that are over and all that are known.
func (b *builds) counts() (over, all int) {
	for _, s := range b.byID {
		if s.over() {
			over++
		}
	}
	return over, len(b.byID)
}

// event takes in what an event says of builds. It gives the lines of output that came with it.
func (b *builds) event(e api.Event, now time.Time) []outputLine {
	switch {
	case e.Build != nil:
		return b.progress(e.Build, now)
	case e.Built != nil:
		b.finish(e.Built.Service, now)
	case e.Step != nil && e.Step.Verb == "build" && e.Step.Status != "working":
		b.finish(e.Step.Service, now)
	}
	return nil
}

func (b *builds) finish(service string, now time.Time) {
	if b.open[service] {
		b.open[service] = false
		b.ended = now
	}
}

// breakOff says of what still runs that it does no more.
func (b *builds) breakOff(now time.Time) {
	for _, s := range b.steps {
		for i := range s.spans {
			if s.spans[i].end.IsZero() {
				s.spans[i].end, s.err = now, canceled
			}
		}
	}
}

// outputLine is a whole line that a step has written.
type outputLine struct {
	step *buildStep
	text string
	at   time.Time
}

func (b *builds) progress(e *api.BuildEvent, now time.Time) []outputLine {
	if b.began.IsZero() {
		b.began = now
	}
	if _, known := b.open[e.Service]; !known {
		b.open[e.Service] = true
	}
	for _, s := range e.Steps {
		b.step(e.Service, s)
	}
	for _, t := range e.Transfers {
		if s := b.byID[t.Step]; s != nil {
			s.transfer(t, now)
		}
	}
	var lines []outputLine
	for _, o := range e.Output {
		if s := b.byID[o.Step]; s != nil && s.fresh(e.Service, o.Time) {
			lines = append(lines, s.write(o.Data, o.Time)...)
		}
	}
	for _, w := range e.Warnings {
		b.warnings = addWarning(b.warnings, e.Service, w)
	}
	return lines
}

func (b *builds) step(service string, s api.BuildStep) {
	step, ok := b.byID[s.ID]
	if !ok {
		step = &buildStep{id: s.ID, title: s.Name, service: service, transferOf: map[string]*transfer{}}
		b.byID[s.ID] = step
	}
	step.service = min(step.service, service)
	begins := len(step.spans) == 0
	step.set(s)
	if begins && len(step.spans) > 0 {
		b.steps = append(b.steps, step)
	}
}

// prefixed puts a service in front of a step's name: "[web 2/5] RUN make".
func prefixed(service, name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, name)
	if rest, ok := strings.CutPrefix(name, "["); ok {
		return "[" + service + " " + rest
	}
	return "[" + service + "] " + name
}

func (s *buildStep) set(u api.BuildStep) {
	start, end := u.Started, u.Completed
	if start.IsZero() {
		start = end
	}
	if start.IsZero() {
		return
	}
	s.cached, s.err = u.Cached, u.Error
	for i := range s.spans {
		if s.spans[i].start.Equal(start) {
			s.spans[i].end = end
			return
		}
	}
	s.spans = append(s.spans, span{start, end})
	slices.SortFunc(s.spans, func(a, b span) int { return a.start.Compare(b.start) })
}

func (s *buildStep) name() string { return prefixed(s.service, s.title) }

// started is when the step began, zero if it has not.
func (s *buildStep) started() time.Time {
	if len(s.spans) == 0 {
		return time.Time{}
	}
	return s.spans[0].start
}

func (s *buildStep) over() bool {
	for _, p := range s.spans {
		if p.end.IsZero() {
			return false
		}
	}
	return len(s.spans) > 0
}

// ended is when the step was over the last time.
func (s *buildStep) ended() time.Time {
	var last time.Time
	for _, p := range s.spans {
		if p.end.After(last) {
			last = p.end
		}
	}
	return last
}

// worked is how long the step was at work; times that overlap count once.
func (s *buildStep) worked(now time.Time) time.Duration {
	var sum time.Duration
	var until time.Time
	for _, p := range s.spans {
		start, end := p.start, p.end
		if end.IsZero() {
			end = now
		}
		if start.Before(until) {
			start = until
		}
		if end.After(start) {
			sum += end.Sub(start)
			until = end
		}
	}
	return sum
}

// canceled is how the error of a step ends that was broken off.
const canceled = "context canceled"

// canceled says that the step was broken off, as another one failed or the user wanted so.
func (s *buildStep) canceled() bool { return strings.HasSuffix(s.err, canceled) }

func (s *buildStep) failed() bool { return s.err != "" && !s.canceled() }

func (s *buildStep) transfer(u api.BuildTransfer, now time.Time) {
	t, ok := s.transferOf[u.ID]
	if !ok {
		t = &transfer{span: span{start: now}}
		s.transferOf[u.ID] = t
		s.transfers = append(s.transfers, t)
	}
	// Of a step that is shared, reports come by each service; what has come stays.
	u.Current, u.Done = max(u.Current, t.Current), u.Done || t.Done
	t.BuildTransfer = u
	if t.Done && t.end.IsZero() {
		t.end = now
	}
}

// amount is "2.1kB", or "2.1kB / 30MB", or "".
func (t *transfer) amount() string {
	switch {
	case t.Total > 0:
		return HumanSize(t.Current) + " / " + HumanSize(t.Total)
	case t.Current > 0 && strings.HasSuffix(t.ID, ":"):
		return HumanSize(t.Current)
	}
	return ""
}

func (t *transfer) took(now time.Time) time.Duration {
	if t.Done {
		now = t.end
	}
	return max(now.Sub(t.start), 0)
}

// fresh says whether a piece of output is new: that of a shared step comes by each of its services.
func (s *buildStep) fresh(service string, at time.Time) bool {
	switch {
	case at.After(s.wrote):
		s.wrote, s.writer = at, service
		return true
	case at.Before(s.wrote):
		return false
	}
	return service == s.writer || s.writer == ""
}

func (s *buildStep) write(data []byte, at time.Time) []outputLine {
	var lines []outputLine
	s.output.add(data, func(line string) {
		lines = append(lines, outputLine{s, line, at})
		s.tail = append(s.tail, line)
		if len(s.tail) > tailLines {
			s.tail = slices.Delete(s.tail, 0, len(s.tail)-tailLines)
		}
	})
	return lines
}

// window are the last lines that the step has written, the unfinished one included.
func (s *buildStep) window() []string {
	if s.output.rest() == "" {
		return s.tail
	}
	lines := append(slices.Clone(s.tail), s.output.rest())
	return lines[max(len(lines)-tailLines, 0):]
}
