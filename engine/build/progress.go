package build

import (
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/solver/pb"
)

// progressOf translates BuildKit's words.
func progressOf(s *client.SolveStatus) Progress {
	var p Progress
	for _, v := range s.Vertexes {
		step := Step{ID: v.Digest.String(), Name: v.Name, Started: timeOf(v.Started), Completed: timeOf(v.Completed), Cached: v.Cached, Error: v.Error}
		for _, in := range v.Inputs {
			step.Inputs = append(step.Inputs, in.String())
		}
		p.Steps = append(p.Steps, step)
	}
	for _, t := range s.Statuses {
		p.Transfers = append(p.Transfers, Transfer{ID: t.ID, Step: t.Vertex.String(), Current: t.Current, Total: t.Total, Done: t.Completed != nil})
	}
	for _, l := range s.Logs {
		p.Logs = append(p.Logs, Log{Step: l.Vertex.String(), Stream: l.Stream, Data: l.Data, At: l.Timestamp})
	}
	for _, w := range s.Warnings {
		var detail []string
		for _, line := range w.Detail {
			detail = append(detail, string(line))
		}
		warning := warningOf(string(w.Short), w.URL, detail, w.SourceInfo, w.Range)
		warning.Step = w.Vertex.String()
		p.Warnings = append(p.Warnings, warning)
	}
	return p
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// lineOf is the first line of a place in a Dockerfile, 0 if there is none.
func lineOf(ranges []*pb.Range) int {
	line := 0
	for _, r := range ranges {
		if n := int(r.GetStart().GetLine()); n > 0 && (line == 0 || n < line) {
			line = n
		}
	}
	return line
}

// watch hands on what a build says until it is over, which closes done, and remembers it for errors. BuildKit never waits for
// progress: it would take one that isn't read for seconds for dead, and say no more.
func watch(statuses <-chan *client.SolveStatus, progress func(Progress)) (seen *outputs, done <-chan struct{}) {
	seen = &outputs{}
	over := make(chan struct{})
	told := make(chan []*client.SolveStatus)
	go func() {
		defer close(told)
		var waiting []*client.SolveStatus
		for in := statuses; in != nil || len(waiting) > 0; {
			out := told
			if len(waiting) == 0 {
				out = nil
			}
			select {
			case s, ok := <-in:
				if !ok {
					in = nil
					continue
				}
				seen.add(s)
				if progress != nil {
					waiting = append(waiting, s)
				}
			case out <- waiting:
				waiting = nil
			}
		}
	}()
	go func() {
		defer close(over)
		for list := range told {
			for _, s := range list {
				progress(progressOf(s))
			}
		}
	}()
	return seen, over
}

// outputs remembers names and the last output of steps, for errors.
type outputs struct {
	names map[string]string
	last  map[string]*output
}

func (o *outputs) add(s *client.SolveStatus) {
	if o.names == nil {
		o.names, o.last = map[string]string{}, map[string]*output{}
	}
	for _, v := range s.Vertexes {
		o.names[v.Digest.String()] = v.Name
	}
	for _, l := range s.Logs {
		key := l.Vertex.String()
		if o.last[key] == nil {
			o.last[key] = &output{}
		}
		o.last[key].add(l.Stream, string(l.Data))
	}
}

// of gives the last lines of a step's output.
func (o *outputs) of(step string, lines int) string {
	if out := o.last[step]; out != nil {
		return out.tail(lines)
	}
	return ""
}
