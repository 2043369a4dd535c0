package event_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/engine/api"
	"berth/engine/event"
)

func of(project, service, id, action string) event.Event {
	return event.Event{ContainerEvent: api.ContainerEvent{Project: project, Service: service, ID: id, Action: action}}
}

// drain fetches what lies in a closed subscription's queue: ids, and "lost n" for gaps.
func drain(t *testing.T, s *event.Subscription) []string {
	t.Helper()
	var got []string
	for {
		ev, err := s.Next(context.Background())
		var lost *event.LostError
		switch {
		case errors.Is(err, event.ErrClosed):
			return got
		case errors.As(err, &lost):
			got = append(got, fmt.Sprintf("lost %d", lost.Count))
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, ev.ID)
		}
	}
}

func TestASubscriberGetsWhatItsFilterAcceptsInOrder(t *testing.T) {
	tests := []struct {
		name   string
		filter event.Filter
		want   []string
	}{
		{"everything", event.Filter{}, []string{"1", "2", "3", "4"}},
		{"one project", event.Filter{Project: "shop"}, []string{"1", "2", "4"}},
		{"services of it", event.Filter{Project: "shop", Services: []string{"db", "mail"}}, []string{"2"}},
		{"ids", event.Filter{IDs: []string{"4", "1"}}, []string{"1", "4"}},
		{"what a function says", event.Filter{Match: func(ev event.Event) bool { return ev.Action == event.Die }}, []string{"3", "4"}},
		{"nothing", event.Filter{Project: "none"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b event.Bus
			b.Publish(of("shop", "web", "0", event.Start)) // before anybody listens
			s := b.Subscribe(context.Background(), test.filter)
			b.Publish(of("shop", "web", "1", event.Start))
			b.Publish(of("shop", "db", "2", event.Start))
			b.Publish(of("blog", "db", "3", event.Die))
			b.Publish(of("shop", "web", "4", event.Die))
			s.Close()
			b.Publish(of("shop", "web", "5", event.Die))
			if got := drain(t, s); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestWhatWasPublishedIsRememberedForAWhile(t *testing.T) {
	var b event.Bus
	start := time.Unix(1700000000, 0)
	const published = event.Remembered + 50
	for i := range published {
		ev := of("shop", "web", fmt.Sprint(i), event.Start)
		if i%2 == 1 {
			ev.Project = "blog"
		}
		ev.Time = start.Add(time.Duration(i) * time.Second)
		b.Publish(ev)
	}
	ask := func(f event.Filter) []string {
		s := b.Subscribe(context.Background(), f)
		b.Publish(of("shop", "web", "now", event.Die))
		s.Close()
		return drain(t, s)
	}
	if got := ask(event.Filter{}); !slices.Equal(got, []string{"now"}) {
		t.Errorf("unasked comes %v", got)
	}
	from := start.Add((published - 3) * time.Second)
	if got := ask(event.Filter{Since: from}); !slices.Equal(got, []string{"303", "304", "305", "now", "now"}) {
		t.Errorf("since the third last come %v", got)
	}
	if got := ask(event.Filter{Since: from, Project: "shop"}); !slices.Equal(got, []string{"304", "now", "now", "now"}) {
		t.Errorf("of one project come %v", got)
	}
	if got := ask(event.Filter{Since: start}); len(got) != event.Remembered+1 || got[0] != fmt.Sprint(published+3-event.Remembered) {
		t.Errorf("since the beginning come %d, from %s on", len(got), got[0])
	}
}

func TestNextWaitsForAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b event.Bus
		s := b.Subscribe(context.Background(), event.Filter{})
		time.AfterFunc(time.Minute, func() { b.Publish(of("shop", "web", "1", event.Start)) })
		began := time.Now()
		ev, err := s.Next(context.Background())
		if err != nil || ev.ID != "1" || time.Since(began) != time.Minute {
			t.Errorf("got %v, %v after %v", ev, err, time.Since(began))
		}
		if !ev.Time.Equal(time.Now()) {
			t.Errorf("an event without a time got %v, want now", ev.Time)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
	})
}

func TestASlowSubscriberIsToldWhatItLostAtItsPlace(t *testing.T) {
	var b event.Bus
	slow := b.Subscribe(context.Background(), event.Filter{})
	quick := b.Subscribe(context.Background(), event.Filter{IDs: []string{"kept"}})
	for range event.QueueLimit {
		b.Publish(of("shop", "web", "filler", event.Start))
	}
	for range 7 {
		b.Publish(of("shop", "web", "kept", event.Start))
	}
	for range 2 {
		if ev, err := slow.Next(context.Background()); err != nil || ev.ID != "filler" {
			t.Fatal(ev, err)
		}
	}
	b.Publish(of("shop", "web", "after the gap", event.Start))
	b.Publish(of("shop", "web", "last that fits", event.Start))
	for range 3 {
		b.Publish(of("shop", "web", "too many again", event.Start))
	}
	b.Close()
	got := drain(t, slow)
	want := []string{"lost 7", "after the gap", "last that fits", "lost 3"}
	if len(got) != event.QueueLimit-2+len(want) || !slices.Equal(got[event.QueueLimit-2:], want) {
		t.Errorf("%d entries ending in %v, want %d ending in %v", len(got), got[max(0, len(got)-6):], event.QueueLimit-2+len(want), want)
	}
	if got := drain(t, quick); len(got) != 7 {
		t.Errorf("the other subscriber got %d events, want its 7", len(got))
	}
}

func TestASubscriptionEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b event.Bus
		ctx, cancel := context.WithCancel(context.Background())
		s := b.Subscribe(ctx, event.Filter{})
		b.Publish(of("shop", "web", "1", event.Start))
		cancel()
		synctest.Wait()
		b.Publish(of("shop", "web", "2", event.Start))
		if got := drain(t, s); !slices.Equal(got, []string{"1"}) {
			t.Errorf("got %v, want what came before the end", got)
		}
		s.Close()
	})
}

