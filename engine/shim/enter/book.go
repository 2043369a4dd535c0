package enter

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// book is what is read of runc's own book of a container, its state.json. It has what "runc exec" goes by.
type book struct {
	ID          string            `json:"id"`
	CgroupPaths map[string]string `json:"cgroup_paths"`
	RDT         string            `json:"intel_rdt_path"`
	Config      struct {
		Umask        *uint32         `json:"umask"`
		Namespaces   []namespace     `json:"namespaces"`
		Capabilities *capabilitySets `json:"capabilities"`
		AppArmor     string          `json:"apparmor_profile"`
		Label        string          `json:"process_label"`
		Rlimits      []rlimit        `json:"rlimits"`
		OOMScoreAdj  *int            `json:"oom_score_adj"`
		Seccomp      json.RawMessage `json:"seccomp"`
		NoNewKeyring bool            `json:"no_new_keyring"`
		Mounts       []mount         `json:"mounts"`
		Rootless     bool            `json:"rootless_euid"`

		// With one of these, runc does it.
		rest
	} `json:"config"`
}

// rest is of a book what runc has to do if it is there.
type rest struct {
	UIDMappings  json.RawMessage `json:"uid_mappings"`
	GIDMappings  json.RawMessage `json:"gid_mappings"`
	IntelRDT     json.RawMessage `json:"intel_rdt"`
	MemoryPolicy json.RawMessage `json:"memory_policy"`
	TimeOffsets  json.RawMessage `json:"time_offsets"`
	Scheduler    json.RawMessage `json:"scheduler"`
	Personality  json.RawMessage `json:"personality"`
	IOPriority   json.RawMessage `json:"io_priority"`
	CPUAffinity  json.RawMessage `json:"exec_cpu_affinity"`
}

type namespace struct {
	Type string `json:"type"`
}

type rlimit struct {
	Type uint64 `json:"type"`
	Hard uint64 `json:"hard"`
	Soft uint64 `json:"soft"`
}

type mount struct {
	Source string `json:"source"`
	Device string `json:"device"`
	Flags  int    `json:"flags"`
}

// ofCgroups says whether something in a container is where cgroups are made and changed.
func (m mount) ofCgroups() bool {
	const root = "/sys/fs/cgroup"
	within := m.Source == root || strings.HasPrefix(m.Source, root+"/") || m.Source == "/sys" || m.Source == "/sys/fs"
	return m.Flags&unix.MS_RDONLY == 0 && (strings.HasPrefix(m.Device, "cgroup") || m.Device == "bind" && within)
}

// capabilitySets are written the same way by runc and in a process of the runtime specification, but for case.
type capabilitySets struct {
	Bounding, Effective, Inheritable, Permitted, Ambient []string
}

// Container is what a container's further processes have in common. It may be used by many at a time.
type Container struct {
	id, bundle string
	umask      *uint32
	namespaces uint32
	caps       *capabilitySets
	rlimits    []rlimit
	oomScore   *int
	keyring    bool
	cgroup2    string   // "": none
	cgroups    []string // files to write to
	profile    *profile // nil: no filter
	// nests says that it may give its cgroup of version 2 children. Who does has to move all processes out of it first, and can't
	// move one that it does not see.
	nests bool

	mu      sync.Mutex
	filter  []byte // of the profile, once it is known
	spec    string // the last process that was asked for
	request []byte // and what the program was told for it
}

