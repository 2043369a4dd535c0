package enter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	// requestMost, stringsMost and stepsMost are what the program has room for.
	requestMost = 96 << 10
	stringsMost = 2000
	stepsMost   = 1024
)

// The program's flags.
const (
	flagNoNewPrivs = 1 << iota
	flagUmask
	flagHome
	flagFilter
	flagOOMScore
	flagKeyring
)

// header is the program's struct request. Behind it come limits, filter, steps, groups, and strings.
type header struct {
	Size, Flags, Namespaces                                    uint32
	UID, GID, Umask                                            uint32
	LastCap, FilterFlags                                       uint32
	Limits, Filter, Steps, Groups                              uint32
	Cgroups, Args, Env, _                                      uint32
	Bounding, Effective, Permitted, Inheritable, AmbientRights uint64
}

// userOf gives a request's user.
func userOf(request []byte) uint32 {
	var h header
	_, _ = binary.Decode(request, binary.NativeEndian, &h) // it was encoded here
	return h.UID
}

// requestFor gives what the program is told, for a process of the runtime specification in JSON. That of the last
// process is kept: a health check asks for the same again and again.
func (e *Enterer) requestFor(c *Container, spec []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.request != nil && string(spec) == c.spec {
		return c.request, nil
	}
	var p specs.Process
	if err := json.Unmarshal(spec, &p); err != nil {
		return nil, fmt.Errorf("read process: %w", err)
	}
	b, err := c.encode(&p, c.filter, e.lastCap, nil)
	if err != nil {
		return nil, err
	}
	c.spec, c.request = string(spec), b
	return b, nil
}

// forgetRequest gives up the request that is kept, of a process that is not to be asked for soon.
func (c *Container) forgetRequest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spec, c.request = "", nil
}

func (c *Container) encode(p *specs.Process, filter []byte, lastCap int, steps []Step) ([]byte, error) {
	switch {
	case p.Terminal, p.SelinuxLabel != "", p.ApparmorProfile != "", p.Scheduler != nil, p.IOPriority != nil, p.ExecCPUAffinity != nil:
		return nil, ErrOther
	case !filepath.IsAbs(p.Cwd), len(p.Args) == 0, slices.Contains([]string{"", ".", ".."}, p.Args[0]):
		return nil, ErrOther
	}
	h := header{
		Flags: 0, Namespaces: c.namespaces, UID: p.User.UID, GID: p.User.GID, LastCap: uint32(lastCap),
		Filter: uint32(len(filter) / 8), Groups: uint32(len(p.User.AdditionalGids)), Cgroups: uint32(len(c.cgroups)), Args: uint32(len(p.Args)),
		Steps: uint32(len(steps)),
	}
	if p.NoNewPrivileges {
		h.Flags |= flagNoNewPrivs
	}
	if c.umask != nil {
		h.Flags, h.Umask = h.Flags|flagUmask, *c.umask
	}
	if c.profile != nil {
		h.Flags, h.FilterFlags = h.Flags|flagFilter, c.profile.flags
	}
	oomScore, keyring := "", ""
	if c.oomScore != nil {
		h.Flags, oomScore = h.Flags|flagOOMScore, strconv.Itoa(*c.oomScore)
	}
	if c.keyring {
		h.Flags, keyring = h.Flags|flagKeyring, "_ses."+c.id
	}
	env, home, err := prepareEnv(p.Env)
	if err != nil {
		return nil, err
	}
	if h.Env = uint32(len(env)); !home {
		h.Flags |= flagHome
	}
	limits, err := c.limits(p)
	if err != nil {
		return nil, err
	}
	h.Limits = uint32(len(limits))
	if err := c.capabilities(p, &h, lastCap); err != nil {
		return nil, err
	}
	all := slices.Concat([]string{oomScore, keyring, p.Cwd}, c.cgroups, p.Args, env)
	numbers := make([]stepNumbers, 0, len(steps))
	for _, s := range steps {
		numbers = append(numbers, stepNumbers{uint32(s.What), s.A, s.B, s.C, s.D})
		all = append(all, s.Text...)
	}
	words := 0
	for _, s := range all {
		if strings.IndexByte(s, 0) >= 0 {
			return nil, ErrOther
		}
		words += len(s) + 1
	}
	h.Size = uint32(binary.Size(h) + 24*len(limits) + len(filter) + 32*len(steps) + 4*len(p.User.AdditionalGids) + words)
	if h.Size > requestMost || len(p.Args) > stringsMost || len(env) > stringsMost || len(steps) > stepsMost {
		return nil, ErrOther
	}
	out := bytes.NewBuffer(make([]byte, 0, h.Size))
	for _, part := range []any{h, limits, filter, numbers, p.User.AdditionalGids} {
		if err := binary.Write(out, binary.NativeEndian, part); err != nil {
			return nil, err
		}
	}
	for _, s := range all {
		out.WriteString(s)
		out.WriteByte(0)
	}
	return out.Bytes(), nil
}

// prepareEnv leaves of several values of a name the last one. home says that there is a HOME; an empty one is none.
func prepareEnv(env []string) (out []string, home bool, err error) {
	seen := make(map[string]bool, len(env))
	for _, kv := range slices.Backward(env) {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			return nil, false, ErrOther
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		if name == "HOME" {
			if value == "" {
				continue
			}
			home = true
		}
		out = append(out, kv)
	}
	slices.Reverse(out)
	return out, home, nil
}

// limit is the program's struct limit.
type limit struct{ Resource, Soft, Hard uint64 }

func (c *Container) limits(p *specs.Process) (out []limit, err error) {
	if len(p.Rlimits) == 0 {
		for _, l := range c.rlimits {
			out = append(out, limit{l.Type, l.Soft, l.Hard})
		}
		return out, nil
	}
	for _, l := range p.Rlimits {
		resource, ok := resourceNumbers[l.Type]
		if !ok {
			return nil, ErrOther
		}
		out = append(out, limit{resource, l.Soft, l.Hard})
	}
	return out, nil
}

// resourceNumbers are the kernel's.
var resourceNumbers = map[string]uint64{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

// capabilities fills in the rights. One that this kernel doesn't have is left out, as runc does.
func (c *Container) capabilities(p *specs.Process, h *header, lastCap int) error {
	sets := c.caps
	if l := p.Capabilities; l != nil {
		sets = &capabilitySets{l.Bounding, l.Effective, l.Inheritable, l.Permitted, l.Ambient}
	}
	if sets == nil {
		return ErrOther
	}
	for _, s := range []struct {
		names []string
		bits  *uint64
	}{
		{sets.Bounding, &h.Bounding}, {sets.Effective, &h.Effective}, {sets.Inheritable, &h.Inheritable}, {sets.Permitted, &h.Permitted},
		{sets.Ambient, &h.AmbientRights},
	} {
		for _, name := range s.names {
			n := slices.Index(capabilityNames, strings.TrimPrefix(name, "CAP_"))
			switch {
			case n < 0 || !strings.HasPrefix(name, "CAP_"):
				return ErrOther
			case n <= lastCap:
				*s.bits |= 1 << n
			}
		}
	}
	return nil
}

// capabilityNames are the kernel's, in the order of their numbers. Source: capability.h.
var capabilityNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
}
