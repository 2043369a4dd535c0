package image_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"berth/engine/image"
	hosttest "berth/testing/host"
	"berth/testing/registry"
)

// noise is data that does not compress.
func noise(seed uint64, size int) []byte {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func large(name string, seed uint64) *registry.Image {
	return registry.Scratch(name, map[string]registry.File{"data": {Data: noise(seed, 1<<20)}})
}

func TestACutTransferGoesOnWhereItStopped(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := large("web", 1)
	r.Push(t, web)
	blob := "/blobs/" + web.LayerDigest(0).String()
	r.Fault(registry.Fault{Path: blob, Cut: 300_000, Times: 3})
	if _, err := newStore(t, h, r).Pull(deadline(h.ctx, t), "web", image.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	got := r.Requests("GET", blob)
	if len(got) < 2 {
		t.Fatalf("requests for the layer: %v", got)
	}
	for _, q := range got[1:] {
		if q.Range == "" || strings.HasPrefix(q.Range, "bytes=0-") {
			t.Errorf("a further request starts at the beginning: %+v", q)
		}
	}
}

func TestAPullThatBrokeOffIsTakenUpByTheNext(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := large("web", 2)
	r.Push(t, web)
	blob := "/blobs/" + web.LayerDigest(0).String()
	hold := make(chan struct{})
	defer close(hold)
	r.Fault(registry.Fault{Path: blob, Cut: 500_000, Times: 1})
	r.Fault(registry.Fault{Path: blob, Hold: hold})
	s := newStore(t, h, r)
	ctx, cancel := context.WithCancel(deadline(h.ctx, t))
	go func() {
		defer cancel() // the first request was cut, the second is held
		hosttest.Eventually(t, "the layer is asked for twice", func() bool { return len(r.Requests("GET", blob)) == 2 })
	}()
	_, err := s.Pull(ctx, "web", image.PullOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled pull ended with %v", err)
	}
	h.collect()
	r.ClearFaults()
	r.ForgetRequests()
	if _, err := newStore(t, h, r).Pull(deadline(h.ctx, t), "web", image.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := r.Requests("GET", blob); len(got) != 1 || got[0].Range == "" {
		t.Errorf("the second pull asked for %+v", got)
	}
	if left := leasesOf(h); len(left) > 0 {
		t.Errorf("leases are left: %v", left)
	}
}

func leasesOf(h *host) (list []string) {
	for _, x := range h.remains("overlayfs") {
		if strings.HasPrefix(x, "lease ") {
			list = append(list, x)
		}
	}
	return list
}

func TestALayerWithAWrongDigestIsRefusedAndNothingIsKept(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := large("web", 3).Add(registry.Gzip, map[string]registry.File{"more": registry.Text("m")})
	r.Push(t, web)
	r.Fault(registry.Fault{Path: web.LayerDigest(0).String(), Corrupt: 700_000})
	s := newStore(t, h, r)
	_, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{})
	want := fmt.Sprintf(`pull image "web": what docker.io sent for %s is not what that digest stands for; it was thrown away`, web.LayerDigest(0))
	if !errdefs.IsFailedPrecondition(err) || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if left := h.remains("overlayfs"); len(left) > 0 {
		t.Errorf("the refused pull left %v", left)
	}
	if _, err := s.Get(h.ctx, "web", ""); !errdefs.IsNotFound(err) {
		t.Errorf("the refused image is listed: %v", err)
	}

	r.ClearFaults()
	r.Fault(registry.Fault{Path: web.LayerDigest(0).String(), Corrupt: 700_000, Times: 1})
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{}); err != nil {
		t.Errorf("a layer that was damaged once on its way was not asked for again: %v", err)
	}
}

func TestPullsAtTheSameTimeShareWhatTheyFetch(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	hold := make(chan struct{})
	var names []string
	shared := large("x", 4).LayerDigest(0)
	for i := range 5 {
		img := large(fmt.Sprintf("web%d", i), 4).Add(registry.Gzip, map[string]registry.File{fmt.Sprintf("own%d", i): registry.Text("o")})
		r.Push(t, img)
		names = append(names, img.Name)
	}
	r.Fault(registry.Fault{Path: shared.String(), Hold: hold, Times: 1})
	s := newStore(t, h, r)
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			if _, err := s.Pull(deadline(h.ctx, t), name, image.PullOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	// All five are known to wait for the layer when all have asked for their own small one.
	hosttest.Eventually(t, "they ask", func() bool { return len(r.Requests("GET", "/blobs/")) >= 5*2+1 })
	close(hold)
	wg.Wait()
	if got := r.Requests("GET", shared.String()); len(got) != 1 {
		t.Errorf("the shared layer was fetched %d times", len(got))
	}
	h.collect()
	for _, name := range names {
		img, err := s.Get(h.ctx, name, "")
		if err == nil {
			_, err = s.Prepare(h.ctx, img, "c-"+name, true)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAPullThatGivesUpLeavesSharedLayersToTheOthers(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	a, b := large("a", 5), large("b", 5)
	b.Config.Cmd = []string{"other"}
	r.Push(t, a, b)
	blob := a.LayerDigest(0).String()
	hold := make(chan struct{})
	defer close(hold)
	r.Fault(registry.Fault{Path: blob, Hold: hold, Times: 1})
	s := newStore(t, h, r)
	first, cancel := context.WithCancel(deadline(h.ctx, t))
	gone := make(chan error, 1)
	go func() {
		_, err := s.Pull(first, "a", image.PullOptions{})
		gone <- err
	}()
	hosttest.Eventually(t, "the first asks", func() bool { return len(r.Requests("GET", blob)) == 1 })
	done := make(chan error, 1)
	go func() {
		_, err := s.Pull(deadline(h.ctx, t), "b", image.PullOptions{})
		done <- err
	}()
	hosttest.Eventually(t, "the second asks", func() bool { return len(r.Requests("GET", b.ID().String())) == 1 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled pull: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the other pull: %v", err)
	}
}

func TestAllPullsTogetherKeepToTheBudgetOfConnections(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	hold := make(chan struct{})
	const images, budget = 4, 3
	for i := range images {
		r.Push(t, large(fmt.Sprintf("web%d", i), uint64(10+i)).Add(registry.Gzip, map[string]registry.File{"b": {Data: noise(uint64(20+i), 100)}}))
	}
	s := image.New(image.Config{Client: h.client, Snapshotter: "overlayfs", HostsDir: r.HostsDir(t), MaxConnections: budget})
	r.Fault(registry.Fault{Path: "/blobs/", Hold: hold})
	var wg sync.WaitGroup
	for i := range images {
		wg.Go(func() {
			if _, err := s.Pull(deadline(h.ctx, t), fmt.Sprintf("web%d", i), image.PullOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	hosttest.Eventually(t, "the budget is used up", func() bool { return len(r.Requests("GET", "/blobs/")) == budget })
	time.Sleep(50 * time.Millisecond) // whoever doesn't keep to it would ask in this time
	if n := len(r.Requests("GET", "/blobs/")); n != budget {
		t.Errorf("%d requests at a time, the budget is %d", n, budget)
	}
	close(hold)
	wg.Wait()
}

func TestProgressNamesEveryLayerFromItsStartToItsEnd(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	web := large("web", 6).Add(registry.Gzip, map[string]registry.File{"more": {Data: noise(7, 1000)}})
	r.Push(t, web)
	s := newStore(t, h, r)
	record := func() (*sync.Mutex, map[string][]image.Progress, func(image.Progress)) {
		var mu sync.Mutex
		seen := map[string][]image.Progress{}
		return &mu, seen, func(p image.Progress) { seen[p.Layer] = append(seen[p.Layer], p) }
	}
	_, seen, f := record()
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{Progress: f}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 3 {
		t.Fatalf("progress of %d things, want the image and two layers: %v", len(seen), seen)
	}
	for n, l := range web.Layers {
		list := seen[web.LayerDigest(n).Encoded()[:12]]
		if len(list) < 3 || list[0].Status != image.Downloading || list[len(list)-1].Status != image.Done {
			t.Errorf("layer %d: %+v", n, list)
			continue
		}
		whole := image.Progress{Ref: "web", Layer: web.LayerDigest(n).Encoded()[:12], Status: image.Extracting, Current: int64(len(l.Blob)), Total: int64(len(l.Blob))}
		if !slices.Contains(list, whole) {
			t.Errorf("layer %d: it is not told how far it is unpacked: %+v", n, list)
		}
		var last int64
		for _, p := range list {
			if p.Status == image.Downloading && (p.Total != int64(len(l.Blob)) || p.Current < last || p.Ref != "web") {
				t.Errorf("layer %d: %+v after %d bytes", n, p, last)
			}
			if p.Status == image.Downloading {
				last = p.Current
			}
		}
	}
	if list := seen[""]; list[0].Status != image.Resolving || list[len(list)-1].Status != image.Done {
		t.Errorf("the image: %+v", list)
	}
	_, again, f := record()
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{Progress: f, Force: true}); err != nil {
		t.Fatal(err)
	}
	if list := again[""]; len(again) != 1 || list[len(list)-1].Status != image.Exists {
		t.Errorf("an image that is here: %+v", again)
	}
}

func TestAnImageThatIsUpToDateCostsOneRequest(t *testing.T) {
	h, r := newHost(t), registry.Start(t)
	r.Push(t, small("web"))
	s := newStore(t, h, r)
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	r.ForgetRequests()
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{}); err != nil || len(r.Requests("", "")) != 0 {
		t.Errorf("without Force: %v, %v", err, r.Requests("", ""))
	}
	if _, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{Force: true}); err != nil {
		t.Error(err)
	}
	if q := r.Requests("", ""); len(q) != 1 || q[0].Method != "HEAD" {
		t.Errorf("with Force: %v", q)
	}
}

func TestManyLayersAreUnpackedInTheirOrder(t *testing.T) {
	for _, snapshotter := range []string{"overlayfs", "native"} {
		t.Run(snapshotter, func(t *testing.T) {
			h, r := newHost(t), registry.Start(t)
			web := registry.Scratch("web", nil)
			for i := range 20 {
				files := map[string]registry.File{"n": registry.Text(fmt.Sprint(i)), fmt.Sprintf("f%d", i): {Data: bytes.Repeat([]byte{byte(i)}, 1000*(20-i))}}
				if i > 0 {
					files[fmt.Sprintf("f%d", i-1)] = registry.File{Whiteout: true}
				}
				web.Add([]string{registry.Gzip, registry.Zstd, registry.Plain}[i%3], files)
			}
			r.Push(t, web)
			newStore(t, h, r) // skips where it can't run
			s := image.New(image.Config{Client: h.client, Snapshotter: snapshotter, HostsDir: r.HostsDir(t)})
			img, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{})
			if err != nil {
				t.Fatal(err)
			}
			mounts, err := s.Prepare(h.ctx, img, "c", false)
			if err != nil {
				t.Fatal(err)
			}
			within(t, mounts, func(root string) {
				if got := tree(t, root); got != "f19 1000\nn 2\n" {
					t.Errorf("the root file system has\n%s", got)
				}
			})
			if img.Size <= 0 {
				t.Errorf("the image's size is %d", img.Size)
			}
		})
	}
}

func TestAFullDiskIsReportedAndGivenBack(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for name, img := range map[string]*registry.Image{
		"while it is fetched":  registry.Scratch("web", nil).Add(registry.Plain, map[string]registry.File{"data": {Data: noise(40, 8<<20)}}),
		"while it is unpacked": registry.Scratch("web", map[string]registry.File{"zeros": {Data: make([]byte, 16<<20)}}),
	} {
		t.Run(name, func(t *testing.T) {
			h, r := newHostIn(t, filepath.Join(dir, img.ID().Encoded()[:6])), registry.Start(t)
			r.Push(t, img)
			s := newStore(t, h, r)
			_, err := s.Pull(deadline(h.ctx, t), "web", image.PullOptions{})
			if !errdefs.IsResourceExhausted(err) || err.Error() != `pull image "web": no space left on the disk; what was fetched is removed again` {
				t.Errorf("got %v", err)
			}
			if left := h.remains("overlayfs"); len(left) > 0 {
				t.Errorf("left is %v", left)
			}
			hosttest.Eventually(t, "there is room again", func() bool { // containerd empties folders after the collection
				var st unix.Statfs_t
				return unix.Statfs(dir, &st) == nil && st.Bfree*uint64(st.Bsize) > 4<<20
			})
		})
	}
}
