package host

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func links() ([]string, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, l := range all {
		lines = append(lines, l.Attrs().Name+" ("+l.Type()+")")
	}
	return lines, nil
}

func addresses() ([]string, error) {
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, a := range all {
		if a.IP.IsLinkLocalUnicast() { // the kernel's own, some time after a link comes up
			continue
		}
		lines = append(lines, a.IPNet.String())
	}
	return lines, nil
}

func routes() ([]string, error) {
	var lines []string
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			if r.Dst != nil && r.Dst.IP.IsLinkLocalUnicast() {
				continue
			}
			lines = append(lines, fmt.Sprintf("to %v via %v", r.Dst, r.Gw))
		}
	}
	return lines, nil
}

// nftablesObjects names tables, chains, sets and rules, of everybody: an engine also adds rules to others' chains.
func nftablesObjects() ([]string, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := c.ListTables()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, t := range tables {
		table := fmt.Sprintf("%d/%s", t.Family, t.Name)
		lines = append(lines, "table "+table)
		sets, err := c.GetSets(t)
		if err != nil {
			return nil, fmt.Errorf("sets of table %s: %w", table, err)
		}
		for _, s := range sets {
			if !s.Anonymous {
				lines = append(lines, "set "+table+"/"+s.Name)
			}
		}
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil, err
	}
	for _, ch := range chains {
		chain := fmt.Sprintf("%d/%s/%s", ch.Table.Family, ch.Table.Name, ch.Name)
		lines = append(lines, "chain "+chain)
		rules, err := c.GetRules(ch.Table, ch)
		if err != nil {
			return nil, fmt.Errorf("rules of chain %s: %w", chain, err)
		}
		for _, r := range rules {
			lines = append(lines, fmt.Sprintf("rule %s handle %d, marked %s", chain, r.Handle, printable(r.UserData)))
		}
	}
	return lines, nil
}

func printable(data []byte) string {
	text := strings.Trim(string(data), "\x00")
	for _, r := range text {
		if r < ' ' || r > '~' {
			return hex.EncodeToString(data)
		}
	}
	return fmt.Sprintf("%q", text)
}

func sysctls() ([]string, error) {
	var lines []string
	for _, name := range []string{"ipv4/ip_forward", "ipv4/conf/all/route_localnet", "ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"} {
		text, err := os.ReadFile("/proc/sys/net/" + name)
		if os.IsNotExist(err) { // a kernel without IPv6
			continue
		}
		if err != nil {
			return nil, err
		}
		lines = append(lines, name+" = "+strings.TrimSpace(string(text)))
	}
	return lines, nil
}
