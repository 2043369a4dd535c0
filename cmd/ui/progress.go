package ui

import (
	"fmt"
	"strings"

	"berth/engine/api"
)

// Progress shows what a verb does. Event and Done are called by one goroutine at a time.
type Progress interface {
	Event(api.Event)
	// Done shows the last state and ends the display; err is how the verb ended.
	Done(err error)
}

// ProgressOptions say what is shown.
type ProgressOptions struct {
	// Operation is the verb: "up", "down", "stop" ...; "check" is build --check.
	Operation string
	// Classic is the look of docker-compose 1.29.
	Classic bool
	DryRun  bool
	// NoStart: containers are only made.
	NoStart bool
	// HideLayers leaves out what happens inside an image (--quiet-pull).
	HideLayers bool
	// HideBuilds leaves out what happens inside a build (--quiet-build).
	HideBuilds bool
	// HoldWarnings leaves warnings of Dockerfiles to the caller.
	HoldWarnings bool
	// BuildHow is the command that builds images anew. A classic display names it where images are built as they are not
	// there; "" where the user asked for builds.
	BuildHow string
	// ContainersOf names the containers of a service that the file asks for.
	ContainersOf func(service string) []string
}

// bringsUp says whether what such a verb leaves as it is runs.
func (o ProgressOptions) bringsUp() bool {
	switch o.Operation {
	case "up", "run", "start":
		return !o.NoStart
	}
	return false
}

// Progress gives a display for one verb.
func (u *UI) Progress(o ProgressOptions) Progress {
	w := u.status()
	mode := u.Mode()
	talk := talker{ui: u}
	switch {
	case mode == ModeQuiet:
		return &quiet{talk: talk}
	case mode == ModeJSON:
		return newJSONProgress(w, o)
	case o.Classic:
		return newClassic(w, mode == ModeTTY && u.statusTTY(), u.colored(u.statusTTY()), o, talk, u.teller(w))
	case mode == ModeTTY:
		cols := u.cfg.Size
		tick, stop := u.cfg.Tick()
		return startTTY(w, u.colored(true), o, cols, u.cfg.Now, tick, stop)
	}
	return &plain{w: w, options: o, translate: newTranslator(o), said: map[string]told{}, talk: talk, builds: u.teller(w)}
}

// talker says what isn't about a single thing: notices, warnings, orphans.
type talker struct{ ui *UI }

func (t talker) say(e api.Event) {
	if kind, text := spoken(e); text != "" {
		t.ui.remark(kind, text)
	}
}

// spoken gives the words of an event that is for reading.
func spoken(e api.Event) (kind, text string) {
	switch e.Kind {
	case "notice":
		return "note", e.Text
	case "warning":
		return "warning", e.Text
	case "orphans":
		if len(e.Names) > 0 {
			return "warning", fmt.Sprintf("containers of services that are not in the file, or left by run (orphans): %s; --remove-orphans removes them", strings.Join(e.Names, ", "))
		}
	}
	return "", ""
}

type quiet struct{ talk talker }

func (q *quiet) Event(e api.Event) {
	if e.Kind == "warning" {
		q.talk.say(e)
	}
}
func (q *quiet) Done(error) {}
