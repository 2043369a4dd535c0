package bridge

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"berth/testing/host"
)

func TestAKindOfLinkThatTheKernelDoesNotHave(t *testing.T) {
	host.Require(t, host.Root)
	ns, err := host.OpenNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var asked error
	err = ns.Do(func() error {
		asked = netlink.LinkAdd(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: "x"}, LinkType: "nosuchkind"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = ofKind("nosuchkind", asked)
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || hinted.Hint() != "load its module: modprobe nosuchkind; without it containers run with network_mode: host or none only" {
		t.Errorf("the kernel said %v, and that is told as %v", asked, err)
	}
	if err := ofKind("veth", unix.EEXIST); !errors.Is(err, unix.EEXIST) || errors.As(err, &hinted) {
		t.Errorf("another refusal became %v", err)
	}
}
