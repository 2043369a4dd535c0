package plan

import (
	"fmt"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project"
)

// judgeNetworks gives a verdict on every network that a selected service uses. A network without a recorded
// hash, and one that was not made for the project, is used as it is.
func (u *up) judgeNetworks() error {
	for _, key := range u.usedNetworks() {
		n := u.p.Networks[key]
		r := &resource{kind: "network", key: key, name: n.Name, outcome: OutcomeKeep, why: "up to date"}
		owned, found := findNetwork(u.have.Networks, key, n.Name)
		switch want := u.want.Networks[key]; {
		case bool(n.External):
			if found == nil && !alwaysThere(n.Name) {
				return &ExternalError{Kind: r.kind, Key: key, Name: n.Name}
			}
			r.why = "external"
		case owned == nil && found == nil:
			r.outcome, r.why = OutcomeCreate, "not there"
		case owned == nil:
			r.why = "was there"
			u.notice("networks."+key, fmt.Sprintf("a network with the name %q exists but was not made for project %q; set external: true to use it without this notice", n.Name, u.p.Name))
		case owned.Name != n.Name:
			r.outcome, r.why, r.old = OutcomeCreate, fmt.Sprintf("was named %q", owned.Name), owned.Name
		case owned.Hash == "" || want == "" || owned.Hash == want:
		case u.pol.Recreate == RecreateNever || u.pol.RecreateDeps == RecreateNever:
			r.why = "configuration changed, but nothing is to be replaced"
		default:
			r.outcome, r.why, r.old = OutcomeReplace, "configuration changed", n.Name
		}
		u.networks = append(u.networks, r)
	}
	return nil
}

// judgeVolumes gives a verdict on every volume that a selected service uses. A volume of another configuration
// is replaced, with the loss of its data, only if the user said so; of another name it is made, and the old one kept.
func (u *up) judgeVolumes() error {
	for _, key := range u.usedVolumes() {
		v := u.p.Volumes[key]
		r := &resource{kind: "volume", key: key, name: v.Name, outcome: OutcomeKeep, why: "up to date"}
		owned, found := findVolume(u.have.Volumes, key, v.Name)
		switch want := u.want.Volumes[key]; {
		case bool(v.External):
			if found == nil {
				return &ExternalError{Kind: r.kind, Key: key, Name: v.Name}
			}
			r.why = "external"
		case owned == nil && found == nil:
			r.outcome, r.why = OutcomeCreate, "not there"
		case owned == nil:
			r.why = "was there"
			if !u.p.Legacy {
				u.notice("volumes."+key, fmt.Sprintf("a volume with the name %q exists but was not made for project %q; set external: true to use it without this notice", v.Name, u.p.Name))
			}
		case owned.Name != v.Name:
			r.outcome, r.why = OutcomeCreate, fmt.Sprintf("was named %q, which is kept", owned.Name)
		case owned.Hash == "" || want == "" || owned.Hash == want:
		default:
			u.judgeChangedVolume(r)
		}
		u.volumes = append(u.volumes, r)
	}
	return nil
}

func (u *up) judgeChangedVolume(r *resource) {
	question := Question{
		Key:  "volume " + r.name,
		Text: fmt.Sprintf("volume %q exists, but its configuration in the file is another one now: replace it? Its data will be lost", r.name),
	}
	if u.pol.Approved[question.Key] {
		r.outcome, r.why, r.old = OutcomeReplace, "configuration changed", r.name
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

// findNetwork gives the project's own network for a key, preferably of that name, and any network of that name.
func findNetwork(all []Network, key, name string) (owned, found *Network) {
	for i := range all {
		n := &all[i]
		if n.Name == name {
			found = n
		}
		if n.Owned && (n.Key == key || n.Name == name) && (owned == nil || better(n.Name, owned.Name, name)) {
			owned = n
		}
	}
	return owned, found
}

// findVolume is findNetwork for volumes.
func findVolume(all []Volume, key, name string) (owned, found *Volume) {
	for i := range all {
		v := &all[i]
		if v.Name == name {
			found = v
		}
		if v.Owned && (v.Key == key || v.Name == name) && (owned == nil || better(v.Name, owned.Name, name)) {
			owned = v
		}
	}
	return owned, found
}

// better prefers the wanted name, then the one that sorts first.
func better(a, b, wanted string) bool {
	return a == wanted || b != wanted && a < b
}

func (u *up) usedNetworks() []string {
	used := map[string]bool{}
	for name := range u.selected {
		for key := range u.p.Services[name].Networks {
			if _, ok := u.p.Networks[key]; ok {
				used[key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

func (u *up) usedVolumes() []string {
	used := map[string]bool{}
	for name := range u.selected {
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
