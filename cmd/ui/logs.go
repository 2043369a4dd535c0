package ui

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"

	"berth/engine/api"
)

// LogOptions say how lines of containers look.
type LogOptions struct {
	Classic    bool
	NoColor    bool
	NoPrefix   bool
	Timestamps bool
	// Project and Separator: a container's default name is shown without "<project><separator>".
	Project, Separator string
	// LongestService is the length of the project's longest service name; the classic look pads to it.
	LongestService int
	// SplitErr sends what containers wrote to standard error to Err (attached up); else all goes to Out.
	SplitErr bool
}

// LogPrinter prints lines of many containers, each with its prefix. It may be used by several goroutines.
type LogPrinter struct {
	mu       sync.Mutex
	out, err *bufio.Writer
	options  LogOptions
	colors   rainbow
	sources  map[string]*source
	width    int
	open     *source // its last line is not ended
	stamp    []byte
}

type source struct {
	name, prefix string
	paint        paint
}

// Logs gives a printer of containers' lines.
func (u *UI) Logs(o LogOptions) *LogPrinter {
	l := &LogPrinter{
		out: bufio.NewWriterSize(u.cfg.Out, 64<<10), err: bufio.NewWriterSize(u.cfg.Err, 16<<10),
		options: o, sources: map[string]*source{}, colors: rainbow{on: u.Colored() && !o.NoColor},
	}
	if o.Classic {
		l.width = o.LongestService + 3
	}
	return l
}

// ShortName is the name of a container in log prefixes.
func (o LogOptions) ShortName(name string) string {
	if short, ok := strings.CutPrefix(name, o.Project+o.Separator); ok && short != "" && o.Project != "" {
		return short
	}
	return name
}

// Register makes containers known before their first line, so that colours are given out in this order and
// prefixes are as wide as they will be.
func (l *LogPrinter) Register(containers ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range containers {
		l.source(c)
	}
}

func (l *LogPrinter) source(container string) *source {
	if s, ok := l.sources[container]; ok {
		return s
	}
	s := &source{name: l.options.ShortName(container), paint: l.colors.take()}
	l.sources[container] = s
	if !l.options.Classic {
		l.width = max(l.width, len(s.name)+1)
	}
	for _, s := range l.sources {
		s.prefix = l.prefix(s)
	}
	return s
}

func (l *LogPrinter) prefix(s *source) string {
	switch {
	case l.options.NoPrefix:
		return ""
	case l.options.Classic:
		return s.paint(fmt.Sprintf("%-*s |", l.width, s.name)) + " "
	}
	return s.paint(fmt.Sprintf("%-*s | ", l.width, s.name))
}

// Batch prints a run of lines. It is on the screen when Batch returns.
func (l *LogPrinter) Batch(b *api.LogBatch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.source(b.Container)
	for data := b.Data; len(data) > 0; {
		e, rest, err := api.NextLog(data)
		if err != nil {
			return err
		}
		l.line(s, &e)
		data = rest
	}
	return l.flush()
}

func (l *LogPrinter) line(s *source, e *api.LogEntry) {
	w := l.out
	if e.Stderr && l.options.SplitErr {
		w = l.err
		_ = l.out.Flush()
	} else if l.err.Buffered() > 0 {
		_ = l.err.Flush()
	}
	if l.open != nil && l.open != s {
		_ = w.WriteByte('\n')
		l.open = nil
	}
	if l.open == nil {
		_, _ = w.WriteString(s.prefix)
		if l.options.Timestamps {
			l.stamp = e.Time.UTC().AppendFormat(l.stamp[:0], "2006-01-02T15:04:05.000000000Z07:00 ")
			_, _ = w.Write(l.stamp)
		}
	}
	_, _ = w.Write(e.Data)
	l.open = s
	if !e.Partial {
		_ = w.WriteByte('\n')
		l.open = nil
	}
}

// Status prints something about a container, in its colour: "web-1 exited with code 0".
func (l *LogPrinter) Status(container, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.source(container)
	l.endLine()
	name := s.name
	if l.options.Classic {
		name = container
	}
	_, _ = l.out.WriteString(s.paint(name+" "+text) + "\n")
	_ = l.flush()
}

// Say prints a line that is about no container.
func (l *LogPrinter) Say(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLine()
	_, _ = l.out.WriteString(text + "\n")
	_ = l.flush()
}

func (l *LogPrinter) endLine() {
	if l.open != nil {
		_ = l.out.WriteByte('\n')
		l.open = nil
	}
}

func (l *LogPrinter) flush() error {
	if err := l.out.Flush(); err != nil {
		return err
	}
	return l.err.Flush()
}

// Close ends a line that was left open.
func (l *LogPrinter) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLine()
	return l.flush()
}

var _ io.Closer = (*LogPrinter)(nil)
