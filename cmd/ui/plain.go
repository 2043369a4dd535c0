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
}

func (p *plain) Event(e api.Event) {
	p.talk.say(e)
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
}

func (p *plain) Done(error) {}
