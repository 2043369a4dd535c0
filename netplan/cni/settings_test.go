package cni_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"berth/netplan/cni"
	"berth/netplan/netns"
)

func TestEachOfManyNamespacesHasItsOwnSettings(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	const many = 150 // more than one mount of procfs is used for
	attachment := func(i int) cni.Attachment {
		return cni.Attachment{
			Owner: fmt.Sprintf("shop/web/%d", i), Netns: filepath.Join(w.dir, "netns", strconv.Itoa(i)),
			Sysctls: map[string]string{"net.ipv4.ip_default_ttl": strconv.Itoa(100 + i)},
		}
	}
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if _, err := e.Attach(context.Background(), attachment(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range many {
		a := attachment(i)
		w.must(netns.Do(a.Netns, func() error {
			for key, want := range map[string]string{"ip_default_ttl": a.Sysctls["net.ipv4.ip_default_ttl"], "ip_unprivileged_port_start": "0"} {
				if got, err := os.ReadFile("/proc/sys/net/ipv4/" + key); strings.TrimSpace(string(got)) != want {
					t.Errorf("%s of %s is %s, want %s (%v)", key, a.Owner, got, want, err)
				}
			}
			return nil
		}))
		w.must(e.Detach(context.Background(), a.Owner, a.Netns))
	}
}
