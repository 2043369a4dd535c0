package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/cmd/ui"
	"berth/engine/api"
)

// exitGrace is how long ends of containers are waited for when all were stopped.
const exitGrace = time.Second

// session is an attached up: it brings services up, shows what they write, and ends when they have ended or the user
// wants it to. One goroutine, loop, owns its state; calls to the engine run in others and report through channels.
//
// The subscription to events stands and logs are asked for before the engine is told to begin, so that no line and no exit
// is missed.
type session struct {
	o       *upOptions
	request *api.UpRequest
	watched []string
	engine  Engine
	ui      *ui.UI
	logs    *ui.LogPrinter
	lines   *liveLines

	events   chan *api.ContainerEvent
	told     chan struct{} // the end of a container is on the screen
	stopDone chan error
	broken   chan error    // a stream of the engine that ended before its time
	resumed  chan struct{} // the engine was lost and is back: events may have been missed

	attached  bool
	starting  bool            // the first start has begun
	unmade    map[string]bool // containers that are still to be made, by object
	up        bool            // the verb has succeeded
	began     time.Time       // from when on each event comes
	running   map[string]bool // by id: what the session lives for
	ended     map[string]bool // by id: what was told to have ended and has not started since
	telling   int             // ends of containers that are not on the screen yet
	lastTold  chan struct{}   // closed when the latest of them is
	stopping  bool
	killed    bool
	interrupt bool
	exitCode  int
	exitKnown bool                // exitCode is that of --exit-code-from
	first     *api.ContainerEvent // the end that made an end of all, or will when all is up
	upCtx     context.Context
	cancelUp  context.CancelFunc
	cancelEnd context.CancelFunc // of the stop or kill that is under way
	stopEnded bool
	stopErr   error
}

func newSession(o *upOptions, q *api.UpRequest, watched []string, e Engine, u *ui.UI) *session {
	p := o.target.project
	longest := 0
	for name := range p.Services {
		longest = max(longest, len(name))
	}
	s := &session{
		o: o, request: q, watched: watched, engine: e, ui: u,
		logs: u.Logs(ui.LogOptions{
			Classic: p.Legacy, NoColor: o.noColor, NoPrefix: o.noPrefix, Timestamps: o.timestamps, Project: p.Name,
			Separator: p.Separator, LongestService: longest, SplitErr: !p.Legacy,
		}),
		events: make(chan *api.ContainerEvent, 64), told: make(chan struct{}, 64), stopDone: make(chan error, 1),
		broken: make(chan error, 2), resumed: make(chan struct{}, 1), running: map[string]bool{},
		unmade: map[string]bool{}, ended: map[string]bool{},
	}
	s.lines = newLiveLines(e, p.Name, u.Now(), s.logs)
	return s
}

func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	s.began = s.ui.Now()
	s.follow(ctx)
	err := approving(ctx, s.ui, s.o.yes,
		func(a answers, report func(api.Event)) error {
			s.request.Approved, s.request.Declined = a.approved, a.declined
			return s.engine.Up(s.upCtx, s.request, report)
		},
		func(verb func(func(api.Event)) error) error { return s.start(ctx, verb) })
	if err == nil || s.stopping {
		err = s.stay(ctx, err)
	}
	return errors.Join(err, s.logs.Close())
}

