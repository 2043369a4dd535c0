package cni_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/netplan"
	"berth/netplan/cni"

	"github.com/containerd/errdefs"
)

// script is a CNI plugin of the host that notes what it is asked and adds nothing.
const script = `#!/bin/sh
{ echo "$CNI_COMMAND $CNI_IFNAME $CNI_ARGS"; cat; echo; } >> "${0%/*}/asked"
if [ "$CNI_COMMAND" = ADD ]; then
	echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}]}'
fi
`

func TestOtherDriversArePluginsOfTheHost(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	bin := filepath.Join(w.dir, "bin")
	w.must(os.Mkdir(bin, 0o755))
	w.must(os.WriteFile(filepath.Join(bin, "macvlan"), []byte(script), 0o755))
	d, err := cni.Open(ctx, cni.Config{Engine: "e1", Root: filepath.Join(w.dir, "root"), State: filepath.Join(w.dir, "state"), PluginDirs: []string{bin}})
	w.must(err)
	defer d.Close()
	defer func() { w.must(d.Teardown(ctx)) }()
	_, err = d.EnsureNetwork(ctx, netplan.Network{
		Name: "lan", Driver: "macvlan", Options: map[string]string{"parent": "lan0", "macvlan_mode": "bridge"},
		Subnets: []netplan.Subnet{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.1")}},
	})
	w.must(err)
	a := cni.Attachment{Owner: "shop/web/1", Netns: filepath.Join(w.dir, "netns"), Endpoints: []netplan.Endpoint{{Network: "lan", Interface: "eth0", IPv4: netip.MustParseAddr("192.0.2.77")}}}
	addrs, err := d.Attach(ctx, a)
	w.must(err)
	if got := addrs[0].IPv4.String(); got != "192.0.2.77/24" {
		t.Errorf("the address is %s", got)
	}
	w.must(d.Detach(ctx, a.Owner, a.Netns))
	asked, err := os.ReadFile(filepath.Join(bin, "asked"))
	w.must(err)
	for _, want := range []string{
		"ADD eth0 IgnoreUnknown=1;", "DEL eth0", `"type":"macvlan"`, `"master":"lan0"`, `"mode":"bridge"`,
		`"type":"static"`, `"address":"192.0.2.77/24"`, `"gateway":"192.0.2.1"`, `"dst":"0.0.0.0/0"`,
	} {
		if !strings.Contains(string(asked), want) {
			t.Errorf("the plugin was not told %s, but\n%s", want, asked)
		}
	}
	_, err = d.Attach(ctx, a)
	w.must(err)
	w.must(os.Remove(filepath.Join(bin, "macvlan")))
	if err := d.Detach(ctx, a.Owner, a.Netns); err != nil {
		t.Errorf("when the plugin was taken off the host: %v", err)
	}
	_, err = d.EnsureNetwork(ctx, netplan.Network{Name: "none", Driver: "nosuch"})
	want := `make network "none": CNI plugin "nosuch" is in none of ` + bin
	var h interface{ Hint() string }
	if err == nil || err.Error() != want || !errdefs.IsNotFound(err) || !errors.As(err, &h) {
		t.Errorf("a plugin that is not there gives %v", err)
	}
}
