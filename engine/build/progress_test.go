package build

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/moby/buildkit/client"
)

func TestABuildDoesNotWaitForWhoLooksOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		statuses, look := make(chan *client.SolveStatus), make(chan struct{})
		var got []string
		seen, done := watch(statuses, func(p Progress) {
			<-look
			got = append(got, string(p.Logs[0].Data))
		})
		want := []string{"one", "two", "three", "four"}
		for _, text := range want {
			// Where nobody takes them, this test is a deadlock, and fails by that.
			statuses <- &client.SolveStatus{Logs: []*client.VertexLog{{Vertex: "step", Stream: 1, Data: []byte(text)}}}
		}
		close(statuses)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it is over, and nobody has seen the end")
		default:
		}
		close(look)
		<-done
		if !slices.Equal(got, want) {
			t.Errorf("it told %v", got)
		}
		if out := seen.of("step", 10); out != "onetwothreefour" {
			t.Errorf("an error would show %q", out)
		}
	})
}

func TestABuildThatNobodyLooksAtIsOver(t *testing.T) {
	statuses := make(chan *client.SolveStatus, 1)
	seen, done := watch(statuses, nil)
	statuses <- &client.SolveStatus{Logs: []*client.VertexLog{{Vertex: "step", Stream: 1, Data: []byte("said")}}}
	close(statuses)
	<-done
	if out := seen.of("step", 10); out != "said" {
		t.Errorf("an error would show %q", out)
	}
}
