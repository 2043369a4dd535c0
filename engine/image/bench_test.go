package image_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"golang.org/x/sys/unix"

	"berth/engine/image"
	"berth/testing/registry"
)

// mixed is data that packs to about a half, as programs do.
func mixed(seed uint64, size int) []byte {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i+8 <= size; i += 8 {
		v := r.Uint64()
		if i&64 != 0 {
			v = uint64(i>>12) * 0x0101010101010101
		}
		binary.LittleEndian.PutUint64(b[i:], v)
	}
	return b
}

// BenchmarkPull measures a cold pull with unpacking of 400 MiB in eight layers and in one, beside containerd's own
// client. On a busy machine compare the processors' time, cpu-ms/op; the registry's is in it.
func BenchmarkPull(b *testing.B) {
	for _, layers := range []int{8, 1} {
		b.Run(fmt.Sprintf("layers=%d", layers), func(b *testing.B) { benchmarkPull(b, layers) })
	}
}

func benchmarkPull(b *testing.B, layers int) {
	r := registry.Start(b, registry.InFolder(b.TempDir()))
	img := registry.Scratch("web", nil)
	for l := range layers {
		files := map[string]registry.File{}
		for f := range 1600 / layers {
			files[fmt.Sprintf("layer%d/file%d", l, f)] = registry.File{Data: mixed(uint64(l*1600+f), 256<<10)}
		}
		img.Add(registry.Gzip, files)
	}
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
