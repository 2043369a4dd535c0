package ui

import (
	"fmt"
	"strings"
	"time"

	"berth/engine/api"
)

// What is said of a layer that has come.
const (
	downloaded = "Download complete"
	extracting = "Extracting"
)

// meter measures how fast a number of bytes grows.
type meter struct {
	from  time.Time
	bytes int64
	rate  float64 // per second; 0: not known yet
}

// meterWindow is how long a rate is measured.
const meterWindow = time.Second

// read takes a reading. A number that shrinks counts something else now.
func (m *meter) read(bytes int64, now time.Time) {
	if m.from.IsZero() || bytes < m.bytes {
		*m = meter{from: now, bytes: bytes}
		return
	}
	span := now.Sub(m.from)
	if span < meterWindow {
		return
	}
	rate := float64(bytes-m.bytes) / span.Seconds()
	if m.rate > 0 {
		rate = (rate + m.rate) / 2 // so that the time left doesn't jump about
	}
	m.from, m.bytes, m.rate = now, bytes, rate
}

// speed is "  5MB/s  6s left", nothing while there is nothing to tell.
func (m *meter) speed(current, total int64) string {
	if m.rate <= 0 || current >= total {
		return ""
	}
	left := time.Duration(float64(total-current) / m.rate * float64(time.Second))
	return fmt.Sprintf("  %s/s  %s left", HumanSize(int64(m.rate)), briefly(left))
}

// briefly is "6s", "3m20s" or "2h5m".
func briefly(d time.Duration) string {
	d = d.Round(time.Second)
	hours, minutes, seconds := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case hours > 0:
		return fmt.Sprintf("%dh%dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm%ds", minutes, seconds)
	}
	return fmt.Sprintf("%ds", max(seconds, 1))
}

func pull(p *api.PullEvent, at time.Time) update {
	u := update{id: "Image " + p.Ref, current: p.Current, total: p.Total, at: at}
	layer := p.Layer != ""
	if layer {
		u.parent, u.id = u.id, shortLayer(p.Layer)
	}
	switch p.Status {
	case "downloading":
		u.text = "Downloading"
	case "downloaded":
		u.text = downloaded
	case "extracting":
		u.text = extracting
	case "done":
		u.state, u.text = done, "Pulled"
		if layer {
			u.text = "Pull complete"
		}
	case "exists":
		u.state, u.text = done, "Exists"
		if layer {
			u.text = "Already exists"
		}
	case "error":
		u.state, u.text = failed, "Error"
	default:
		u.text = "Pulling"
		if layer {
			u.text = "Waiting"
		}
	}
	if !layer && u.state == working {
		u.text, u.current, u.total = "Pulling", 0, 0
	}
	return u
}

func push(p *api.PullEvent, at time.Time) update {
	if p.Layer == "" {
		u := update{id: "Image " + p.Ref, text: "Pushing", at: at}
		switch p.Status {
		case "done", "exists":
			u.state, u.text = done, "Pushed"
		case "error":
			u.state, u.text = failed, "Error"
		}
		return u
	}
	u := update{id: shortLayer(p.Layer), parent: "Image " + p.Ref, text: "Waiting", current: p.Current, total: p.Total, at: at}
	switch p.Status {
	case "uploading":
		u.text = "Pushing"
	case "done":
		u.state, u.text = done, "Pushed"
	case "exists":
		u.state, u.text = done, "Already exists"
	case "mounted":
		u.state, u.text = done, "Mounted"
	case "error":
		u.state, u.text = failed, "Error"
	}
	return u
}

func shortLayer(digest string) string {
	if _, hex, ok := strings.Cut(digest, ":"); ok {
		digest = hex
	}
	if len(digest) > 12 {
		digest = digest[:12]
	}
	return digest
}
