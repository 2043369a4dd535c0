package ui

import (
	"fmt"
	"io"
	"time"

	"berth/engine/api"
)

const dryRunPrefix = "DRY-RUN MODE - "

// plain writes a line for each change, " Container shop-web-1 Started", and of a layer that takes long one every few seconds.
type plain struct {
	w         io.Writer
	options   ProgressOptions
	translate *translator
	said      map[string]told // by id, of layers with the parent's before it
	talk      talker
	builds    *buildTeller
}

func (p *plain) Event(e api.Event) {
	p.builds.mu.Lock()
	defer p.builds.mu.Unlock()
	p.talk.say(e)
	if e.Build == nil {
		p.builds.event(e)
	}
	for _, u := range p.translate.translate(e) {
		if !p.news(u) {
			continue
		}
		prefix := ""
		if p.options.DryRun {
			prefix = dryRunPrefix
		}
		line := prefix + " " + u.id + " " + u.text
		if u.details != "" {
			line += " " + u.details
		}
		if u.parent != "" && u.state == working && u.total > 0 {
			line += fmt.Sprintf(" %s / %s", HumanSize(u.current), HumanSize(u.total))
		}
		fmt.Fprintln(p.w, line)
	}
	if e.Build != nil && !p.options.HideBuilds {
		p.builds.event(e)
	}
}

// told is what was last written of a thing.
type told struct {
	text string
	at   time.Time
}

// layerInterval is how often a layer on its way is told of.
const layerInterval = 5 * time.Second

// news says whether an update is worth a line, and notes it.
func (p *plain) news(u update) bool {
	key := u.id
	if u.parent != "" {
		key = u.parent + " " + u.id
		if p.options.HideLayers || u.state == working && (u.total == 0 || u.text == downloaded) {
			return false
		}
	}
	last, again := p.said[key]
	if again && last.text == u.text && (u.parent == "" || u.at.Sub(last.at) < layerInterval) {
		return false
	}
	p.said[key] = told{u.text, u.at}
	return true
}

func (p *plain) Done(err error) { p.builds.done(err, !p.options.HoldWarnings) }
