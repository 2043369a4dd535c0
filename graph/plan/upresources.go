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
	nets, vols := existingNetworks(u.have.Networks), existingVolumes(u.have.Volumes)
	u.networkNamed, u.volumeNamed = map[string]*resource{}, map[string]*resource{}
	for _, key := range u.usedNetworks(u.selected) {
		if err := u.judgeNetwork(key, nets); err != nil {
			return err
		}
	}
	for _, key := range u.usedVolumes(u.selected) {
		if err := u.judgeVolume(key, vols); err != nil {
			return err
		}
	}
	return nil
}

// judgePushedResources adds the networks and volumes of the other services of which a container is made or started. They
// are made if they aren't there, and otherwise left as they are.
func (u *up) judgePushedResources() error {
	nets, vols := existingNetworks(u.have.Networks), existingVolumes(u.have.Volumes)
	pushed := map[string]bool{}
	for _, s := range u.inOrder {
		if !s.selected && slices.ContainsFunc(s.slots, func(sl *slot) bool { return sl.isMade() || sl.starts() }) {
			pushed[s.name] = true
		}
	}
	for _, key := range u.usedNetworks(pushed) {
		name := u.p.Networks[key].Name
		if _, found, _ := nets.find(key, name); !found && u.networkNamed[name] == nil {
			if err := u.judgeNetwork(key, nets); err != nil {
				return err
			}
		}
	}
	for _, key := range u.usedVolumes(pushed) {
		name := u.p.Volumes[key].Name
		if _, found, _ := vols.find(key, name); !found && u.volumeNamed[name] == nil {
			if err := u.judgeVolume(key, vols); err != nil {
				return err
			}
		}
	}
	return nil
}

// judgeNetwork gives a verdict on a network. One without a recorded hash, and one that was not made for the
// project, is used as it is.
func (u *up) judgeNetwork(key string, have existingThings) error {
	n := u.p.Networks[key]
	r := &resource{kind: "network", key: key, name: n.Name, outcome: OutcomeKeep, why: "up to date"}
	there, found, stale := have.find(key, n.Name)
	r.stale = stale
	switch want := u.want.Networks[key]; {
	case bool(n.External):
		if !found && !alwaysThere(n.Name) {
			return &ExternalError{Kind: r.kind, Key: key, Name: n.Name}
		}
		r.why = "external"
	case !found && len(stale) > 0:
		r.outcome, r.why = OutcomeCreate, fmt.Sprintf("was named %q", stale[0])
	case !found:
		r.outcome, r.why = OutcomeCreate, "not there"
	case !there.owned:
		r.why = "was there"
		u.notice("networks."+key, fmt.Sprintf("a network with the name %q exists but was not made for project %q; set external: true to use it without this notice", n.Name, u.p.Name))
	case there.hash == "" || want == "" || there.hash == want:
	case u.pol.Recreate == RecreateNever || u.pol.RecreateDeps == RecreateNever:
		r.why = "configuration changed, but nothing is to be replaced"
	default:
		r.outcome, r.why = OutcomeReplace, "configuration changed"
	}
	u.networks = append(u.networks, r)
	u.networkNamed[r.name] = r
	return nil
}

// judgeVolume gives a verdict on a volume. One of another configuration is replaced, with the loss of its data, only if
// the user said so; one of another name is made, and the old one kept.
func (u *up) judgeVolume(key string, have existingThings) error {
	v := u.p.Volumes[key]
	r := &resource{kind: "volume", key: key, name: v.Name, outcome: OutcomeKeep, why: "up to date"}
	there, found, former := have.find(key, v.Name)
	switch want := u.want.Volumes[key]; {
	case bool(v.External):
		if !found {
			return &ExternalError{Kind: r.kind, Key: key, Name: v.Name}
		}
		r.why = "external"
	case !found && len(former) > 0:
		r.outcome, r.why = OutcomeCreate, fmt.Sprintf("was named %q, which is kept", former[0])
	case !found:
		r.outcome, r.why = OutcomeCreate, "not there"
	case !there.owned:
		r.why = "was there"
		if !u.p.Legacy {
			u.notice("volumes."+key, fmt.Sprintf("a volume with the name %q exists but was not made for project %q; set external: true to use it without this notice", v.Name, u.p.Name))
		}
	case there.hash == "" || want == "" || there.hash == want:
	default:
		u.judgeChangedVolume(r)
	}
	u.volumes = append(u.volumes, r)
	u.volumeNamed[r.name] = r
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

// existingThings is an index of the networks or volumes of a host.
type existingThings struct {
	byName map[string]thing
	byKey  map[string][]string // names of the project's own
}

// thing is what Network and Volume have in common.
type thing struct {
	hash  string
	owned bool
}

func (e *existingThings) add(name, key, hash string, owned bool) {
	e.byName[name] = thing{hash, owned}
	if owned && key != "" {
		e.byKey[key] = append(e.byKey[key], name)
	}
}

// find gives the thing of a name, and the names of the project's that have the key under another name.
func (e *existingThings) find(key, name string) (t thing, found bool, former []string) {
	t, found = e.byName[name]
	for _, n := range e.byKey[key] {
		if n != name {
			former = append(former, n)
		}
	}
	slices.Sort(former)
	return t, found, former
}

func existingNetworks(all []Network) existingThings {
	e := existingThings{map[string]thing{}, map[string][]string{}}
	for _, n := range all {
		e.add(n.Name, n.Key, n.Hash, n.Owned)
	}
	return e
}

func existingVolumes(all []Volume) existingThings {
	e := existingThings{map[string]thing{}, map[string][]string{}}
	for _, v := range all {
		e.add(v.Name, v.Key, v.Hash, v.Owned)
	}
	return e
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
