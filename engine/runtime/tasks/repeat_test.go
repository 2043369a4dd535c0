package tasks

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"berth/engine/health"
)

// result is what a shim tells of a probe that began a second before it ended.
func result(tag uint64, kind, status uint32, ended time.Time, output string) []byte {
	e := binary.NativeEndian
	b := e.AppendUint64(nil, tag)
	b = e.AppendUint64(b, uint64(ended.Add(-time.Second).UnixNano()))
	b = e.AppendUint64(b, uint64(ended.UnixNano()))
	b = e.AppendUint32(b, kind)
	b = e.AppendUint32(b, status)
	b = e.AppendUint32(b, uint32(len(output)))
	return append(e.AppendUint32(b, 0), output...)
}

func TestWhatCameOfProbesIsTold(t *testing.T) {
	now := time.Now()
	var told []string
	var r repeats
	for tag := range uint64(4) {
		r.add(tag, func(results []health.Probed, over bool) {
			line := fmt.Sprint(tag)
			for _, p := range results {
				line += fmt.Sprintf(" %d %q %v+%v %v", p.ExitCode, p.Output, now.Sub(p.End), p.End.Sub(p.Start), p.TimedOut)
			}
			told = append(told, fmt.Sprint(line, " ", over))
		})
	}
	batch := slices.Concat(
		result(0, 0, 0, now.Add(-2*time.Second), "fine"),
		result(1, 1, 3<<8, now, "no"),
		result(0, 0, 0, now.Add(-time.Second), ""),
		result(2, 2, 9, now.Add(time.Hour), "slow"), // the host's clock was set
		result(77, 0, 0, now, "whose is this"),
		result(3, 4, 0, time.Unix(0, 0), ""),
	)
	if err := r.pass(batch, now); err != nil {
		t.Fatal(err)
	}
	want := []string{`0 0 "fine" 2s+1s false 0 "" 1s+1s false false`, `1 3 "no" 0s+1s false true`, `2 137 "slow" 0s+1s true true`, `3 true`}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if r.drop(1) || !r.drop(0) {
		t.Error("what is over is on the books, or what is not isn't")
	}
	if err := r.pass(batch[:len(batch)-1], now); err == nil {
		t.Error("results that are cut off are taken")
	}
}
