package shim_test

import (
	"testing"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
)

func TestWhatAContainerUsesIsCounted(t *testing.T) {
	e := newEngine(t)
	c := e.newContainer("c1", "sleep 1000")
	c.start()
	resp, err := c.client.Stats(t.Context(), &taskapi.StatsRequest{ID: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := typeurl.UnmarshalAny(resp.Stats)
	if err != nil {
		t.Fatal(err)
	}
	switch s := stats.(type) {
	case *v1.Metrics:
		if s.GetMemory().GetUsage().GetUsage() == 0 || s.GetMemory().GetRSS() == 0 || s.GetCPU().GetUsage().GetTotal() == 0 {
			t.Errorf("it uses nothing: %v", s)
		}
	case *v2.Metrics:
		if s.GetMemory().GetUsage() == 0 || s.GetCPU().GetUsageUsec() == 0 {
			t.Errorf("it uses nothing: %v", s)
		}
	default:
		t.Errorf("it is a %T", stats)
	}
	if _, err := c.client.Stats(t.Context(), &taskapi.StatsRequest{ID: "nobody"}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		t.Errorf("of a container that isn't there: %v", err)
	}
}
