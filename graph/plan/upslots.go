package plan

import (
	"cmp"
	"fmt"
	"slices"

	"berth/project"
)

// judgeService gives a verdict on the containers of an enabled service.
func (u *up) judgeService(name string, have []*Container) error {
	s := &service{name: name, cfg: u.p.Services[name], selected: u.selected[name]}
	if s.cfg.Provider != nil {
		if s.selected {
			u.notice("services."+name+".provider", fmt.Sprintf("service %q is run by a provider, which is not supported yet", name))
		}
		return nil
	}
	if !s.selected && len(have) == 0 {
		return nil
	}
	u.services[name] = s
	u.inOrder = append(u.inOrder, s)

	current := u.resolveDuplicates(s, have)
	if !s.selected {
		u.judgePushed(s, current)
		return nil
	}
	scale := s.cfg.GetScale()
	if s.cfg.ContainerName != "" && scale > 1 {
		return &ScaleError{Service: name, Name: s.cfg.ContainerName, Scale: scale}
	}
	for _, sl := range current {
		sl.outcome, sl.why = u.judgeSlot(s, sl.have)
		sl.start = !u.pol.NoStart
	}
	u.scaleDown(s, current, scale)
	u.scaleUp(s, scale, have)
	return nil
}

// resolveDuplicates gives one slot for each number. Of several containers in a slot, which a crash may leave
// behind, the newest counts; the others go.
func (u *up) resolveDuplicates(s *service, have []*Container) []*slot {
	have = slices.Clone(have)
	slices.SortFunc(have, func(a, b *Container) int {
		return cmp.Or(
			cmp.Compare(a.Slot.Number, b.Slot.Number),
			compareBools(a.State == Dead, b.State == Dead),
			-cmp.Compare(a.Created, b.Created),
			compareStrings(a.ID, b.ID))
	})
	var slots []*slot
	for _, c := range have {
		switch {
		case c.Slot.Number <= 0:
			s.surplus = append(s.surplus, &surplus{Container: c, why: "has no number"})
		case len(slots) > 0 && slots[len(slots)-1].Number == c.Slot.Number:
			s.surplus = append(s.surplus, &surplus{Container: c, why: "a newer container has its place", older: true})
		default:
			slots = append(slots, &slot{Slot: c.Slot, service: s, name: c.Name, have: c})
		}
	}
	return slots
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// judgePushed looks at a service that was not asked for: its containers are replaced if what they are attached to
// is, and are started again if they were running. A replacement that was broken off is brought to its end.
func (u *up) judgePushed(s *service, current []*slot) {
	half := map[int]bool{}
	for _, x := range s.surplus {
		half[x.Slot.Number] = x.State != Dead
	}
	for _, sl := range current {
		why, must := u.mustReplace(s, sl.have)
		switch {
		case sl.have.State == Dead:
			continue
		case must:
			sl.outcome, sl.why, sl.start = OutcomeReplace, why, !u.pol.NoStart && (runs(sl.have) || half[sl.Number])
			s.replaced = true
		case half[sl.Number]:
			sl.outcome, sl.why, sl.start = OutcomeKeep, "was replaced", !u.pol.NoStart
			if !runs(sl.have) && sl.start {
				sl.outcome = OutcomeStart
			}
		default:
			continue
		}
		s.slots = append(s.slots, sl)
	}
	if len(s.slots) == 0 {
		s.surplus = nil
	}
}

// judgeSlot decides on a container that is there.
func (u *up) judgeSlot(s *service, c *Container) (Outcome, string) {
	if why, must := u.mustReplace(s, c); must {
		return OutcomeReplace, why
	}
	if why, diverged := u.diverged(s, c); diverged {
		return OutcomeReplace, why
	}
	switch c.State {
	case Running, Restarting:
		return OutcomeKeep, "up to date"
	case Paused:
		if u.pol.NoStart {
			return OutcomeKeep, "up to date"
		}
		return OutcomeUnpause, "is paused"
	}
	if u.pol.NoStart {
		return OutcomeKeep, "up to date"
	}
	return OutcomeStart, "not running"
}

// mustReplace gives the reasons that hold whatever the policy: the container can't go on as it is.
func (u *up) mustReplace(s *service, c *Container) (string, bool) {
	if c.State == Dead {
		return "is dead", true
	}
	if r := u.attachedTo(c, OutcomeReplace); r != nil {
		return fmt.Sprintf("%s %q is replaced", r.kind, r.name), true
	}
	for _, e := range u.g.Dependencies(s.name) {
		parent := u.services[e.To]
		if !e.Joins() || parent == nil {
			continue
		}
		if parent.replaced {
			return fmt.Sprintf("container of %q, which it shares, is replaced", e.To), true
		}
		if parent.selected && len(c.Joins) > 0 && len(parent.slots) > 0 && !parent.holds(c.Joins) {
			return fmt.Sprintf("container of %q, which it shared, is gone", e.To), true
		}
	}
	return "", false
}

// attachedTo gives a network or volume with an outcome that the container is attached to, or nil.
func (u *up) attachedTo(c *Container, o Outcome) *resource {
	for _, name := range c.Networks {
		if r := u.networkNamed[name]; r != nil && r.outcome == o {
			return r
		}
	}
	for _, name := range c.Volumes {
		if r := u.volumeNamed[name]; r != nil && r.outcome == o {
			return r
		}
	}
	return nil
}

// holds reports whether one of the service's kept containers is among ids.
func (s *service) holds(ids []string) bool {
	return slices.ContainsFunc(s.slots, func(sl *slot) bool { return sl.have != nil && slices.Contains(ids, sl.have.ID) })
}

// diverged gives the reasons that the policy can overrule.
func (u *up) diverged(s *service, c *Container) (string, bool) {
	target := len(u.targets) == 0 || u.targets[s.name]
	policy := u.pol.Recreate
	if !target {
		policy = u.pol.RecreateDeps
	}
	switch policy {
	case RecreateNever:
		return "", false
	case RecreateForce:
		if target {
			return "asked for", true
		}
		return "asked for, as a dependency", true
	}
	if want := u.want.Services[s.name]; want != "" && c.Hash != want {
		return "configuration changed", true
	}
	if digest := u.have.Images[ImageRef(u.p, s.name)]; digest != "" && c.Image != digest {
		return "image changed", true
	}
	return u.detached(s, c)
}

// detached finds a network or volume that the container should be attached to, and isn't.
func (u *up) detached(s *service, c *Container) (string, bool) {
	if r := u.attachedTo(c, OutcomeCreate); r != nil {
		return fmt.Sprintf("%s %q is made anew", r.kind, r.name), true
	}
	for _, name := range networkNames(u.p, s.cfg) {
		if !slices.Contains(c.Networks, name) {
			return fmt.Sprintf("not attached to network %q", name), true
		}
	}
	for _, name := range volumeNames(u.p, s.cfg) {
		if !slices.Contains(c.Volumes, name) {
			return fmt.Sprintf("not attached to volume %q", name), true
		}
	}
	return "", false
}

// scaleDown keeps as many slots as the scale asks for. Those that would be replaced go first, then those with the
// highest numbers.
func (u *up) scaleDown(s *service, current []*slot, scale int) {
	keepFirst := slices.Clone(current)
	slices.SortStableFunc(keepFirst, func(a, b *slot) int {
		return cmp.Or(
			compareBools(a.outcome == OutcomeReplace, b.outcome == OutcomeReplace),
			cmp.Compare(a.Number, b.Number))
	})
	if len(keepFirst) > scale {
		for _, sl := range keepFirst[scale:] {
			s.surplus = append(s.surplus, &surplus{Container: sl.have, why: fmt.Sprintf("scaled down to %d", scale)})
		}
		keepFirst = keepFirst[:scale]
	}
	slices.SortFunc(keepFirst, func(a, b *slot) int { return cmp.Compare(a.Number, b.Number) })
	s.slots = keepFirst
	for _, sl := range s.slots {
		s.replaced = s.replaced || sl.outcome == OutcomeReplace
	}
}

// scaleUp adds slots until there are as many as the scale asks for. Their numbers follow the highest that there
// is; gaps stay.
func (u *up) scaleUp(s *service, scale int, have []*Container) {
	next := 1
	for _, c := range have {
		next = max(next, c.Slot.Number+1)
	}
	for len(s.slots) < scale {
		sl := &slot{Slot: project.Slot{Service: s.name, Number: next}, service: s, outcome: OutcomeCreate, why: "not there", start: !u.pol.NoStart}
		sl.name = u.p.ContainerName(sl.Slot)
		s.slots = append(s.slots, sl)
		next++
	}
}

// checkJoins makes sure that what a new container shares is there, or made.
func (u *up) checkJoins() error {
	have := map[string]bool{}
	for i := range u.have.Containers {
		if c := &u.have.Containers[i]; !c.Oneoff {
			have[c.Slot.Service] = true
		}
	}
	for _, s := range u.inOrder {
		if !slices.ContainsFunc(s.slots, (*slot).isMade) {
			continue
		}
		for _, e := range u.g.Dependencies(s.name) {
			if !e.Joins() {
				continue
			}
			parent := u.services[e.To]
			missing := parent == nil && !have[e.To]
			if parent != nil && parent.selected && len(parent.slots) == 0 {
				missing = true
			}
			if missing {
				return &JoinError{Service: s.name, Field: string(e.Kinds[len(e.Kinds)-1]), Other: e.To}
			}
		}
	}
	return nil
}

// isMade reports whether a container is made for the slot.
func (sl *slot) isMade() bool { return sl.outcome == OutcomeCreate || sl.outcome == OutcomeReplace }

// runs reports whether a container has a process, or will have one again without anybody's doing.
func runs(c *Container) bool { return c.State == Running || c.State == Paused || c.State == Restarting }

// checkAttached makes sure that nothing runs on a network or volume that is replaced but what the plan replaces
// or removes.
func (u *up) checkAttached() error {
	going := map[string]bool{}
	for _, s := range u.inOrder {
		for _, sl := range s.slots {
			if sl.have != nil && sl.isMade() {
				going[sl.have.ID] = true
			}
		}
		for _, x := range s.surplus {
			going[x.ID] = true
		}
	}
	for _, c := range u.orphans {
		going[c.ID] = true
	}
	for i := range u.have.Containers {
		c := &u.have.Containers[i]
		if going[c.ID] || !runs(c) {
			continue
		}
		if r := u.attachedTo(c, OutcomeReplace); r != nil {
			return &InUseError{Kind: r.kind, Name: r.name, Container: c.Name}
		}
	}
	return nil
}
