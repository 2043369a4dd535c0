package ui

import (
	"encoding/json"
	"io"
	"time"

	"berth/engine/api"
)

// traceEvent is a complete event of the Trace Event Format; times are in microseconds.
type traceEvent struct {
	Name     string         `json:"name"`
	Category string         `json:"cat"`
	Phase    string         `json:"ph"`
	Began    float64        `json:"ts"`
	Took     float64        `json:"dur"`
	Process  int            `json:"pid"`
	Lane     int            `json:"tid"`
	Args     map[string]any `json:"args,omitempty"`
}

// WriteTraceEvents writes a trace as JSON in the Trace Event Format, which Perfetto and chrome://tracing read. What goes on at the
// same time has lanes of its own.
func WriteTraceEvents(w io.Writer, t Trace) error {
	var events []traceEvent
	var lanes []time.Duration // when each is free
	add := func(began, took time.Duration, lane int, category, name string, args map[string]any) {
		events = append(events, traceEvent{
			Name: name, Category: category, Phase: "X", Began: micros(began), Took: micros(took), Process: 1, Lane: lane + 1, Args: args,
		})
	}
	for _, r := range t.rows() {
		lane := 0
		for lane < len(lanes) && lanes[lane] > r.began {
			lane++
		}
		if lane == len(lanes) {
			lanes = append(lanes, 0)
		}
		lanes[lane] = r.began + r.took
		args := map[string]any{"critical": r.critical}
		if r.step {
			args["waited_ms"], args["queued_ms"] = r.waited.Seconds()*1e3, r.queued.Seconds()*1e3
		}
		category := "verb"
		if r.step {
			category = "step"
		}
		add(r.began, r.took, lane, category, r.what, args)
		for _, p := range r.parts {
			add(p.Began, p.Took, lane, "part", p.Name, nil)
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Events []traceEvent `json:"traceEvents"`
		Unit   string       `json:"displayTimeUnit"`
	}{events, "ms"})
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// since gives parts with times since an earlier moment.
func since(parts []api.Span, offset time.Duration) []api.Span {
	out := make([]api.Span, len(parts))
	for i, p := range parts {
		p.Began += offset
		out[i] = p
	}
	return out
}
