package cli

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"berth/cmd/ui"
	"berth/engine/api"
)

// onScreen is --trace without a file.
const onScreen = "-"

// stopwatch collects where the time of a command went, for --trace: what the command line did itself, and what the engine tells
// of its part. All methods may be called on nil, and do nothing then.
type stopwatch struct {
	began time.Time
	now   func() time.Time
	file  string // for the trace, onScreen for none

	mu    sync.Mutex
	own   []api.Span
	calls []api.Trace
	shown bool
}

// span notes what begins now and ends when the function is called that it gives.
func (w *stopwatch) span(name string) (end func()) {
	if w == nil {
		return func() {}
	}
	began := w.now()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.own = append(w.own, api.Span{Name: name, Began: began.Sub(w.began), Took: w.now().Sub(began)})
	}
}

// call notes that the engine is asked to do something. The function that it gives takes in an event of the answer, and says
// whether that was a trace.
func (w *stopwatch) call() (take func(api.Event) bool) {
	asked := w.now()
	return func(e api.Event) bool {
		if e.Kind != api.KindTrace || e.Trace == nil {
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.own = append(w.own, api.Span{Name: "ask the engine", Began: asked.Sub(w.began), Took: e.Trace.Began.Sub(asked)})
		w.calls = append(w.calls, *e.Trace)
		return true
	}
}

// show shows where the time went until now, once.
func (w *stopwatch) show(u *ui.UI) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shown {
		return nil
	}
	w.shown = true
	t := ui.Trace{Began: w.began, Took: w.now().Sub(w.began), Own: w.own, Calls: w.calls}
	if w.file == onScreen {
		return u.Trace(t)
	}
	return writeWhole("write the trace", w.file, func(f io.Writer) error { return ui.WriteTraceEvents(f, t) })
}

// startWatch begins to measure, if that was asked for. The calls of the context that it gives are answered with traces.
func (a *app) startWatch(ctx context.Context) (context.Context, error) {
	file := a.flags.trace
	switch {
	case file == "":
		return ctx, nil
	case a.flags.dryRun:
		return ctx, &ui.Problem{Text: "--trace can't be combined with --dry-run: nothing is run whose time could be measured", Way: "leave out one of them; berth plan shows the steps"}
	case file != onScreen:
		file = a.absolute(file)
	}
	a.watch = &stopwatch{began: a.began, now: a.ui.Now, file: file}
	a.watch.own = []api.Span{{Name: "read the command line", Took: a.watch.now().Sub(a.began)}}
	return api.AskTrace(ctx), nil
}

// tracing is an engine whose traces go to a stopwatch.
type tracing struct {
	Engine
	watch *stopwatch
}

func (t tracing) catch(f func(api.Event)) func(api.Event) {
	take := t.watch.call()
	return func(e api.Event) {
		if !take(e) {
			f(e)
		}
	}
}

func (t tracing) Up(ctx context.Context, q *api.UpRequest, f func(api.Event)) error {
	return t.Engine.Up(ctx, q, t.catch(f))
}

func (t tracing) Down(ctx context.Context, q *api.DownRequest, f func(api.Event)) error {
	return t.Engine.Down(ctx, q, t.catch(f))
}

func (t tracing) Signal(ctx context.Context, q *api.SignalRequest, f func(api.Event)) error {
	return t.Engine.Signal(ctx, q, t.catch(f))
}

func (t tracing) Pull(ctx context.Context, q *api.PullRequest, f func(api.Event)) error {
	return t.Engine.Pull(ctx, q, t.catch(f))
}

func (t tracing) Build(ctx context.Context, q *api.BuildRequest, f func(api.Event)) error {
	return t.Engine.Build(ctx, q, t.catch(f))
}

func (t tracing) Run(ctx context.Context, q *api.RunStart) (Stream, error) {
	take := t.watch.call()
	s, err := t.Engine.Run(ctx, q)
	if err != nil {
		return nil, err
	}
	return tracedStream{s, take}, nil
}

// tracedStream keeps traces from who reads the frames.
type tracedStream struct {
	Stream
	take func(api.Event) bool
}

func (s tracedStream) Recv() (api.Frame, error) {
	for {
		f, err := s.Stream.Recv()
		if err != nil || f.Event == nil || !s.take(*f.Event) {
			return f, err
		}
	}
}

// traced adds the error of showing a trace, if there is one, to that of the command.
func traced(err, shown error) error {
	if shown == nil {
		return err
	}
	return errors.Join(err, shown)
}