func TestAWaitingSubscriberHearsThatTheBusIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b event.Bus
		s := b.Subscribe(context.Background(), event.Filter{})
		time.AfterFunc(time.Second, b.Close)
		if _, err := s.Next(context.Background()); !errors.Is(err, event.ErrClosed) {
			t.Errorf("error %v", err)
		}
		late := b.Subscribe(context.Background(), event.Filter{})
		if _, err := late.Next(context.Background()); !errors.Is(err, event.ErrClosed) {
			t.Errorf("subscribed to a closed bus: %v", err)
		}
	})
}

func TestAllEndsWithTheLoopTheBusOrTheContext(t *testing.T) {
	var b event.Bus
	s := b.Subscribe(context.Background(), event.Filter{})
	for _, id := range []string{"1", "2", "3"} {
		b.Publish(of("shop", "web", id, event.Start))
	}
	var got []string
	for ev, err := range s.All(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, ev.ID); ev.ID == "2" {
			break
		}
	}
	b.Close()
	for ev := range s.All(context.Background()) {
		got = append(got, ev.ID)
	}
	if want := []string{"1", "2", "3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var open event.Bus
	for ev := range open.Subscribe(context.Background(), event.Filter{}).All(ctx) {
		t.Errorf("got %v after the context had ended", ev)
	}
}

func TestPublishersAndSubscribersAtOnce(t *testing.T) {
	const publishers, each = 4, 500
	var b event.Bus
	var publishing, reading sync.WaitGroup
	for range 3 {
		s := b.Subscribe(context.Background(), event.Filter{})
		reading.Go(func() {
			last := map[string]int{}
			for ev, err := range s.All(context.Background()) {
				if err != nil {
					t.Error(err)
					return
				}
				if ev.Number != last[ev.Service]+1 {
					t.Errorf("event %d of %s came after %d", ev.Number, ev.Service, last[ev.Service])
				}
				last[ev.Service] = ev.Number
			}
			for service, n := range last {
				if n != each {
					t.Errorf("%d events of %s, want %d", n, service, each)
				}
			}
			if len(last) != publishers {
				t.Errorf("events of %d publishers, want %d", len(last), publishers)
			}
		})
	}
	for p := range publishers {
		publishing.Go(func() {
			for n := 1; n <= each; n++ {
				ev := of("shop", fmt.Sprint("s", p), "x", event.Start)
				ev.Number = n
				b.Publish(ev)
			}
		})
	}
	publishing.Wait()
	b.Close()
	reading.Wait()
}
