package image_test

import (
	"fmt"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"golang.org/x/sys/unix"

	"berth/engine/image"
	"berth/testing/registry"
)

// BenchmarkPull measures a cold pull with unpacking of 400 MB in eight layers and in one, beside containerd's own
// client. On a busy machine compare the processors' time, cpu-ms/op; the registry's is in it.
func BenchmarkPull(b *testing.B) {
	for _, layers := range []int{8, 1} {
		b.Run(fmt.Sprintf("layers=%d", layers), func(b *testing.B) { benchmarkPull(b, layers) })
	}
}

func benchmarkPull(b *testing.B, layers int) {
	r := registry.Start(b, registry.InFolder(b.TempDir()))
	img, _ := registry.Large("web", layers, 400_000_000/layers)
	if err := r.PushImage(img); err != nil {
		b.Fatal(err)
	}
	b.Run("berth", func(b *testing.B) {
		cold(b, func(h *host) error {
			_, err := newStore(b, h, r).Pull(b.Context(), "web", image.PullOptions{})
			return err
		})
	})
	b.Run("containerd", func(b *testing.B) {
		cold(b, func(h *host) error {
			_, err := h.client.Pull(h.ctx, r.Addr+"/library/web:latest", containerd.WithPullUnpack, containerd.WithPullSnapshotter("overlayfs"),
				containerd.WithResolver(docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchAllHosts))})))
			return err
		})
	})
}

// cold runs f on a host that has nothing.
func cold(b *testing.B, f func(h *host) error) {
	var spent time.Duration
	for b.Loop() {
		b.StopTimer()
		h := newHost(b)
		before := processorTime(b)
		b.StartTimer()
		if err := f(h); err != nil {
			b.Fatal(err)
		}
		spent += processorTime(b) - before
	}
	b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "cpu-ms/op")
}

// processorTime is what this process has used of all processors.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
