package image_test

import (
	"fmt"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"

	"berth/engine/image"
	"berth/testing/registry"
)

// mixed is data that packs to about a half, as programs do.
func mixed(seed uint64, size int) []byte {
	b := noise(seed, size)
	for i := range b {
		if i&64 != 0 {
			b[i] = byte(i >> 12)
		}
	}
	return b
}

// BenchmarkPull measures a cold pull with unpacking of eight layers of 16 MiB, beside containerd's own client.
func BenchmarkPull(b *testing.B) {
	r := registry.Start(b, registry.InFolder(b.TempDir()))
	img := registry.Scratch("web", nil)
	for l := range 8 {
		files := map[string]registry.File{}
		for f := range 64 {
			files[fmt.Sprintf("layer%d/file%d", l, f)] = registry.File{Data: mixed(uint64(l*64+f), 256<<10)}
		}
		img.Add(registry.Gzip, files)
	}
	if err := r.PushImage(img); err != nil {
		b.Fatal(err)
	}
	b.Run("berth", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			s := newStore(b, newHost(b), r)
			b.StartTimer()
			if _, err := s.Pull(b.Context(), "web", image.PullOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("containerd", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			h := newHost(b)
			b.StartTimer()
			_, err := h.client.Pull(h.ctx, r.Addr+"/library/web:latest", containerd.WithPullUnpack, containerd.WithPullSnapshotter("overlayfs"),
				containerd.WithResolver(docker.NewResolver(docker.ResolverOptions{PlainHTTP: true})))
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
