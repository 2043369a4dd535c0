package plan

import (
	"fmt"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project"
)

// judgeResources gives a verdict on every network and volume that a selected service uses.
func (u *up) judgeResources() error {
	for _, key := range u.usedNetworks(u.selected) {
		if err := u.judgeNetwork(key); err != nil {
			return err
		}
	}
	for _, key := range u.usedVolumes(u.selected) {
		if err := u.judgeVolume(key); err != nil {
			return err
		}
	}
	return nil
}

// judgePushedResources adds the networks and volumes of the other services of which a container is made or started. They
// are made if they aren't there, and otherwise left as they are.
func (u *up) judgePushedResources() error {
	pushed := map[string]bool{}
	for _, s := range u.inOrder {
		if !s.selected && slices.ContainsFunc(s.slots, func(sl *slot) bool { return sl.isMade() || sl.starts() }) {
			pushed[s.name] = true
		}
	}
	for _, key := range u.usedNetworks(pushed) {
		_, found, _ := findNetwork(u.have.Networks, key, u.p.Networks[key].Name)
		if found == nil && !judged(u.networks, key) {
			if err := u.judgeNetwork(key); err != nil {
				return err
			}
		}
	}
	for _, key := range u.usedVolumes(pushed) {
		_, found, _ := findVolume(u.have.Volumes, key, u.p.Volumes[key].Name)
		if found == nil && !judged(u.volumes, key) {
			if err := u.judgeVolume(key); err != nil {
				return err
			}
		}
	}
	return nil
}

func judged(all []*resource, key string) bool {
	return slices.ContainsFunc(all, func(r *resource) bool { return r.key == key })
}

// judgeNetwork gives a verdict on a network. One without a recorded hash, and one that was not made for the
// project, is used as it is.
func (u *up) judgeNetwork(key string) error {
	n := u.p.Networks[key]
	r := &resource{kind: "network", key: key, name: n.Name, outcome: OutcomeKeep, why: "up to date"}
	owned, found, stale := findNetwork(u.have.Networks, key, n.Name)
	r.stale = stale
	switch want := u.want.Networks[key]; {
	case bool(n.External):
		if found == nil && !alwaysThere(n.Name) {
			return &ExternalError{Kind: r.kind, Key: key, Name: n.Name}
		}
		r.why = "external"
	case found == nil && len(stale) > 0:
		r.outcome, r.why = OutcomeCreate, fmt.Sprintf("was named %q", stale[0])
	case found == nil:
		r.outcome, r.why = OutcomeCreate, "not there"
	case owned == nil:
		r.why = "was there"
		u.notice("networks."+key, fmt.Sprintf("a network with the name %q exists but was not made for project %q; set external: true to use it without this notice", n.Name, u.p.Name))
	case owned.Hash == "" || want == "" || owned.Hash == want:
	case u.pol.Recreate == RecreateNever || u.pol.RecreateDeps == RecreateNever:
		r.why = "configuration changed, but nothing is to be replaced"
	default:
		r.outcome, r.why = OutcomeReplace, "configuration changed"
	}
	u.networks = append(u.networks, r)
	return nil
}

// judgeVolume gives a verdict on a volume. One of another configuration is replaced, with the loss of its data, only if
// the user said so; one of another name is made, and the old one kept.
func (u *up) judgeVolume(key string) error {
	v := u.p.Volumes[key]
	r := &resource{kind: "volume", key: key, name: v.Name, outcome: OutcomeKeep, why: "up to date"}
	owned, found, former := findVolume(u.have.Volumes, key, v.Name)
	switch want := u.want.Volumes[key]; {
	case bool(v.External):
		if found == nil {
			return &ExternalError{Kind: r.kind, Key: key, Name: v.Name}
		}
		r.why = "external"
	case found == nil && len(former) > 0:
		r.outcome, r.why = OutcomeCreate, fmt.Sprintf("was named %q, which is kept", former[0])
	case found == nil:
		r.outcome, r.why = OutcomeCreate, "not there"
	case owned == nil:
		r.why = "was there"
		if !u.p.Legacy {
			u.notice("volumes."+key, fmt.Sprintf("a volume with the name %q exists but was not made for project %q; set external: true to use it without this notice", v.Name, u.p.Name))
		}
	case owned.Hash == "" || want == "" || owned.Hash == want:
	default:
		u.judgeChangedVolume(r)
	}
	u.volumes = append(u.volumes, r)
	return nil
}

func (u *up) judgeChangedVolume(r *resource) {
	question := Question{
		Key:  "volume " + r.name,
		Text: fmt.Sprintf("volume %q exists, but its configuration in the file is another one now: replace it? Its data will be lost", r.name),
	}
	if u.pol.Approved[question.Key] {
		r.outcome, r.why = OutcomeReplace, "configuration changed"
		return
	}
	r.why = "configuration changed, but its data is kept"
	u.plan.Questions = append(u.plan.Questions, question)
}

func (u *up) notice(key, text string) {
	u.plan.Notices = append(u.plan.Notices, project.Notice{Key: key, Text: text})
}

// alwaysThere names the networks that an engine has without anybody making them.
func alwaysThere(name string) bool { return name == "bridge" || name == "host" || name == "none" }

// findNetwork gives the network of a name, also as owned if it is the project's, and the names of the project's
// networks that have the key under another name.
func findNetwork(all []Network, key, name string) (owned, found *Network, former []string) {
	for i := range all {
		switch n := &all[i]; {
		case n.Name == name:
			found = n
			if n.Owned {
				owned = n
			}
		case n.Owned && n.Key == key:
			former = append(former, n.Name)
		}
	}
	slices.Sort(former)
	return owned, found, former
}

// findVolume is findNetwork for volumes.
func findVolume(all []Volume, key, name string) (owned, found *Volume, former []string) {
	for i := range all {
		switch v := &all[i]; {
		case v.Name == name:
			found = v
			if v.Owned {
				owned = v
			}
		case v.Owned && v.Key == key:
			former = append(former, v.Name)
		}
	}
	slices.Sort(former)
	return owned, found, former
}

func (u *up) usedNetworks(services map[string]bool) []string {
	used := map[string]bool{}
	for name := range services {
		for key := range u.p.Services[name].Networks {
			if _, ok := u.p.Networks[key]; ok {
				used[key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

func (u *up) usedVolumes(services map[string]bool) []string {
	used := map[string]bool{}
	for name := range services {
		for _, v := range u.p.Services[name].Volumes {
			if _, ok := u.p.Volumes[v.Source]; ok && v.Type == types.VolumeTypeVolume {
				used[v.Source] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// networkNames and volumeNames give the names on the host of what a service's containers are to be attached to.
func networkNames(p *project.Project, svc types.ServiceConfig) []string {
	var names []string
	for key := range svc.Networks {
		if n, ok := p.Networks[key]; ok {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

func volumeNames(p *project.Project, svc types.ServiceConfig) []string {
	var names []string
	for _, m := range svc.Volumes {
		if v, ok := p.Volumes[m.Source]; ok && m.Type == types.VolumeTypeVolume {
			names = append(names, v.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
