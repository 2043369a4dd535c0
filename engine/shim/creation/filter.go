package creation

import (
	"encoding/json"
	"sync"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// keptFilters is how many seccomp filters are kept. An engine's containers have one, unless somebody brings another.
const keptFilters = 4

// filters makes of seccomp filters, as they are in a specification, what is written of them. They are most of what there is to
// write, and the same for all containers.
type filters struct {
	mu   sync.Mutex
	kept map[string]json.RawMessage
}

// get gives a filter as libcontainer writes it, nil for none.
func (f *filters) get(text json.RawMessage) (json.RawMessage, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if made, ok := f.kept[string(text)]; ok {
		return made, nil
	}
	made, err := newFilter(text)
	if err != nil {
		return nil, err
	}
	if f.kept == nil || len(f.kept) >= keptFilters {
		f.kept = map[string]json.RawMessage{}
	}
	f.kept[string(text)] = made
	return made, nil
}

func newFilter(text json.RawMessage) (json.RawMessage, error) {
	var s specs.LinuxSeccomp
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	c, err := convertFilter(&s)
	if err != nil || c == nil {
		return nil, err
	}
	return json.Marshal(c)
}

func convertFilter(s *specs.LinuxSeccomp) (*configs.Seccomp, error) {
	if s.DefaultAction == "" && len(s.Syscalls) == 0 {
		return nil, nil
	}
	if s.ListenerPath != "" || s.ListenerMetadata != "" || len(s.Flags) > 0 {
		return nil, ErrOther
	}
	c := &configs.Seccomp{DefaultErrnoRet: s.DefaultErrnoRet, Syscalls: []*configs.Syscall{}}
	if s.Flags == nil {
		if !filterFlags() {
			return nil, ErrOther
		}
		c.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagSpecAllow}
	}
	var err error
	if c.DefaultAction, err = seccomp.ConvertStringToAction(string(s.DefaultAction)); err != nil {
		return nil, err
	}
	for _, arch := range s.Architectures {
		name, err := seccomp.ConvertStringToArch(string(arch))
		if err != nil {
			return nil, err
		}
		c.Architectures = append(c.Architectures, name)
	}
	for _, group := range s.Syscalls {
		if err := addCalls(c, group); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func addCalls(c *configs.Seccomp, group specs.LinuxSyscall) error {
	action, err := seccomp.ConvertStringToAction(string(group.Action))
	if err != nil {
		return err
	}
	if action == configs.Notify {
		return ErrOther
	}
	args := []*configs.Arg{}
	for _, a := range group.Args {
		op, err := seccomp.ConvertStringToOperator(string(a.Op))
		if err != nil {
			return err
		}
		args = append(args, &configs.Arg{Index: a.Index, Value: a.Value, ValueTwo: a.ValueTwo, Op: op})
	}
	for _, name := range group.Names {
		c.Syscalls = append(c.Syscalls, &configs.Syscall{Name: name, Action: action, ErrnoRet: group.ErrnoRet, Args: args})
	}
	return nil
}

// filterFlags says that the kernel has what libseccomp wants to see before it offers the flag that runc gives to a filter for
// which none are asked for. runc asks libseccomp, which is not part of this program.
var filterFlags = sync.OnceValue(func() bool {
	for _, flag := range []uintptr{unix.SECCOMP_FILTER_FLAG_TSYNC, unix.SECCOMP_FILTER_FLAG_LOG, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW} {
		// A flag that isn't known is refused before the filter is missed.
		_, _, err := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flag, 0)
		if err != unix.EFAULT {
			return false
		}
	}
	return true
})
