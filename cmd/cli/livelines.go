package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"berth/cmd/ui"
	"berth/engine/api"
)

// liveLines prints what containers write, and that they have ended after their last line. Lines are followed in one stream for
// all; when a container ends, what the stream still owes of it is fetched and the stream's copy left out. A container's log is
// complete when its end is known.
type liveLines struct {
	engine  Engine
	project string
	since   time.Time
	printer *ui.LogPrinter
	// released is closed when lines may be shown.
	released chan struct{}

	mu      sync.Mutex
	seen    marks
	fetched map[string]time.Time // by id: up to here lines were fetched, and the stream is behind
}

func newLiveLines(e Engine, project string, since time.Time, p *ui.LogPrinter) *liveLines {
	return &liveLines{
		engine: e, project: project, since: since, printer: p, released: make(chan struct{}), seen: marks{}, fetched: map[string]time.Time{},
	}
}

// follow prints lines of services until ctx ends.
func (l *liveLines) follow(ctx context.Context, services []string) error {
	q := &api.LogsRequest{
		ProjectSelector: api.ProjectSelector{Name: l.project, Services: services},
		Follow:          true, Attach: true, Tail: -1, Since: l.since,
	}
	return l.engine.Logs(ctx, q, func(b api.LogBatch) error {
		if err := l.wait(ctx); err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		b.Data = l.unfetched(b.ID, b.Data)
		return l.print(b)
	})
}

func (l *liveLines) wait(ctx context.Context) error {
	select {
	case <-l.released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unfetched is the part of a batch of the stream that was not fetched before.
func (l *liveLines) unfetched(id string, data []byte) []byte {
	until, ok := l.fetched[id]
	for ok && len(data) > 0 {
		e, rest, err := api.NextLog(data)
		if err != nil {
			break // the printer reports it
		}
		if e.Time.After(until) {
			delete(l.fetched, id)
			break
		}
		data = rest
	}
	return data
}

func (l *liveLines) print(b api.LogBatch) error {
	if b.Data = l.seen.fresh(b.ID, b.Data); len(b.Data) == 0 {
		return nil
	}
	return l.printer.Batch(&b)
}

// ended prints what is left of a container that has ended, and that it has.
func (l *liveLines) ended(ctx context.Context, c *api.ContainerEvent) {
	if l.wait(ctx) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &api.LogsRequest{ProjectSelector: api.ProjectSelector{Name: l.project}, Containers: []string{c.ID}, Tail: -1, Since: l.since}
	if at := l.seen.again(c.ID); at.After(q.Since) {
		q.Since = at
	}
	// A container that is gone has no lines either; its end is told all the same.
	_ = l.engine.Logs(ctx, q, l.print)
	if at, ok := l.seen[c.ID]; ok {
		l.fetched[c.ID] = at.at
	}
	text := fmt.Sprintf("exited with code %d", c.ExitCode)
	if c.Restarting {
		text += " (restarting)"
	}
	l.printer.Status(c.Name, text)
}
