package host

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Scope is what an audit looks at: one engine, and one network.
type Scope struct {
	// Root and State are the engine's folders.
	Root, State string
	// Group is the name of the engine's control group, "" if they are not looked at.
	Group string
	// Network is looked at whole; nil is the test process's own.
	Network *Namespace
	// FoldersOnly leaves the network out: somebody else audits it.
	FoldersOnly bool
}

// Snapshot is the state of a host as far as an engine may change it: lines, each naming one thing.
type Snapshot struct{ lines []string }

// Observe takes a snapshot.
func Observe(s Scope) (Snapshot, error) {
	var lines []string
	var errs []error
	add := func(what string, list func() ([]string, error)) {
		got, err := list()
		if err != nil {
			errs = append(errs, fmt.Errorf("observe %s: %w", what, err))
		}
		for _, line := range got {
			lines = append(lines, what+" "+line)
		}
	}
	add("mount", func() ([]string, error) { return mounts(s) })
	add("process", func() ([]string, error) { return processes(s) })
	add("control group", func() ([]string, error) { return groups(s) })
	if s.FoldersOnly {
		sort.Strings(lines)
		return Snapshot{lines}, errors.Join(errs...)
	}
	inside := func(list func() ([]string, error)) func() ([]string, error) {
		return func() (got []string, err error) {
			err = s.Network.Do(func() (err error) { got, err = list(); return err })
			return got, err
		}
	}
	add("link", inside(links))
	add("address", inside(addresses))
	add("route", inside(routes))
	add("nftables", inside(nftablesObjects))
	add("sysctl", inside(sysctls))
	sort.Strings(lines)
	return Snapshot{lines}, errors.Join(errs...)
}

// Changes says what is there after that was not before, and the other way round.
func (before Snapshot) Changes(after Snapshot) []string {
	var changes []string
	for _, line := range after.lines {
		if _, found := slices.BinarySearch(before.lines, line); !found {
			changes = append(changes, "left behind: "+line)
		}
	}
	for _, line := range before.lines {
		if _, found := slices.BinarySearch(after.lines, line); !found {
			changes = append(changes, "taken away: "+line)
		}
	}
	return changes
}

// String is the whole snapshot, a thing a line.
func (before Snapshot) String() string { return strings.Join(before.lines, "\n") }
