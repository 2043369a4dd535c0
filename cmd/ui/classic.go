package ui

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/fatih/color"

	"berth/engine/api"
)

// classic writes progress as docker-compose 1.29 does: "Creating shop_web_1 ... done". On a terminal the line of a
// thing is rewritten in place; elsewhere each state has a line, ended by CR LF.
type classic struct {
	w       io.Writer
	tty     bool
	paint   palette
	options ProgressOptions
	talk    talker

	lines    []string          // keys of the lines on the screen, top first
	words    map[string]string // by key: "Creating"
	names    map[string]string // by key: what is shown
	finished map[string]bool
	width    int
	replaced map[string]bool
	created  map[string]bool // containers made here, whose start is part of "Creating"
	failures []string
	builds   *buildTeller
	building map[string]bool // by service: whether its build is under way
}

func newClassic(w io.Writer, tty, inColor bool, o ProgressOptions, talk talker, builds *buildTeller) *classic {
	c := &classic{
		builds: builds, building: map[string]bool{},
		w: w, tty: tty, paint: newPalette(inColor), options: o, talk: talk, words: map[string]string{},
		names: map[string]string{}, finished: map[string]bool{}, replaced: map[string]bool{}, created: map[string]bool{},
	}
	builds.text.w, builds.w = lineCounter{c}, lineCounter{c}
	return c
}

// lineCounter writes what has lines of its own, each of which is one of the screen.
type lineCounter struct{ c *classic }

func (l lineCounter) Write(b []byte) (int, error) {
	l.c.lines = append(l.c.lines, make([]string, bytes.Count(b, []byte("\n")))...)
	return l.c.w.Write(b)
}

func (c *classic) Event(e api.Event) {
	c.builds.mu.Lock()
	defer c.builds.mu.Unlock()
	if _, text := spoken(e); text != "" {
		c.talk.say(e)
		c.lines = append(c.lines, "")
	}
	switch {
	case e.Verdict != nil:
		c.verdict(e.Verdict)
	case e.Step != nil:
		c.step(e.Step)
	case e.Pull != nil && e.Pull.Layer == "":
		c.pull(e.Pull)
	case e.Build != nil:
		c.build(e)
	case e.Built != nil:
		c.built(e)
	}
}

// build is what the builder writes below the name of the service.
func (c *classic) build(e api.Event) {
	c.announce(e.Build.Service)
	if !c.options.HideBuilds {
		c.builds.event(e)
	}
}

func (c *classic) announce(service string) {
	if _, said := c.building[service]; !said {
		c.building[service] = true
		word := building
		if c.options.Operation == "check" {
			word = checking
		}
		c.say(word + " " + service)
	}
}

func (c *classic) built(e api.Event) {
	b := e.Built
	c.announce(b.Service)
	c.builds.event(e)
	c.building[b.Service] = false
	if !c.options.HideBuilds && c.options.Operation != "check" {
		if b.ImageID != "" {
			c.say("Successfully built " + shortLayer(b.ImageID))
		}
		tagged := b.Ref
		if strings.LastIndexByte(tagged, ':') <= strings.LastIndexByte(tagged, '/') {
			tagged += ":latest"
		}
		c.say("Successfully tagged " + tagged)
	}
	if c.options.BuildHow != "" {
		c.builds.ui.Warn(fmt.Sprintf("image for service %s was built because it did not already exist; to build it anew use %s", b.Service, c.options.BuildHow))
		c.lines = append(c.lines, "")
	}
}

func (c *classic) verdict(v *api.Verdict) {
	name, ok := strings.CutPrefix(v.Object, "container ")
	switch {
	case !ok:
	case v.Outcome == "keep" && c.options.Operation == "up":
		c.say(name + " is up-to-date")
	case v.Outcome == "replace":
		c.replaced[name] = true
	}
}

func (c *classic) pull(p *api.PullEvent) {
	switch p.Status {
	case "done", "exists":
		c.close("pull "+p.Ref, true)
	case "error":
		c.close("pull "+p.Ref, false)
	default:
		word := "Pulling"
		if c.options.Operation == "push" || c.options.Operation == "build" {
			word = "Pushing"
		}
		c.open("pull "+p.Ref, word, p.Ref)
	}
}

