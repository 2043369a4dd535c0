package cli

import (
	"context"
	"errors"
	"os"
	"time"

	"berth/engine/api"
	"berth/engine/client"
)

// resuming is an engine whose streams go on when the engine behind them dies and comes back: shims start an engine that was
// lost unasked, and containers and their logs outlive it.
type resuming struct {
	Engine
	// back waits until the engine answers again; an error says that it won't.
	back func(ctx context.Context) error
}

// Logs goes on after the last line that came, losing none and showing none twice.
func (r resuming) Logs(ctx context.Context, q *api.LogsRequest, f func(api.LogBatch) error) error {
	if !q.Follow {
		return r.Engine.Logs(ctx, q, f)
	}
	seen := marks{}
	for {
		err := r.Engine.Logs(ctx, q, func(b api.LogBatch) error {
			b.Data = seen.fresh(b.ID, b.Data)
			if len(b.Data) == 0 {
				return nil
			}
			return f(b)
		})
		if !lost(ctx, err) || r.back(ctx) != nil {
			return err
		}
		q = seen.rest(q)
	}
}

// Events calls ready each time the subscription stands; what happened in between is for the caller to find out.
// The engine that was lost has taken with it what it remembered.
func (r resuming) Events(ctx context.Context, q *api.EventsRequest, ready func(), f func(api.Event) error) error {
	for {
		err := r.Engine.Events(ctx, q, ready, f)
		if !lost(ctx, err) || r.back(ctx) != nil {
			return err
		}
		rest := *q
		rest.Since = time.Time{} // what is remembered after all has come already
		q = &rest
	}
}

// lost says whether an error means that the engine is gone.
func lost(ctx context.Context, err error) bool {
	var failed *api.Error
	return ctx.Err() == nil && errors.As(err, &failed) && failed.Class == api.ClassUnavailable
}

// mark is how far the log of a container has come: the time of the last line, and how many lines of that very time came.
type mark struct {
	at    time.Time
	lines int
	// again: lines come a second time; skip is how many of the last time are still to be left out. A clock that was set
	// back is no reason to leave anything out otherwise.
	again bool
	skip  int
}

// marks are by container id.
type marks map[string]*mark

// fresh gives the part of a batch that has not come before.
func (m marks) fresh(id string, data []byte) []byte {
	k, ok := m[id]
	if !ok {
		k = &mark{}
		m[id] = k
	}
	from := 0
	for rest := data; len(rest) > 0; {
		e, next, err := api.NextLog(rest)
		if err != nil {
			break // whoever reads the batch reports it
		}
		if k.known(e.Time) {
			from = len(data) - len(next)
		}
		rest = next
	}
	return data[from:]
}

// known takes in a line and says whether it came before.
func (k *mark) known(at time.Time) bool {
	if k.again {
		if at.Before(k.at) {
			return true
		}
		if at.Equal(k.at) && k.skip > 0 {
			k.skip--
			return true
		}
		k.again = false
	}
	if at.Equal(k.at) {
		k.lines++
	} else {
		k.at, k.lines = at, 1
	}
	return false
}

// again prepares for lines of a container that come a second time, and gives the time from which to ask for them.
func (m marks) again(id string) time.Time {
	k, ok := m[id]
	if !ok {
		return time.Time{}
	}
	k.again, k.skip = true, k.lines
	return k.at
}

// rest is the request for what has not come yet.
func (m marks) rest(q *api.LogsRequest) *api.LogsRequest {
	next := *q
	if len(m) == 0 {
		return &next
	}
	var since time.Time
	for id := range m {
		if at := m.again(id); since.IsZero() || at.Before(since) {
			since = at
		}
	}
	if since.After(next.Since) {
		next.Since = since
	}
	next.Tail = -1
	return &next
}

const (
	// patience is how long an engine may take to come back; a shim waits a while before it tries again.
	patience  = 45 * time.Second
	lookEvery = 100 * time.Millisecond
)

// engineBack waits for an engine that was lost. One that was asked to stop stays away.
func engineBack(p Paths) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			if _, err := os.Stat(client.StoppedFile(p.State)); err == nil {
				return client.ErrNotRunning
			}
			c, err := client.Connect(ctx, client.Config{Root: p.Root, State: p.State, Config: p.Config, NoStart: true})
			if err == nil {
				_, err = c.Version(ctx)
				_ = c.Close()
			}
			if err == nil {
				return nil
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
