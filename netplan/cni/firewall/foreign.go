package firewall

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// foreignMarks makes and knows the comments on rules in chains of others.
type foreignMarks struct{ tag string }

func (m foreignMarks) comment() string { return "berth " + m.tag }

func (m foreignMarks) data() []byte {
	return userdata.AppendString(nil, userdata.TypeComment, m.comment())
}

func (m foreignMarks) ours(r *nftables.Rule) bool {
	s, ok := userdata.GetString(r.UserData, userdata.TypeComment)
	return ok && s == m.comment()
}

// assertForeign puts our rules at the head of every foreign chain that could drop what our bridges forward, and
// takes away what is out of date. A chain that cannot be changed is no reason to fail, as its rules may let ours
// through: it is warned of, once.
func (t *Table) assertForeign() error { return t.foreign(t.patterns()) }

func (t *Table) removeForeign() error { return t.foreign(nil) }

// LockedError says that a chain which decides on forwarded packets lets nobody but its owner change it.
type LockedError struct {
	Table, Chain string
	Bridges      []string
	err          error
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("let packets of our networks through nftables chain %s %s: %v", e.Table, e.Chain, e.err)
}

func (e *LockedError) Unwrap() error { return e.err }

// Hint says how to have the owner let them through.
func (e *LockedError) Hint() string {
	hint := "have the owner of that table accept what is forwarded from and to " + strings.Join(e.Bridges, ", ")
	if e.Table == "firewalld" && len(e.Bridges) > 0 {
		hint += ": firewall-cmd --zone=trusted --change-interface=" + e.Bridges[0]
	}
	return hint
}

// pattern matches links: all whose names begin with text, or the one that is called so.
type pattern struct {
	text   string
	prefix bool
}

// patterns are the links that have to be let through: those with the engine's prefix, and those with names that the
// compose files ask for.
func (t *Table) patterns() []pattern {
	out := []pattern{{t.prefix, true}}
	for _, n := range t.networks {
		if !strings.HasPrefix(n.Bridge, t.prefix) {
			out = append(out, pattern{n.Bridge, false})
		}
	}
	slices.SortFunc(out[1:], func(a, b pattern) int { return strings.Compare(a.text, b.text) })
	return out
}

func (t *Table) foreign(want []pattern) error {
	chains, err := t.foreignChains()
	if err != nil {
		return err
	}
	for _, c := range chains {
		w := want
		if c.never {
			w = nil
		}
		// One at a time: a chain that refuses, or went meanwhile, must not keep the others from their rules.
		err := t.foreignChain(c.Chain, w)
		name := c.Table.Name + " " + c.Name
		if err == nil || errors.Is(err, unix.ENOENT) {
			delete(t.warned, name)
			continue
		}
		if !t.warned[name] {
			t.warned[name] = true
			t.warn(&LockedError{c.Table.Name, c.Name, t.bridges(), err})
		}
	}
	return nil
}

func (t *Table) bridges() []string {
	var out []string
	for _, n := range t.networks {
		out = append(out, n.Bridge)
	}
	slices.Sort(out)
	return out
}

type foreignChain struct {
	*nftables.Chain
	// never: not the place for our rules; they are only looked for, to be taken away.
	never bool
}

// foreignChains are the base chains at the forward hook of the families that see IP packets, but for those of
// engines. Where Docker keeps its chain for the administrator, that one stands for the base chain, as Docker puts its
// own rules above everything else in there but not above this.
func (t *Table) foreignChains() ([]foreignChain, error) {
	all, err := t.conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	user := map[nftables.Table]*nftables.Chain{}
	for _, c := range all {
		if c.Name == "DOCKER-USER" {
			user[nftables.Table{Name: c.Table.Name, Family: c.Table.Family}] = c
		}
	}
	var out []foreignChain
	for _, c := range all {
		switch c.Table.Family {
		case nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet:
		default:
			continue
		}
		if c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward || c.Type != nftables.ChainTypeFilter || strings.HasPrefix(c.Table.Name, tablePrefix) {
			continue
		}
		u := user[nftables.Table{Name: c.Table.Name, Family: c.Table.Family}]
		out = append(out, foreignChain{c, u != nil})
		if u != nil {
			out = append(out, foreignChain{u, false})
		}
	}
	return out, nil
}

// foreignChain makes our rules in one chain those of want, at its head.
func (t *Table) foreignChain(c *nftables.Chain, want []pattern) error {
	rules, err := t.conn.GetRules(c.Table, c)
	if err != nil {
		return err
	}
	lines := acceptRules(want)
	if t.inPlace(rules, lines) {
		return nil
	}
	for _, r := range rules {
		if t.marks.ours(r) {
			if err := t.conn.DelRule(&nftables.Rule{Table: c.Table, Chain: c, Handle: r.Handle}); err != nil {
				return err
			}
		}
	}
	// Each goes before the one that was put in last, so the last line is put in first.
	for _, l := range slices.Backward(lines) {
		t.conn.InsertRule(&nftables.Rule{Table: c.Table, Chain: c, Exprs: l, UserData: t.marks.data()})
	}
	return t.flush()
}

// inPlace says if our rules are those that are wanted, before all rules but those of other engines.
func (t *Table) inPlace(rules []*nftables.Rule, lines [][]expr.Any) bool {
	i := 0
	for pos, r := range rules {
		if !t.marks.ours(r) {
			continue
		}
		if i >= len(lines) || link(r.Exprs) != link(lines[i]) {
			return false
		}
		for _, before := range rules[:pos] {
			if s, _ := userdata.GetString(before.UserData, userdata.TypeComment); !strings.HasPrefix(s, "berth ") {
				return false
			}
		}
		i++
	}
	return i == len(lines)
}

// link is what a rule of acceptRules compares, to tell two of them apart.
func link(exprs []expr.Any) string {
	var key expr.MetaKey
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Meta:
			key = e.Key
		case *expr.Cmp:
			return fmt.Sprintf("%d %q", key, e.Data)
		}
	}
	return ""
}

// acceptRules accept what comes in from the links and what goes out to them.
func acceptRules(want []pattern) [][]expr.Any {
	var out [][]expr.Any
	for _, p := range want {
		data := []byte(p.text)
		if !p.prefix {
			data = append(data, 0)
		}
		for _, key := range []expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME} {
			out = append(out, []expr.Any{
				&expr.Meta{Key: key, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data},
				&expr.Counter{},
				&expr.Verdict{Kind: expr.VerdictAccept},
			})
		}
	}
	return out
}
