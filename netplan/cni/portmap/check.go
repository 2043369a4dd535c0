package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"berth/netplan"
	"berth/netplan/ports"

	"github.com/containerd/errdefs"
)

// Claim is what an owner is going to publish.
type Claim struct {
	Owner string
	Ports []netplan.Port
}

// TakenError says who has a port.
type TakenError struct {
	Port  netplan.Port // with Count 1
	Wants string       // the owner that asked for it
	// Owner has the port, if that is one of this engine's; else Process does, "" if it is not known.
	Owner   string
	Process string
	// Both says that Owner is part of the same request.
	Both bool
}

func (e *TakenError) Error() string {
	port := describe(e.Port)
	switch {
	case e.Both && sameService(e.Owner, e.Wants):
		return fmt.Sprintf("port %s is wanted by more than one replica of %s", port, who(e.Wants))
	case e.Both:
		return fmt.Sprintf("port %s is wanted by both %s and %s", port, who(e.Owner), who(e.Wants))
	case e.Owner != "":
		return fmt.Sprintf("port %s is taken by %s", port, who(e.Owner))
	case e.Process != "":
		return fmt.Sprintf("port %s is taken by %s", port, e.Process)
	}
	return fmt.Sprintf("port %s is taken by a process that cannot be seen from here", port)
}

// Unwrap makes it "already exists" for containerd/errdefs.
func (e *TakenError) Unwrap() error { return errdefs.ErrAlreadyExists }

// Hint says what to change, or what to stop.
func (e *TakenError) Hint() string {
	change := "change the published port"
	if _, service, ok := split(e.Wants); ok {
		change = "change services." + service + ".ports in the compose file"
	}
	if e.Both {
		if e.Owner == e.Wants || sameService(e.Owner, e.Wants) {
			return change + " to a range with a port for each replica, such as \"8080-8089:80\""
		}
		return change
	}
	if project, _, ok := split(e.Owner); ok {
		return change + ", or stop the other: berth -p " + project + " down"
	}
	return change + ", or stop what has it"
}

func sameService(a, b string) bool {
	pa, sa, _ := split(a)
	pb, sb, ok := split(b)
	return ok && pa == pb && sa == sb
}

// split reads an owner of the form "project/service/number".
func split(owner string) (project, service string, ok bool) {
	parts := strings.Split(owner, "/")
	if len(parts) != 3 {
		return "", "", false
	}
	return parts[0], parts[1], true
}

func who(owner string) string {
	if project, service, ok := split(owner); ok {
		return fmt.Sprintf("project %q, service %q", project, service)
	}
	return fmt.Sprintf("%q", owner)
}

// describe is "8080/tcp" or "127.0.0.1:8080/tcp".
func describe(p netplan.Port) string {
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		return fmt.Sprintf("%s/%s", netip.AddrPortFrom(p.HostIP, p.Published), p.Protocol)
	}
	return fmt.Sprintf("%d/%s", p.Published, p.Protocol)
}

// name turns a port that is taken on the host into an error with the name of who has it.
func (b *Book) name(err error, wants string) error {
	var t *takenAt
	if !errors.As(err, &t) {
		return err
	}
	e := &TakenError{Port: t.port, Wants: wants}
	e.Process, _ = ports.Holder(t.port.Protocol, t.at)
	return e
}

// holder is who among the owners has a port that meets p; owner itself does not count.
func (b *Book) holder(owner string, p netplan.Port) string {
	for other, e := range b.owners {
		if other == owner || !e.Active {
			continue
		}
		for _, q := range e.Ports {
			if meet(p, q) {
				return other
			}
		}
	}
	return ""
}

// meet says if two entries want a port in common at an address in common.
func meet(p, q netplan.Port) bool {
	if p.Protocol != q.Protocol || p.Published == 0 || q.Published == 0 {
		return false
	}
	if int(p.Published)+int(max(p.Count, 1)) <= int(q.Published) || int(q.Published)+int(max(q.Count, 1)) <= int(p.Published) {
		return false
	}
	for _, a := range addresses(p.HostIP) {
		for _, b := range addresses(q.HostIP) {
			if a.Is4() == b.Is4() && (a == b || a.IsUnspecified() || b.IsUnspecified()) {
				return true
			}
		}
	}
	return false
}

// common is the first port that both want.
func common(p, q netplan.Port) netplan.Port {
	p.Published, p.Count = max(p.Published, q.Published), 1
	return p
}

// Check finds out whether the claims could be met, changing nothing: against each other, against what owners have,
// and against the other processes of the host. Ports that an owner of a claim has already are its own.
func (b *Book) Check(claims []Claim) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	var seen []resolved
	for _, c := range claims {
		for _, w := range c.Ports {
			if w.Published == 0 {
				continue
			}
			p, err := b.check(c.Owner, w, seen, claims)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			seen = append(seen, resolved{c.Owner, p})
		}
	}
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return &manyTaken{errs}
}

// resolved is a claim with the port that it would get.
type resolved struct {
	owner string
	port  netplan.Port
}

// check finds the port that one entry would get. Owners of the same request give up what they have and no longer
// want, so only those that are not part of it stand in the way with what is recorded.
func (b *Book) check(owner string, w netplan.Port, seen []resolved, claims []Claim) (netplan.Port, error) {
	var last error
	for published := range b.candidates(owner, w, 0) {
		p := w
		p.Published = published
		if err := b.conflict(owner, p, seen, claims); err != nil {
			last = err
			continue
		}
		return p, nil
	}
	return w, last
}

func (b *Book) conflict(owner string, p netplan.Port, seen []resolved, claims []Claim) error {
	for _, s := range seen {
		if meet(p, s.port) {
			return &TakenError{Port: common(p, s.port), Wants: owner, Owner: s.owner, Both: true}
		}
	}
	mine := false
	for other, e := range b.owners {
		if !e.Active {
			continue
		}
		for _, q := range e.Ports {
			if !meet(p, q) {
				continue
			}
			if !claimed(claims, other) {
				return &TakenError{Port: common(p, q), Wants: owner, Owner: other}
			}
			mine = true
		}
	}
	if mine {
		return nil // our own sockets are in the way
	}
	held, err := hold(p, Targets{IPv4: netip.AddrFrom4([4]byte{127, 0, 0, 1})})
	for _, h := range held {
		h.Close()
	}
	if err != nil {
		return b.name(err, owner)
	}
	return nil
}

func claimed(claims []Claim, owner string) bool {
	for _, c := range claims {
		if c.Owner == owner {
			return true
		}
	}
	return false
}

// manyTaken is several conflicts of one request, one to a line.
type manyTaken struct{ errs []error }

func (e *manyTaken) Error() string {
	lines := make([]string, 0, len(e.errs))
	for _, err := range e.errs {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

func (e *manyTaken) Unwrap() []error { return e.errs }

// Hint is that of the first conflict.
func (e *manyTaken) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.errs[0], &h) {
		return h.Hint()
	}
	return ""
}
