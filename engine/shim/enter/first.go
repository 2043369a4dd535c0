package enter

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// First is what a container's first process is made of.
type First struct {
	ID          string
	Process     *specs.Process
	Umask       uint32
	OOMScore    *int
	CgroupPaths map[string]string
	Filter      *Filter // nil: none
	Steps       []Step  // in the order in which they are taken
	PrivatePID  bool    // it is the first one of its PID namespace
	Streams     [3]int
	Pipe        int // at which it waits for its start
}

// Step is something that a first process does on its way.
type Step struct {
	What    What
	A       uint32
	B, C, D uint64
	Text    []string
}

// What says what a step is; program/create.c has the meaning of its numbers and texts.
type What uint32

// The steps, in the program's order.
const (
	Join What = iota + 1
	Unshare
	Loopback
	Base
	Leave
	Keep
	Return
	Root
	Mount
	Tree
	TreeAttr
	TreeAt
	TreeIn
	Folder
	Proc
	Node
	Link
	Pivot
	Nulls
	Work
	Remount
	Hostname
	Domainname
	AppArmor
	Sysctl
	ReadOnly
	Mask
)

// KeptMost is how many Keep steps there can be.
const KeptMost = 256

// How something is mounted, which is A of a Mount.
const (
	NoLinks = 1 << iota // it must be where its path says
	OfTmpfs             // it gets the mode of the folder that it hides
	OnProc              // it is what belongs on /proc
)

// stepNumbers is the program's struct step.
type stepNumbers struct {
	What, A uint32
	B, C, D uint64
}

// FirstStep is the number that the program gives to the first of a container's steps when it tells of a failure.
const FirstStep = 100

// First begins a container's first process, which becomes a child of the caller's. See Start; only the wait has no end but
// GiveUp, as a mount may take its time.
func (e *Enterer) First(f *First) (*Entering, error) {
	if e.prepare.Do(e.ready); e.err != nil {
		return nil, e.err
	}
	c := &Container{id: f.ID, umask: &f.Umask, oomScore: f.OOMScore, keyring: true}
	var err error
	if c.cgroup2, c.cgroups, err = cgroupFiles(f.CgroupPaths); err != nil {
		return nil, err
	}
	var program []byte
	if f.Filter != nil {
		c.profile, program = f.Filter.profile, f.Filter.program
	}
	request, err := c.encode(f.Process, program, e.lastCap, f.Steps)
	if err != nil {
		return nil, err
	}
	o := order{What: 'C'}
	if f.PrivatePID {
		o.Tag = unix.CLONE_NEWPID
	}
	p, err := e.ask(o.encode(), request, c.cgroup2, f.Streams, f.Pipe)
	if err != nil {
		return nil, err
	}
	p.patient = true
	return p, nil
}

// Filter is a seccomp filter as runc has compiled it.
type Filter struct {
	profile *profile
	program []byte
}

// Filter gives the filter that runc makes of a profile, which is as it is in runc's book. Where that isn't known, it is
// ErrUnknownFilter, and runc leaves it for next time with the container that it makes in the folder bundle. store is a
// folder for what is known, in which it may be found by others.
func (e *Enterer) Filter(text json.RawMessage, store, bundle string) (*Filter, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum := sha256.Sum256(text)
	if f := e.found[sum]; f != nil {
		return f, nil
	}
	p, err := readProfile(text)
	if err != nil {
		return nil, err
	}
	if e.filters[p.sum] == nil {
		program, err := e.kept(p, store, bundle)
		if err != nil {
			return nil, fmt.Errorf("find compiled filter: %w", err)
		}
		e.filters[p.sum] = program
	}
	f := &Filter{profile: p, program: e.filters[p.sum]}
	e.found[sum] = f
	return f, nil
}
