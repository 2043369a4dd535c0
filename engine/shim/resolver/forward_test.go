package resolver

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"
)

// PatientWithOthers has the resolver wait for others for as long as it takes.
func (r *Resolver) PatientWithOthers() { r.forward.deadline = time.Hour }

// others are the servers that a forwarder asks in a test, by what they do.
type others map[netip.AddrPort]*other

type other struct {
	answer func(ctx context.Context) error
	asked  atomic.Int32
}

// forwarder asks them; what they answer is their own address.
func (o others) forwarder() *forwarder {
	f := newForwarder()
	f.exchange = func(ctx context.Context, server netip.AddrPort, _ string, _ bool, q []byte) ([]byte, error) {
		o[server].asked.Add(1)
		if err := o[server].answer(ctx); err != nil {
			return nil, err
		}
		return append(q[:12:12], server.String()...), nil
	}
	return f
}

var (
	one, two = netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53")

	says   = func(context.Context) error { return nil }
	silent = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	absent = func(context.Context) error { return context.Canceled }
)

// query asks a forwarder for a name, and gives who answered and how long it took.
func query(t *testing.T, f *forwarder, name string) (who string, took time.Duration) {
	t.Helper()
	q, err := new(mdns.Msg).SetQuestion(name, mdns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	reply := f.ask([]netip.AddrPort{one, two}, "", false, q)
	if reply == nil {
		return "nobody", time.Since(began)
	}
	return string(reply[12:]), time.Since(began)
}

func TestADeadResolverCostsOneWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := others{one: {answer: silent}, two: {answer: says}}
		f := o.forwarder()
		for i, want := range []time.Duration{patience, 0, 0, 0} {
			if who, took := query(t, f, "example.com."); who != two.String() || took != want {
				t.Errorf("query %d: %s answers after %v, want %s after %v", i, who, took, two, want)
			}
		}
		if n := o[one].asked.Load(); n != 1 {
			t.Errorf("the dead one was asked %d times", n)
		}
		time.Sleep(sulk) // of the fake clock
		if _, took := query(t, f, "example.com."); took != patience || o[one].asked.Load() != 2 {
			t.Errorf("after a while the dead one is asked %d times, which costs %v", o[one].asked.Load(), took)
		}
	})
}

func TestAResolverThatIsNotThereCostsNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if who, took := query(t, others{one: {answer: absent}, two: {answer: says}}.forwarder(), "example.com."); who != two.String() || took != 0 {
			t.Errorf("%s answers after %v", who, took)
		}
	})
}

func TestEqualQueriesAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		o := others{one: {answer: func(context.Context) error { <-release; return nil }}}
		f := o.forwarder()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if who, _ := query(t, f, "example.com."); who != one.String() {
					t.Errorf("%s answers", who)
				}
			})
		}
		synctest.Wait() // all of them wait for the answer
		close(release)
		wg.Wait()
		if n := o[one].asked.Load(); n != 1 {
			t.Errorf("it was asked %d times", n)
		}
	})
}
