package ui

import (
	"time"

	"berth/engine/api"
)

// buildStatus is a piece of progress with the keys of BuildKit's own JSON progress.
type buildStatus struct {
	Service  string           `json:"service"`
	Vertexes []buildVertex    `json:"vertexes,omitempty"`
	Statuses []vertexTransfer `json:"statuses,omitempty"`
	Logs     []vertexLog      `json:"logs,omitempty"`
	Warnings []vertexWarning  `json:"warnings,omitempty"`
}

type buildVertex struct {
	Digest    string    `json:"digest"`
	Inputs    []string  `json:"inputs,omitempty"`
	Name      string    `json:"name,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	Completed time.Time `json:"completed,omitzero"`
	Cached    bool      `json:"cached,omitempty"`
	Error     string    `json:"error,omitempty"`
}

type vertexTransfer struct {
	ID        string    `json:"id"`
	Vertex    string    `json:"vertex"`
	Total     int64     `json:"total,omitempty"`
	Current   int64     `json:"current"`
	Timestamp time.Time `json:"timestamp"`
	Completed time.Time `json:"completed,omitzero"`
}

type vertexLog struct {
	Vertex    string    `json:"vertex"`
	Stream    int       `json:"stream,omitempty"`
	Data      []byte    `json:"data"`
	Timestamp time.Time `json:"timestamp"`
}

// vertexWarning has texts in base64, as BuildKit's has.
type vertexWarning struct {
	Short      []byte      `json:"short,omitempty"`
	Detail     [][]byte    `json:"detail,omitempty"`
	URL        string      `json:"url,omitempty"`
	SourceInfo *sourceInfo `json:"sourceInfo,omitempty"`
	Range      []lineRange `json:"range,omitempty"`
}

type sourceInfo struct {
	Filename string `json:"filename"`
}

type lineRange struct {
	Start linePosition `json:"start"`
	End   linePosition `json:"end"`
}

type linePosition struct {
	Line int `json:"line"`
}

// statusOf translates a build event.
func statusOf(e *api.BuildEvent, at time.Time) buildStatus {
	s := buildStatus{Service: e.Service}
	for _, v := range e.Steps {
		s.Vertexes = append(s.Vertexes, buildVertex{
			Digest: v.ID, Inputs: v.Inputs, Name: prefixed(e.Service, v.Name), Started: v.Started, Completed: v.Completed, Cached: v.Cached, Error: v.Error,
		})
	}
	for _, t := range e.Transfers {
		one := vertexTransfer{ID: t.ID, Vertex: t.Step, Total: t.Total, Current: t.Current, Timestamp: at}
		if t.Done {
			one.Completed = at
		}
		s.Statuses = append(s.Statuses, one)
	}
	for _, o := range e.Output {
		s.Logs = append(s.Logs, vertexLog{o.Step, o.Stream, o.Data, o.Time})
	}
	for _, w := range e.Warnings {
		one := vertexWarning{Short: []byte(w.Short), URL: w.URL}
		for _, d := range w.Detail {
			one.Detail = append(one.Detail, []byte(d))
		}
		if w.File != "" {
			one.SourceInfo = &sourceInfo{w.File}
		}
		if w.Line > 0 {
			one.Range = []lineRange{{linePosition{w.Line}, linePosition{w.Line + max(len(w.Source)-1, 0)}}}
		}
		s.Warnings = append(s.Warnings, one)
	}
	return s
}
