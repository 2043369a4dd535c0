package ui

import (
	"encoding/json"
	"io"

	"berth/engine/api"
)

// jsonProgress writes an object a line, with the keys of docker compose.
type jsonProgress struct {
	w         io.Writer
	options   ProgressOptions
	translate *translator
}

type jsonLine struct {
	DryRun   bool   `json:"dry-run,omitempty"`
	Tail     bool   `json:"tail,omitempty"`
	ID       string `json:"id,omitempty"`
	ParentID string `json:"parent_id,omitempty"`
	Status   string `json:"status,omitempty"`
	Text     string `json:"text,omitempty"`
	Details  string `json:"details,omitempty"`
	Current  int64  `json:"current,omitempty"`
	Total    int64  `json:"total,omitempty"`
	Percent  int    `json:"percent,omitempty"`
}

// writeLine writes an object and keeps <, > and & readable.
func writeLine(w io.Writer, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

func newJSONProgress(w io.Writer, o ProgressOptions) *jsonProgress {
	return &jsonProgress{w: w, options: o, translate: newTranslator(o)}
}

func (p *jsonProgress) Event(e api.Event) {
	if kind, text := spoken(e); text != "" {
		status := "Working"
		if kind == "warning" {
			status = "Warning"
		}
		p.write(jsonLine{Status: status, Text: text})
	}
	if e.Build != nil && !p.options.HideBuilds {
		writeLine(p.w, statusOf(e.Build, e.Time))
	}
	for _, u := range p.translate.translate(e) {
		l := jsonLine{ID: u.id, ParentID: u.parent, Text: u.text, Details: u.details, Current: u.current, Total: u.total}
		l.Status = [...]string{working: "Working", done: "Done", warned: "Warning", failed: "Error"}[u.state]
		if u.total > 0 {
			l.Percent = int(u.current * 100 / u.total)
		}
		p.write(l)
	}
}

func (p *jsonProgress) write(l jsonLine) {
	l.DryRun = p.options.DryRun
	writeLine(p.w, l)
}

func (p *jsonProgress) Done(error) {}
