package api_test

import (
	"bytes"
	"testing"
	"time"

	"berth/engine/api"
)

func TestLogEntriesComeBackAsTheyWere(t *testing.T) {
	at := time.Unix(1790000000, 123456789)
	in := []api.LogEntry{
		{Time: at, Data: []byte("ready")},
		{Time: at.Add(1), Stderr: true, Data: []byte("")},
		{Time: at.Add(2), Partial: true, Data: bytes.Repeat([]byte("x"), 20000)},
		{Time: at.Add(3), Stderr: true, Partial: true, Data: []byte("a\x00b")},
	}
	var b []byte
	for _, e := range in {
		b = api.AppendLog(b, e)
	}
	for i, want := range in {
		got, rest, err := api.NextLog(b)
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if !got.Time.Equal(want.Time) || got.Stderr != want.Stderr || got.Partial != want.Partial || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("entry %d came back as %+v", i, got)
		}
		b = rest
	}
	if len(b) != 0 {
		t.Errorf("%d bytes are left over", len(b))
	}
}

func TestACutLogEntryIsAnError(t *testing.T) {
	whole := api.AppendLog(nil, api.LogEntry{Time: time.Unix(1, 0), Data: []byte("hello")})
	for n := range whole {
		if _, _, err := api.NextLog(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were taken for an entry", n, len(whole))
		}
	}
	if _, _, err := api.NextLog([]byte{3, 1, 2, 3}); err == nil {
		t.Error("an entry shorter than its head was taken")
	}
}
