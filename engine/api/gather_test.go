package api

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventsThatComeTogetherAreSentTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent [][]string
		g := gatherer{send: func(e *Event) error {
			var texts []string
			e.Each(func(e Event) { texts = append(texts, e.Text) })
			sent = append(sent, texts)
			return nil
		}}
		put := func(text string) {
			if err := g.put(Event{Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		put("a")
		put("b")
		time.Sleep(gatherTime + time.Millisecond) // of the fake clock
		synctest.Wait()
		put("c")
		put("d")
		g.end()
		time.Sleep(time.Second)
		if !slices.EqualFunc(sent, [][]string{{"a", "b"}, {"c", "d"}}, slices.Equal) {
			t.Errorf("sent %q", sent)
		}
	})
}

func TestAfterAMessageThatCouldNotBeSentThereIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, calls := errors.New("gone"), 0
		g := gatherer{send: func(*Event) error { calls++; return gone }}
		if err := g.put(Event{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * gatherTime)
		synctest.Wait()
		if err := g.put(Event{}); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
		g.end()
		if calls != 1 {
			t.Errorf("%d messages", calls)
		}
	})
}
