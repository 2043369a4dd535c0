package cni_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"berth/netplan"
	"berth/netplan/cni"
)

// BenchmarkAttach is the whole of a container's network: an address, a namespace, links, and one published port.
func BenchmarkAttach(b *testing.B) {
	w := newWorld(b)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "shop_default", Size: 500})
	ctx := context.Background()
	n := 0
	eps := []netplan.Endpoint{{Network: "shop_default", Interface: "eth0"}}
	for b.Loop() {
		n++
		owner := fmt.Sprintf("shop/web/%d", n)
		addrs, err := e.Attach(ctx, cni.Attachment{Owner: owner, Netns: filepath.Join(w.dir, "netns", fmt.Sprint(n)), Endpoints: eps})
		w.must(err)
		_, err = e.Publish(ctx, owner, addrs, []netplan.Port{{Published: uint16(20000 + n), Target: 80, Count: 1, Protocol: "tcp"}})
		w.must(err)
		if n%500 == 0 {
			b.StopTimer()
			w.must(e.Teardown(ctx))
			e.network(netplan.Network{Name: "shop_default", Size: 500})
			n = 0
			b.StartTimer()
		}
	}
}
