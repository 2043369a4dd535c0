package spec

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Link is one name by which a container knows another.
type Link struct {
	Alias string
	Addr  netip.Addr // of the target
	Ports []Port     // that the target exposes
	Env   []string   // of the target's configuration: its image's and its service's
}

// LinkEnv gives the variables that docker's legacy links set in the container linker (its name without
// a slash). A variable that docker would set twice is there once.
// Source: moby, daemon/links; observed in full on docker 20.10.
func LinkEnv(linker string, links []Link) []string {
	var env []string
	for _, l := range links {
		env = append(env, l.env(linker)...)
	}
	return overrideEnv(nil, env)
}

func (l Link) env(linker string) []string {
	prefix := strings.ReplaceAll(strings.ToUpper(l.Alias), "-", "_")
	ports := slices.Clone(l.Ports)
	sortPorts(ports)
	var env []string
	set := func(name, format string, args ...any) {
		env = append(env, prefix+"_"+name+"="+fmt.Sprintf(format, args...))
	}
	if len(ports) > 0 {
		set("PORT", "%s", l.url(ports[0]))
	}
	for _, run := range runs(ports) {
		first, last := run[0], run[len(run)-1]
		name := first.variable()
		set(name+"_START", "%s", l.url(first))
		set(name+"_ADDR", "%s", l.Addr)
		set(name+"_PROTO", "%s", first.Protocol)
		set(name+"_PORT_START", "%d", first.Number)
		set(name+"_END", "%s", l.url(last))
		set(name+"_PORT_END", "%d", last.Number)
	}
	for _, p := range ports {
		name := p.variable()
		set(name, "%s", l.url(p))
		set(name+"_ADDR", "%s", l.Addr)
		set(name+"_PORT", "%d", p.Number)
		set(name+"_PROTO", "%s", p.Protocol)
	}
	set("NAME", "/%s/%s", linker, l.Alias)
	for _, entry := range l.Env {
		name, value, ok := strings.Cut(entry, "=")
		if ok && name != "HOME" && name != "PATH" {
			set("ENV_"+name, "%s", value)
		}
	}
	return env
}

// variable is "PORT_3306_TCP".
func (p Port) variable() string {
	return "PORT_" + strconv.Itoa(int(p.Number)) + "_" + strings.ToUpper(p.Protocol)
}

// url is "tcp://172.17.0.2:3306".
func (l Link) url(p Port) string {
	return p.Protocol + "://" + netip.AddrPortFrom(l.Addr, p.Number).String()
}

// runs are the groups of three or more ports that follow each other. As in docker, a port in the group may
// lag behind (the same number with another protocol) but not be ahead.
func runs(ports []Port) [][]Port {
	var all [][]Port
	for i := 0; i < len(ports); {
		j := i
		for j+1 < len(ports) && int(ports[j+1].Number) <= int(ports[i].Number)+(j+1-i) {
			j++
		}
		if j > i+1 {
			all = append(all, ports[i:j+1])
			i = j + 1
		} else {
			i++
		}
	}
	return all
}
