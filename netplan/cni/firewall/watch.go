package firewall

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attributes of the message that ends a transaction (uapi nf_tables.h).
const nftaGenProcPID = 2

// Watch calls changed whenever somebody else has changed nftables: an administrator who loaded rules anew, a firewall
// that was started, dockerd. It goes on until stop is called, which waits for it. Calls do not overlap, and changes
// that come while one runs are one more call.
func (t *Table) Watch(changed func()) (stop func(), err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("watch nftables: %w", err)
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return nil, errors.Join(fmt.Errorf("watch nftables: %w", err), conn.Close())
	}
	signals := make(chan struct{}, 1)
	var running sync.WaitGroup
	running.Go(func() {
		defer close(signals)
		for {
			messages, err := conn.Receive()
			if errors.Is(err, unix.ENOBUFS) || err == nil && foreignChange(messages) {
				select {
				case signals <- struct{}{}:
				default: // one is waiting already
				}
			}
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
		}
	})
	running.Go(func() {
		for range signals {
			changed()
		}
	})
	return func() {
		conn.Close()
		running.Wait()
	}, nil
}

// foreignChange says if the messages end a transaction that no thread of this process has made.
func foreignChange(messages []netlink.Message) bool {
	for _, m := range messages {
		if m.Header.Type != netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN) || len(m.Data) < 4 {
			continue
		}
		attrs, err := netlink.UnmarshalAttributes(m.Data[4:])
		if err != nil {
			return true
		}
		mine := false
		for _, a := range attrs {
			if a.Type == nftaGenProcPID && len(a.Data) == 4 {
				thread := strconv.FormatUint(uint64(binaryutil.BigEndian.Uint32(a.Data)), 10)
				_, err := os.Stat("/proc/self/task/" + thread)
				mine = !errors.Is(err, fs.ErrNotExist)
			}
		}
		if !mine {
			return true
		}
	}
	return false
}

// Check puts right what somebody else has undone: the engine's table, and its rules in foreign chains. It reads only,
// if all is well, so engines that watch each other come to rest.
func (t *Table) Check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.present || len(t.networks) == 0 {
		return nil
	}
	chains, err := t.conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("list nftables chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name == t.name && c.Name == lastChain {
			return t.assertForeign()
		}
	}
	return t.assert()
}
