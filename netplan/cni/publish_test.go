package cni_test

import (
	"testing"

	"berth/netplan"
)

func TestAPublishedPortAnswersFromEverywhere(t *testing.T) {
	w := newWorld(t)
	e := w.engine("e1")
	e.network(netplan.Network{Name: "shop_default"})
	e.network(netplan.Network{Name: "blog_default"})
	web := e.box("shop/web/1", "shop_default")
	neighbour := e.box("shop/db/1", "shop_default")
	stranger := e.box("blog/web/1", "blog_default")
	web.serve(80)
	e.publish(web,
		netplan.Port{Published: 8080, Target: 80},
		netplan.Port{Published: 8080, Target: 80, Protocol: "udp"})
	var host *box
	for _, c := range []struct {
		from    *box
		who     string
		address string
	}{
		{host, "the host by 127.0.0.1", "127.0.0.1:8080"},
		{host, "the host by its own address", "192.0.2.10:8080"},
		{host, "the host by [::1]", "[::1]:8080"},
		{host, "the host by its own IPv6 address", "[2001:db8::10]:8080"},
		{w.lan, "another host", "192.0.2.10:8080"},
		{w.lan, "another host by IPv6", "[2001:db8::10]:8080"},
		{stranger, "a container of another network", "192.0.2.10:8080"},
		{neighbour, "a container of the same network", "192.0.2.10:8080"},
		{neighbour, "a container of the same network, by the gateway", web.addrs[0].Gateway.String() + ":8080"},
		{web, "the container itself", "192.0.2.10:8080"},
		{neighbour, "a neighbour directly", web.ip().String() + ":80"},
	} {
		for _, protocol := range []string{"tcp", "udp"} {
			t.Run(c.who+" "+protocol, func(t *testing.T) { c.from.hears(t, protocol, c.address, "shop/web/1") })
		}
	}
}
