package ui

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// board is the state of a redrawn progress display; lines makes its picture. It does no I/O.
type board struct {
	options ProgressOptions
	order   []*task
	byID    map[string]*task
}

// task is one line. Layers of an image are tasks of the image, not of the board.
type task struct {
	id             string
	state          state
	text, details  string
	current, total int64
	start, end     time.Time
	layers         []*task
	layerByID      map[string]*task
	meter          meter // of what comes or goes
}

// view is how to draw: limit is the number of lines there is room for (0: any).
type view struct {
	cols, limit int
	now         time.Time
	color       bool
	last        bool
	building    bool // images that are built are shown elsewhere
}

func newBoard(o ProgressOptions) board { return board{options: o, byID: map[string]*task{}} }

func (b *board) empty() bool { return len(b.order) == 0 }

func (b *board) apply(u update, now time.Time) {
	if u.parent != "" {
		if b.options.HideLayers {
			return
		}
		parent := b.task(u.parent, now)
		l, ok := parent.layerByID[u.id]
		if !ok {
			l = &task{id: u.id, start: now}
			if parent.layerByID == nil {
				parent.layerByID = map[string]*task{}
			}
			parent.layerByID[u.id] = l
			parent.layers = append(parent.layers, l)
		}
		l.set(u, now)
		l.meter.read(l.current, now)
		received, _, _ := parent.sum()
		parent.meter.read(received, now)
		return
	}
	b.task(u.id, now).set(u, now)
}

func (b *board) task(id string, now time.Time) *task {
	t, ok := b.byID[id]
	if !ok {
		t = &task{id: id, start: now}
		if strings.HasPrefix(id, "Image ") {
			t.text = "Pulling"
		}
		b.byID[id] = t
		b.order = append(b.order, t)
	}
	return t
}

func (t *task) set(u update, now time.Time) {
	if u.state == working {
		t.end = time.Time{}
	} else if t.end.IsZero() || t.state != u.state {
		t.end = now
	}
	t.state, t.text, t.details = u.state, u.text, u.details
	// Reports of one layer can overtake each other; what has come stays.
	if u.total > 0 {
		t.total = u.total
	}
	if u.current > t.current || u.text == extracting {
		t.current = u.current
	}
	if u.state == done && t.total > 0 {
		t.current = t.total
	}
}

// sum adds up the layers; known says that all of them have told their size.
func (t *task) sum() (current, total int64, known bool) {
	known = len(t.layers) > 0
	for _, l := range t.layers {
		if l.state == working && l.total == 0 {
			known = false
		}
		if l.text == extracting {
			current += l.total // it has come
		} else {
			current += l.current
		}
		total += l.total
	}
	return min(current, total), total, known && total > 0
}

var spinnerFrames = [...]string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

var fillFrames = [...]string{"⠀", "⡀", "⣀", "⣄", "⣤", "⣦", "⣶", "⣷", "⣿"}

// shown are the tasks that have a line.
func (b *board) shown(v view) []*task {
	if !v.building {
		return b.order
	}
	var tasks []*task
	for _, t := range b.order {
		if t.state != working || t.text != building && t.text != checking {
			tasks = append(tasks, t)
		}
	}
	return tasks
}

func (t *task) works() bool { return t.state == working }

func (t *task) fails() bool { return t.state == failed }

func (b *board) lines(v view) []string {
	finished := 0
	for _, t := range b.order {
		if t.state != working {
			finished++
		}
	}
	tasks := b.shown(v)
	width := 0
	for _, t := range tasks {
		width = max(width, utf8.RuneCountInString(t.id))
	}
	if v.cols > 0 {
		width = min(width, max(v.cols-24, 8))
	}
	p := newPalette(v.color)
	out := []string{fmt.Sprintf("[+] %s %d/%d", b.options.Operation, finished, len(b.order))}
	hidden := 0
	if v.limit > 0 && len(tasks) > v.limit-1 {
		tasks, hidden = pick(tasks, max(v.limit-2, 1), (*task).fails, (*task).works)
	}
	room := -1
	if v.limit > 0 {
		room = v.limit - 1 - len(tasks)
	}
	for _, t := range tasks {
		out = append(out, t.line(v, p, width, " "))
		if v.last || t.state != working {
			continue
		}
		for _, l := range t.layers {
			if room == 0 {
				break
			}
			room--
			out = append(out, l.layerLine(v, p, width))
		}
	}
	if hidden > 0 {
		out = append(out, fmt.Sprintf("   ... and %d more", hidden))
	}
	return out
}