// subscribe asks for the containers' events and returns when the subscription stands.
func (s *session) subscribe(ctx context.Context) error {
	ready, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		first := true
		stands := func() {
			if first {
				first = false
				close(ready)
				return
			}
			select {
			case s.resumed <- struct{}{}:
			default: // one is waiting already
			}
		}
		err := s.engine.Events(ctx, &api.EventsRequest{ProjectSelector: api.ProjectSelector{Name: s.o.target.name}}, stands, func(e api.Event) error {
			if e.Container == nil {
				return nil
			}
			return send(ctx, s.events, e.Container)
		})
		failed <- err
		s.breaks(ctx, err)
	}()
	select {
	case <-ready:
		return nil
	case err := <-failed:
		return err
	case <-s.o.signals:
		return context.Canceled
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow shows all that the containers write from now on.
func (s *session) follow(ctx context.Context) {
	if len(s.watched) == 0 {
		return
	}
	go func() { s.breaks(ctx, s.lines.follow(ctx, s.watched)) }()
}

func send[T any](ctx context.Context, c chan<- T, v T) error {
	select {
	case c <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) breaks(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		s.broken <- err
	}
}

// start runs the verb with its progress until it is done. On the way the display goes over to lines of containers.
func (s *session) start(ctx context.Context, verb func(func(api.Event)) error) error {
	options := s.o.target.progress("up")
	options.HideLayers = s.o.quietPull
	s.o.building.show(&options, s.o.program)
	progress := s.ui.Progress(options)
	shown := true
	finish := func(err error) {
		if shown {
			progress.Done(err)
			shown = false
		}
	}
	// Each attempt has its own channels: one that asked a question is over when the next begins.
	upEvents, upDone := make(chan api.Event, 64), make(chan error, 1)
	s.upCtx, s.cancelUp = context.WithCancel(ctx)
	defer s.cancelUp()
	go func() {
		err := verb(func(e api.Event) { upEvents <- e })
		close(upEvents)
		upDone <- err
	}()
	for {
		select {
		case e, ok := <-upEvents:
			if !ok {
				err := <-upDone
				finish(err)
				err = traced(err, s.o.watch.show(s.ui)) // not at the end of the session, which is of another length
				if err == nil && !s.stopping {
					s.attach()
				}
				return err
			}
			if !shown {
				s.aside(e)
				continue
			}
			s.note(e)
			redraws := s.ui.Mode() == ui.ModeTTY && !options.Classic
			if !redraws || !runs(e) {
				progress.Event(e)
			}
			// Lines of containers and a display that redraws don't go together: it ends when all is made. Classic
			// output shows all of the verb first, as 1.29 did.
			if !s.starting || options.Classic {
				continue
			}
			switch {
			case !redraws:
				s.attach()
			case len(s.unmade) == 0:
				finish(nil)
				s.attach()
			}
		case sig := <-s.o.signals:
			if sig == nil {
				continue
			}
			if !s.stopping {
				s.interrupted()
				s.cancelUp()
			}
		case c := <-s.events:
			if s.container(ctx, c); s.stopping {
				s.cancelUp()
			}
		case <-s.told:
			s.telling--
		}
	}
}

// note takes in how far the verb is: what is still to be made, and whether something starts.
func (s *session) note(e api.Event) {
	switch {
	case e.Verdict != nil && (e.Verdict.Outcome == "create" || e.Verdict.Outcome == "replace") && strings.HasPrefix(e.Verdict.Object, "container "):
		s.unmade[e.Verdict.Object] = true
	case e.Step != nil && e.Step.Verb == "create" && e.Step.Status != "working":
		delete(s.unmade, e.Step.Object)
	case e.Step != nil && e.Step.Verb == "start":
		s.starting = true
	}
}

// runs says whether an event is about starts and what they wait for, as they should go.
func runs(e api.Event) bool {
	return e.Step != nil && e.Step.Status != "error" && (e.Step.Verb == "start" || e.Step.Verb == "wait")
}

// aside shows what of the verb matters while lines of containers are on the screen.
func (s *session) aside(e api.Event) {
	switch {
	case e.Kind == "warning":
		s.ui.Warn(e.Text)
	case e.Kind == "notice":
		s.ui.Note(e.Text)
	case e.Step != nil && e.Step.Status == "error" && e.Step.Error != nil:
		s.logs.Say(" " + strings.ToUpper(e.Step.Object[:1]) + e.Step.Object[1:] + " Error " + e.Step.Error.Message)
	}
}

// attach announces what is shown from here on.
func (s *session) attach() {
	if s.attached {
		return
	}
	s.attached = true
	var names []string
	for _, svc := range s.watched {
		names = append(names, s.o.target.containersOf(svc)...)
	}
	slices.Sort(names)
	s.logs.Register(names...)
	if !s.o.target.classic() {
		options := ui.LogOptions{Project: s.o.target.name, Separator: s.o.target.project.Separator}
		for i, n := range names {
			names[i] = options.ShortName(n)
		}
	}
	if len(names) > 0 {
		s.logs.Say("Attaching to " + strings.Join(names, ", "))
	}
	close(s.lines.released)
}

// stay is with the containers until the session is over.
func (s *session) stay(ctx context.Context, upErr error) error {
	if !s.attached {
		s.attach()
	}
	if err := s.takeStock(ctx); err != nil {
		return err
	}
	s.up = !s.stopping
	if s.up && s.first != nil {
		s.abort(s.first)
	}
	if s.stopping {
		s.stop(ctx)
	}
	for !s.over() {
		select {
		case c := <-s.events:
			s.container(ctx, c)
			if s.stopping && s.cancelEnd == nil {
				s.stop(ctx)
			}
		case <-s.told:
			s.telling--
		case err := <-s.stopDone:
			s.stopped(ctx, err)
		case sig := <-s.o.signals:
			if sig != nil {
				s.signalled(ctx)
			}
		case <-s.resumed:
			if err := s.catchUp(ctx); err != nil {
				return err
			}
		case err := <-s.broken:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.flush(ctx)
	return s.result(upErr)
}

// takeStock finds out what is running, since what was up to date has no event. What has ended since the session began, and was not
// told of, counts as well: its event is on the way, and with it the exit code.
func (s *session) takeStock(ctx context.Context) error {
	r, err := s.engine.Containers(ctx, &api.ContainersRequest{ProjectSelector: s.o.target.byName(nil), All: true})
	if err != nil {
		return err
	}
	s.running = map[string]bool{}
	for _, c := range r.Containers {
		if !s.lives(c.Service) || c.Oneoff {
			continue
		}
		switch c.State {
		case "running", "restarting", "paused":
			s.running[c.ID] = true
		case "exited", "dead":
			if !s.ended[c.ID] && c.Finished.After(s.began) {
				s.running[c.ID] = true
			}
		}
	}
	return nil
}

// catchUp finds out which containers ended while nobody told.
func (s *session) catchUp(ctx context.Context) error {
	r, err := s.engine.Containers(ctx, &api.ContainersRequest{ProjectSelector: s.o.target.byName(nil), All: true})
	if err != nil {
		return err
	}
	for _, c := range r.Containers {
		if s.running[c.ID] && (c.State == "exited" || c.State == "dead") {
			s.container(ctx, &api.ContainerEvent{Action: "die", ID: c.ID, Name: c.Name, Service: c.Service, Number: c.Number, ExitCode: c.ExitCode})
		}
	}
	if s.stopping && s.cancelEnd == nil {
		s.stop(ctx)
	}
	return nil
}

// lives says whether the session lasts as long as this service does: those that were named, else those shown, else all.
func (s *session) lives(service string) bool {
	if len(s.o.services) > 0 {
		return slices.Contains(s.o.services, service)
	}
	return len(s.watched) == 0 || slices.Contains(s.watched, service)
}

func (s *session) over() bool {
	if s.stopping {
		return s.stopEnded
	}
	return s.up && len(s.running) == 0 && s.telling == 0
}

// container takes in what happened to a container.
func (s *session) container(ctx context.Context, c *api.ContainerEvent) {
	switch c.Action {
	case "start":
		if s.lives(c.Service) {
			s.running[c.ID] = true
		}
		delete(s.ended, c.ID)
	case "die":
		if !c.Restarting {
			delete(s.running, c.ID)
			s.ended[c.ID] = true
		}
		if slices.Contains(s.watched, c.Service) {
			s.announce(ctx, c)
		}
		s.judge(c)
	case "destroy":
		delete(s.running, c.ID)
	}
}

// judge decides whether the end of a container is the end of all.
func (s *session) judge(c *api.ContainerEvent) {
	if !s.lives(c.Service) && c.Service != s.o.exitCodeFrom {
		return
	}
	if s.o.exitCodeFrom != "" && c.Service == s.o.exitCodeFrom && !s.exitKnown {
		s.exitCode, s.exitKnown = c.ExitCode, true
	}
	switch {
	case s.stopping || !s.o.abortOnExit && !(s.o.abortOnFailure && c.ExitCode != 0):
	case c.ExitCode == 0 && s.awaited(c.Service):
		// It was to end: another service starts after that.
	case c.ExitCode == 0 && !s.up:
		// What is fast must not keep others from starting: tests that did not run have not passed.
		s.first = c
	default:
		s.abort(c)
	}
}

// awaited says whether a service depends on this one's success.
func (s *session) awaited(service string) bool {
	for _, svc := range s.o.target.project.Services {
		if d, ok := svc.DependsOn[service]; ok && d.Condition == types.ServiceConditionCompletedSuccessfully {
			return true
		}
	}
	return false
}

// abort begins the end of all, because of the end of one.
func (s *session) abort(c *api.ContainerEvent) {
	if !s.exitKnown {
		s.exitCode = c.ExitCode
	}
	s.first, s.stopping = c, true
	s.tell("Aborting on container exit...")
}

// announce shows that a container has ended, after its last lines. Ends are shown in their order.
func (s *session) announce(ctx context.Context, c *api.ContainerEvent) {
	s.telling++
	before, done := s.lastTold, make(chan struct{})
	s.lastTold = done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		s.lines.ended(ctx, c)
		_ = send(ctx, s.told, struct{}{})
	}()
}

// tell says something about the session itself.
func (s *session) tell(text string) {
	if s.o.target.classic() {
		s.logs.Say(text)
		return
	}
	fmt.Fprintln(s.ui.Err(), text)
}

func (s *session) interrupted() {
	s.stopping, s.interrupt = true, true
	s.tell("Gracefully stopping... (press Ctrl+C again to force)")
}

func (s *session) signalled(ctx context.Context) {
	switch {
	case !s.stopping:
		s.interrupted()
		s.stop(ctx)
	case s.cancelEnd != nil && !s.killed:
		// The engine does one verb at a time on a project: the stop has to go first.
		s.killed, s.interrupt = true, true
		s.cancelEnd()
	}
}

// stop asks the engine to stop the services that were brought up.
func (s *session) stop(ctx context.Context) { s.finish(ctx, "stop", s.o.timeout.value) }

func (s *session) finish(ctx context.Context, verb string, timeout *time.Duration) {
	ctx, s.cancelEnd = context.WithCancel(ctx)
	plain := s.ui
	if plain.Mode() == ui.ModeTTY {
		// What containers write while they stop is between these lines.
		plain = plain.With(func(c *ui.Config) { c.Progress = ui.ModePlain })
	}
	q := &api.SignalRequest{ProjectSelector: s.o.target.byName(s.o.services), Verb: verb, Timeout: timeout, Parallel: s.o.parallel}
	go func() {
		s.stopDone <- show(plain, s.o.target.progress(verb), false, func(report func(api.Event)) error {
			return s.engine.Signal(ctx, q, func(e api.Event) {
				// That it waits for the verb before is this session's own doing.
				if e.Kind != api.KindNotice {
					report(e)
				}
			})
		})
	}()
}

func (s *session) stopped(ctx context.Context, err error) {
	if s.killed && ctx.Err() == nil && errors.Is(err, context.Canceled) {
		s.finish(ctx, "kill", nil)
		return
	}
	s.cancelEnd()
	s.stopEnded, s.stopErr = true, err
}

// flush gives the ends of stopped containers time to come: their events travel apart from the answer to the stop.
func (s *session) flush(ctx context.Context) {
	timer := time.NewTimer(exitGrace)
	defer timer.Stop()
	for s.telling > 0 || s.stopping && len(s.running) > 0 {
		select {
		case c := <-s.events:
			s.container(ctx, c)
		case <-s.told:
			s.telling--
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) result(upErr error) error {
	// A verb that the session itself broke off has nothing to say.
	if upErr != nil && !s.interrupt && ui.ExitCode(upErr) != ui.Interrupted {
		return upErr
	}
	if s.stopErr != nil && !errors.Is(s.stopErr, context.Canceled) {
		return s.stopErr
	}
	if s.interrupt {
		if s.o.target.classic() {
			return nil
		}
		return &ui.Exit{Code: ui.Interrupted}
	}
	if s.exitCode != 0 {
		return &ui.Exit{Code: s.exitCode}
	}
	if s.o.exitCodeFrom == "" || s.exitKnown {
		return nil
	}
	if s.o.target.classic() {
		return &ui.Exit{Code: 2}
	}
	if s.first != nil {
		return &ui.Problem{Text: "up: service " + quote(s.o.exitCodeFrom) + " has no exit code, as it did not run: " + s.first.Name + " ended first"}
	}
	return nil
}
