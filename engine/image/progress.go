package image

import (
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// The states of Progress. A layer ends with Done, Exists or Mounted (taken over from another repository of the registry),
// an image with Done, Exists or Failed.
const (
	Resolving   = "resolving"
	Downloading = "downloading"
	Downloaded  = "downloaded"
	Extracting  = "extracting"
	Uploading   = "uploading"
	Mounted     = "mounted"
	Done        = "done"
	Exists      = "exists"
	Failed      = "error"
)

// Progress is a state of one layer of one image, or of the image itself if Layer is "".
type Progress struct {
	Ref            string
	Layer          string // twelve digits of the digest
	Status         string
	Current, Total int64 // bytes, of downloads and uploads
}

// reporter passes progress on: each change of state, and bytes at most every tenth of a second.
// Its function is never called by two at once. A nil reporter is silent.
type reporter struct {
	ref string
	f   func(Progress)

	mu   sync.Mutex
	last map[string]lastReport
}

type lastReport struct {
	status string
	at     time.Time
}

const reportInterval = 100 * time.Millisecond

func newReporter(ref string, f func(Progress)) *reporter {
	if f == nil {
		return nil
	}
	return &reporter{ref: ref, f: f, last: map[string]lastReport{}}
}

func (r *reporter) image(status string) { r.send("", status, 0, 0) }

func (r *reporter) layer(d digest.Digest, status string, current, total int64) {
	r.send(short(d), status, current, total)
}

func (r *reporter) send(layer, status string, current, total int64) {
	if r == nil {
		return
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last[layer]
	if layer != "" && (last.status == Done || last.status == Exists || last.status == Mounted) {
		return
	}
	if last.status == status && current < total && now.Sub(last.at) < reportInterval {
		return
	}
	r.last[layer] = lastReport{status, now}
	r.f(Progress{Ref: r.ref, Layer: layer, Status: status, Current: current, Total: total})
}

func short(d digest.Digest) string {
	e := d.Encoded()
	if len(e) > 12 {
		e = e[:12]
	}
	return e
}
