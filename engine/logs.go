package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/container"
	"berth/engine/event"
	"berth/engine/logs"
)

// Logs hands over the logs of a project's containers in the order of time. With Follow it goes on until the caller ends it or
// every container has ended; with Attach it takes in containers that start later.
func (e *Engine) Logs(ctx context.Context, req *api.LogsRequest, send func(*api.LogBatch) error) error {
	ctx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	if req.Attach {
		return e.attachLogs(ctx, req, send)
	}
	list, err := e.logSources(req)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	var sources []logs.Source
	for _, c := range list {
		sources = append(sources, logs.Source{Dir: e.containers.LogDir(c.ID), Done: e.logDone(ctx, c)})
	}
	q := logs.Query{Tail: req.Tail, Since: req.Since, Until: req.Until, Follow: req.Follow}
	return e.logReader.Merge(ctx, sources, q, func(i int, batch []byte) error { return send(logBatch(list[i], batch)) })
}

func logBatch(c *container.Container, data []byte) *api.LogBatch {
	return &api.LogBatch{Container: c.Name, ID: c.ID, Service: c.Slot.Service, Number: c.Slot.Number, Data: data}
}

func (e *Engine) logSources(req *api.LogsRequest) ([]*container.Container, error) {
	var list []*container.Container
	var err error
	if len(req.Containers) > 0 {
		for _, id := range req.Containers {
			c, err := e.containers.Find(id)
			if err != nil {
				return nil, err
			}
			list = append(list, c)
		}
		return list, nil
	}
	if list, err = e.chosen(req.ProjectSelector); err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(c *container.Container) bool { return req.Index > 0 && c.Slot.Number != req.Index })
	slices.SortFunc(list, func(a, b *container.Container) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// logDone gives a channel that is closed when a container has ended for good: exited, and no policy starts it again.
func (e *Engine) logDone(ctx context.Context, c *container.Container) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		sub := e.events.Subscribe(ctx, event.Filter{IDs: []string{c.ID}})
		for {
			if over(c) {
				return
			}
			if _, err := sub.Next(ctx); err != nil && !event.Lost(err) {
				return
			}
		}
	}()
	return done
}

// attachLogs follows what the selected containers write from now on.
func (e *Engine) attachLogs(ctx context.Context, req *api.LogsRequest, send func(*api.LogBatch) error) error {
	name, err := selectorName(req.ProjectSelector)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	keep := selectContainers(name, req.ProjectSelector)
	var mu sync.Mutex
	followed := map[string]bool{}
	var wg sync.WaitGroup
	defer wg.Wait()
	follow := func(c *container.Container, q logs.Query) {
		mu.Lock()
		seen := followed[c.ID]
		followed[c.ID] = true
		mu.Unlock()
		if seen {
			return
		}
		wg.Go(func() {
			err := e.logReader.Read(ctx, e.containers.LogDir(c.ID), q, e.removed(ctx, c), func(batch []byte) error {
				mu.Lock()
				defer mu.Unlock()
				return send(logBatch(c, batch))
			})
			if err != nil && ctx.Err() == nil && !errdefs.IsNotFound(err) {
				cancel(err)
			}
		})
	}
	sub := e.events.Subscribe(ctx, event.Filter{Project: name, Match: func(ev event.Event) bool {
		return ev.Action == event.Create || ev.Action == event.Start
	}})
	// What was written before the caller came is not asked for; the caller may say when that was, since a container
	// can have been made while the request was on its way.
	now := logs.Query{Follow: true, FromEnd: true}
	if !req.Since.IsZero() {
		now = logs.Query{Follow: true, Tail: -1, Since: req.Since}
	}
	for _, c := range e.containers.List(keep) {
		follow(c, now)
	}
	for {
		ev, err := sub.Next(ctx)
		if event.Lost(err) {
			continue
		}
		if err != nil {
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		}
		if c, err := e.containers.Get(ev.ID); err == nil && keep(c) {
			follow(c, logs.Query{Follow: true, Tail: -1})
		}
	}
}

// removed gives a channel that is closed when a container is gone.
func (e *Engine) removed(ctx context.Context, c *container.Container) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		sub := e.events.Subscribe(ctx, event.Filter{IDs: []string{c.ID}})
		for !c.Removed() {
			if _, err := sub.Next(ctx); err != nil && !event.Lost(err) {
				return
			}
		}
	}()
	return done
}
