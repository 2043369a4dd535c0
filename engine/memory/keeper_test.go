package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"berth/engine/memory"
)

func TestAKeeperReleasesWhenThereIsNoWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		k := memory.NewKeeper(func() { at = append(at, time.Since(began)) }, 2*time.Second, 15*time.Second)
		defer k.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(at) != 0 {
			t.Fatalf("released at %v, before there was any work", at)
		}
		began = time.Now()
		for range 10 { // 9 s of work
			k.Note()
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		want(t, at, 11*time.Second, 24*time.Second)

		at, began = nil, time.Now()
		k.Note()
		time.Sleep(5 * time.Second) // between the two
		k.Note()
		time.Sleep(time.Hour)
		synctest.Wait()
		want(t, at, 2*time.Second, 7*time.Second, 20*time.Second)
	})
}

func TestAClosedKeeperReleasesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		k := memory.NewKeeper(func() { n++ }, time.Second)
		k.Note()
		k.Close()
		k.Note()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n != 0 {
			t.Errorf("released %d times after the end", n)
		}
	})
}

func want(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("released at %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("released at %v, want %v", got, want)
		}
	}
}
