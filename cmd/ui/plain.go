package ui

import (
	"fmt"
	"io"

	"berth/engine/api"
)

const dryRunPrefix = "DRY-RUN MODE - "

// plain writes a line for each change, " Container shop-web-1 Started", and of an image only the whole.
type plain struct {
	w         io.Writer
	options   ProgressOptions
	translate *translator
	said      map[string]string // by id
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
		if u.parent != "" || p.said[u.id] == u.text {
			continue
		}
		p.said[u.id] = u.text
		prefix := ""
		if p.options.DryRun {
			prefix = dryRunPrefix
		}
		line := prefix + " " + u.id + " " + u.text
		if u.details != "" {
			line += " " + u.details
		}
		fmt.Fprintln(p.w, line)
	}
	if e.Build != nil && !p.options.HideBuilds {
		p.builds.event(e)
	}
}

func (p *plain) Done(error) { p.builds.done(!p.options.HoldWarnings) }