// pick chooses n things in their order: those that are wanted first, the latest of the rest if there is room.
func pick[T comparable](things []T, n int, wanted ...func(T) bool) (chosen []T, hidden int) {
	take := map[T]bool{}
	for _, want := range append(wanted, func(T) bool { return true }) {
		for i := len(things) - 1; i >= 0 && len(take) < n; i-- {
			if want(things[i]) {
				take[things[i]] = true
			}
		}
	}
	for _, t := range things {
		if take[t] {
			chosen = append(chosen, t)
		}
	}
	return chosen, len(things) - len(chosen)
}

func (t *task) mark(v view, p palette) string {
	switch t.state {
	case done:
		return p.success("✔")
	case warned:
		return p.warning("!")
	case failed:
		return p.failure("✘")
	}
	return p.info(spinnerFrames[int(v.now.Sub(t.start)/(100*time.Millisecond))%len(spinnerFrames)])
}

func (t *task) paint(p palette) paint {
	switch t.state {
	case done:
		return p.success
	case warned:
		return p.warning
	case failed:
		return p.failure
	}
	return plainPaint
}

func (t *task) elapsed(now time.Time) string {
	end := t.end
	if end.IsZero() {
		end = now
	}
	return fmt.Sprintf("%.1fs", max(end.Sub(t.start), 0).Seconds())
}

// line is " ✔ Container shop-web-1  Started       0.4s", cut and filled to the width of the terminal.
func (t *task) line(v view, p palette, width int, margin string) string {
	id := Ellipsis(t.id, width)
	id += strings.Repeat(" ", max(width-utf8.RuneCountInString(id), 0))
	timer := t.elapsed(v.now)
	fixed := utf8.RuneCountInString(margin) + 2 + utf8.RuneCountInString(id) + 1
	room := max(v.cols-fixed-utf8.RuneCountInString(timer)-2, 0)
	middle := t.text
	if t.state == working && len(t.layers) > 0 {
		bar, numbers := t.bar(), t.numbers()
		if middle = bar + " " + numbers; v.cols > 0 && utf8.RuneCountInString(middle) > room {
			middle = numbers // they say more
		}
	}
	if t.details != "" {
		middle += " " + t.details
	}
	if v.cols > 0 {
		middle = Ellipsis(middle, room)
	}
	gap := " "
	if v.cols > 0 {
		gap = strings.Repeat(" ", max(v.cols-fixed-utf8.RuneCountInString(middle)-utf8.RuneCountInString(timer)-1, 1))
	}
	return margin + t.mark(v, p) + " " + id + " " + t.paint(p)(middle) + gap + p.timer(timer)
}

// bar is "[⣿⣷⠀]", a sign for each layer.
func (t *task) bar() string {
	var s strings.Builder
	s.WriteString("[")
	for _, l := range t.layers {
		fill := 0
		switch {
		case l.state == done, l.text == extracting:
			fill = len(fillFrames) - 1
		case l.total > 0:
			fill = int(int64(len(fillFrames)-1) * min(l.current, l.total) / l.total)
		}
		s.WriteString(fillFrames[fill])
	}
	s.WriteString("]")
	return s.String()
}

// numbers is "12.1MB / 40MB  5.2MB/s  6s left" of all layers, once their sizes are known.
func (t *task) numbers() string {
	current, total, known := t.sum()
	if !known {
		return t.text
	}
	return HumanSize(current) + " / " + HumanSize(total) + t.meter.speed(current, total)
}

// layerName is how long a layer's name is, and layerNumbers what the rest of its line takes: "Downloading  123.4MB / 123.4MB
// 123.4MB/s  59m59s left  123.4s" and the margin.
const (
	layerName    = len("0123456789ab")
	layerNumbers = 70
)

func (t *task) layerLine(v view, p palette, width int) string {
	shown := *t
	shown.layers = nil
	if t.state == working && t.total > 0 {
		shown.text = fmt.Sprintf("%-12s %s / %s", t.text, HumanSize(t.current), HumanSize(t.total)) + t.meter.speed(t.current, t.total)
	}
	// Where the terminal is narrow, the column of the images' names goes to the numbers.
	if width = max(width-2, layerName); v.cols > 0 && v.cols < width+layerNumbers {
		width = max(layerName, v.cols-layerNumbers)
	}
	return shown.line(v, p, width, "   ")
}