// Container reads runc's book in the folder dir of a container. bundle is the container's own folder.
func (e *Enterer) Container(dir, id, bundle string) (*Container, error) {
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return nil, err
	}
	var b book
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("read runc's book: %w", err)
	}
	if b.ID != id || b.RDT != "" || b.Config.AppArmor != "" || b.Config.Label != "" || b.Config.Rootless || !b.Config.empty() {
		return nil, ErrOther
	}
	c := &Container{
		id: id, bundle: bundle, umask: b.Config.Umask, caps: b.Config.Capabilities, rlimits: b.Config.Rlimits,
		oomScore: b.Config.OOMScoreAdj, keyring: !b.Config.NoNewKeyring,
	}
	if c.namespaces, err = namespaceFlags(b.Config.Namespaces); err != nil {
		return nil, err
	}
	if c.cgroup2, c.cgroups, err = cgroupFiles(b.CgroupPaths); err != nil {
		return nil, err
	}
	admin := c.caps != nil && slices.Contains(c.caps.Bounding, "CAP_SYS_ADMIN")
	c.nests = c.cgroup2 != "" && (admin || slices.ContainsFunc(b.Config.Mounts, mount.ofCgroups))
	if len(b.Config.Seccomp) > 0 && string(b.Config.Seccomp) != "null" {
		if c.profile, err = readProfile(b.Config.Seccomp); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (r rest) empty() bool {
	return !slices.ContainsFunc([]json.RawMessage{
		r.UIDMappings, r.GIDMappings, r.IntelRDT, r.MemoryPolicy, r.TimeOffsets, r.Scheduler, r.Personality, r.IOPriority, r.CPUAffinity,
	}, func(m json.RawMessage) bool { return len(m) > 0 && string(m) != "null" })
}

// namespaceFlags are those that runc joins: what the container has been given, its own or another's. What it shares
// with the host, the program is in already.
func namespaceFlags(given []namespace) (flags uint32, err error) {
	known := map[string]uint32{
		"NEWNS": unix.CLONE_NEWNS, "NEWNET": unix.CLONE_NEWNET, "NEWUTS": unix.CLONE_NEWUTS, "NEWIPC": unix.CLONE_NEWIPC,
		"NEWPID": unix.CLONE_NEWPID, "NEWCGROUP": unix.CLONE_NEWCGROUP,
	}
	for _, n := range given {
		flag := known[n.Type]
		if flag == 0 {
			return 0, ErrOther
		}
		flags |= flag
	}
	if flags&unix.CLONE_NEWNS == 0 {
		return 0, ErrOther
	}
	return flags, nil
}

// cgroupFiles gives the folder of version 2, which a process is born into, and for each hierarchy of version 1 the file
// by which one thread joins.
func cgroupFiles(paths map[string]string) (v2 string, v1 []string, err error) {
	if len(paths) == 0 {
		return "", nil, ErrOther
	}
	for controller, path := range paths {
		switch file := filepath.Join(path, "tasks"); {
		case !filepath.IsAbs(path):
			return "", nil, ErrOther
		case controller == "":
			v2 = path
		case !slices.Contains(v1, file): // several may be mounted together
			v1 = append(v1, file)
		}
	}
	slices.Sort(v1)
	return v2, v1, nil
}

// profile is a seccomp profile, in runc's words.
type profile struct {
	sum   [sha256.Size]byte
	flags uint32 // for the kernel
}

func readProfile(text json.RawMessage) (*profile, error) {
	var p struct {
		DefaultAction int      `json:"default_action"`
		Flags         []string `json:"flags"`
		Listener      string   `json:"listener_path"`
		Syscalls      []struct {
			Action int `json:"action"`
		} `json:"syscalls"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("read seccomp profile: %w", err)
	}
	const notify = 7 // configs.Notify
	if p.Listener != "" || p.DefaultAction == notify {
		return nil, ErrOther
	}
	for _, s := range p.Syscalls {
		if s.Action == notify {
			return nil, ErrOther
		}
	}
	out := &profile{sum: sha256.Sum256(text)}
	for _, f := range p.Flags {
		switch f {
		case "SECCOMP_FILTER_FLAG_TSYNC": // there is one thread
		case "SECCOMP_FILTER_FLAG_LOG":
			out.flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case "SECCOMP_FILTER_FLAG_SPEC_ALLOW":
			out.flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		default:
			return nil, ErrOther
		}
	}
	return out, nil
}