func (c *classic) step(s *api.StepEvent) {
	kind, name, _ := strings.Cut(s.Object, " ")
	switch kind {
	case "container":
		c.container(s, name)
	case "image":
		if s.Verb == "build" {
			if s.Status == "error" {
				c.builds.event(api.Event{Step: s})
				c.failures = append(c.failures, fmt.Sprintf("ERROR: Service '%s' failed to build : Build failed", s.Service))
			}
			return
		}
		if s.Verb == "remove" {
			c.say("Removing image " + name)
			return
		}
		c.pull(&api.PullEvent{Ref: name, Status: s.Status})
		if s.Status == "error" {
			c.failure(name, s)
		}
	case "network", "volume":
		c.resource(s, kind, name)
	case "service":
		if s.Status == "error" {
			c.failure(s.Service, s)
		}
	}
}

// resource is a network or volume; those have one line, written when the work begins.
func (c *classic) resource(s *api.StepEvent, kind, name string) {
	switch {
	case s.Status == "error":
		c.failure(name, s)
	case s.Status != "working":
	case s.Verb == "remove":
		c.say(fmt.Sprintf("Removing %s %s", kind, name))
	case kind == "network":
		c.say(fmt.Sprintf("Creating network %q with the default driver", name))
	default:
		c.say(fmt.Sprintf("Creating volume %q with default driver", name))
	}
}

func (c *classic) container(s *api.StepEvent, name string) {
	key, word := c.place(s, name)
	if s.Status == "skipped" {
		return
	}
	shown := name
	if c.options.Operation == "start" && s.Service != "" {
		shown = s.Service
	}
	c.open(key, word, shown)
	switch s.Status {
	case "error":
		c.close(key, false)
		c.failure(shown, s)
	case "done":
		if c.completes(s, name) {
			c.close(key, true)
		}
	}
}

// place gives the line that a step belongs to. Making and starting a container is one line, and so is its replacement.
func (c *classic) place(s *api.StepEvent, name string) (key, word string) {
	switch {
	case c.options.Operation == "restart":
		return "restart " + name, "Restarting"
	case c.replaced[name]:
		return "create " + name, "Recreating"
	case s.Verb == "create":
		c.created[name] = true
		return "create " + name, "Creating"
	case s.Verb == "start" && c.created[name]:
		return "create " + name, "Creating"
	}
	return s.Verb + " " + name, wordsOf(s.Verb)[0]
}

// completes says whether a step is the last of its line.
func (c *classic) completes(s *api.StepEvent, name string) bool {
	switch {
	case c.options.Operation == "restart":
		return s.Verb == "start"
	case c.replaced[name]:
		return s.Verb == "start" || s.Verb == "create" && c.options.NoStart
	case s.Verb == "create":
		return c.options.NoStart
	}
	return true
}

func (c *classic) failure(name string, s *api.StepEvent) {
	if s.Error != nil {
		c.failures = append(c.failures, fmt.Sprintf("ERROR: for %s  %s", name, s.Error.Message))
	}
}

// say writes a line that stays as it is. It counts as a line of the screen for the ones above it.
func (c *classic) say(text string) {
	fmt.Fprintf(c.w, "%s\n", text)
	c.lines = append(c.lines, "")
}

func (c *classic) open(key, word, name string) {
	if _, ok := c.words[key]; ok {
		return
	}
	c.words[key], c.names[key] = word, name
	c.width = max(c.width, len(name))
	c.lines = append(c.lines, key)
	fmt.Fprintf(c.w, "%s %-*s ... \r\n", word, c.width, name)
}

func (c *classic) close(key string, ok bool) {
	word, known := c.words[key]
	if !known || c.finished[key] {
		return
	}
	c.finished[key] = true
	end := c.paint.success("done")
	if !ok {
		end = painter(c.paint.colored, color.FgRed)("error")
	}
	text := fmt.Sprintf("%s %-*s ... %s", word, c.width, c.names[key], end)
	if !c.tty {
		fmt.Fprint(c.w, text+"\r\n")
		return
	}
	up := 0
	for i, k := range c.lines {
		if k == key {
			up = len(c.lines) - i
		}
	}
	fmt.Fprintf(c.w, "\x1b[%dA\x1b[2K\r%s\r\x1b[%dB", up, text, up)
}

// Done closes what is still open: a container that was made and not to be started, and on failure nothing.
func (c *classic) Done(err error) {
	c.builds.done(err, !c.options.HoldWarnings)
	if err == nil {
		for _, key := range c.lines {
			if key != "" {
				c.close(key, true)
			}
		}
	}
	for _, f := range c.failures {
		fmt.Fprintf(c.w, "\n%s\n", f)
	}
}
