package creation

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// What is said between the two sides: first a netlink message with the namespaces, for the process that enters them; then the
// configuration, for the one that came of it; then a word for each step that takes both.

// Types in the netlink message.
const (
	messageInit       = 62000
	attrCloneFlags    = 27281
	attrNamespaces    = 27282
	attrOOMScore      = 27286
	attrRootless      = 27287
	lengthOfHeader    = 16
	lengthOfAttribute = 4
)

// Words of the steps.
const (
	wordError     = "procError"     // of the first process: it has failed
	wordHooks     = "procHooks"     // of the first process: its cgroup is to be set up now
	wordHooksDone = "procHooksDone" // the answer
	wordReady     = "procReady"     // of the first process: it waits to be let go
	wordRun       = "procRun"       // the answer
)

type word struct {
	Type  string           `json:"type"`
	Flags int              `json:"flags"`
	Arg   *json.RawMessage `json:"arg,omitempty"`
}

// stages are the processes that come of the one that was started: the first of them is the container's.
type stages struct {
	Second int `json:"stage1_pid"`
	Third  int `json:"stage2_pid"`
}

// firstConfig is all that the first process is told beside the configuration. Its members are those of libcontainer's
// initConfig.
type firstConfig struct {
	Args             []string              `json:"args"`
	Env              []string              `json:"env"`
	UID              int                   `json:"uid"`
	GID              int                   `json:"gid"`
	AdditionalGroups []int                 `json:"additional_groups"`
	Cwd              string                `json:"cwd"`
	AppArmorProfile  string                `json:"apparmor_profile"`
	Capabilities     *configs.Capabilities `json:"capabilities"`
	NoNewPrivileges  bool                  `json:"no_new_privileges"`
	Rlimits          []configs.Rlimit      `json:"rlimits"`
	ContainerID      string                `json:"containerid"`
	Cgroup2Path      string                `json:"cgroup2_path,omitempty"`
	Networks         []*configs.Network    `json:"network"`
}

// orderOfNamespaces is that in which namespaces are entered.
var orderOfNamespaces = []configs.NamespaceType{
	configs.NEWIPC, configs.NEWUTS, configs.NEWNET, configs.NEWPID, configs.NEWNS, configs.NEWCGROUP,
}

// bootstrap is the netlink message: which namespaces are to be made, and which are there already.
func bootstrap(c *configs.Config) ([]byte, error) {
	var body bytes.Buffer
	attribute := func(kind uint16, value []byte) {
		_ = binary.Write(&body, binary.NativeEndian, [2]uint16{uint16(lengthOfAttribute + len(value)), kind})
		body.Write(value)
		for body.Len()%unix.NLA_ALIGNTO != 0 {
			body.WriteByte(0)
		}
	}
	number := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	text := func(s string) []byte { return append([]byte(s), 0) }

	attribute(attrCloneFlags, number(uint32(c.Namespaces.CloneFlags())))
	var paths []string
	for _, kind := range orderOfNamespaces {
		path := c.Namespaces.PathOf(kind)
		if path == "" {
			continue
		}
		if strings.Contains(path, ",") || !configs.IsNamespaceSupported(kind) {
			return nil, ErrOther
		}
		paths = append(paths, configs.NsName(kind)+":"+path)
	}
	joined := strings.Join(paths, ",")
	if len(joined) > 1<<15 {
		return nil, ErrOther
	}
	if joined != "" {
		attribute(attrNamespaces, text(joined))
	}
	if c.OomScoreAdj != nil {
		attribute(attrOOMScore, text(fmt.Sprint(*c.OomScoreAdj)))
	}
	attribute(attrRootless, number(0))

	head := unix.NlMsghdr{Len: uint32(lengthOfHeader + body.Len()), Type: messageInit, Flags: unix.NLM_F_REQUEST}
	var message bytes.Buffer
	err := binary.Write(&message, binary.NativeEndian, head)
	message.Write(body.Bytes())
	return message.Bytes(), err
}

// newFirstConfig puts together what the first process is told, but for the configuration. Where the process of a
// specification says something, it goes before what the configuration says, which has it from there.
func newFirstConfig(id string, c *configs.Config, p *process, cgroup2 string) (*firstConfig, error) {
	f := &firstConfig{
		Args: p.Args, Env: p.Env, UID: int(p.User.UID), GID: int(p.User.GID), Cwd: p.Cwd,
		AppArmorProfile: p.ApparmorProfile, Capabilities: c.Capabilities, NoNewPrivileges: p.NoNewPrivileges,
		ContainerID: id, Cgroup2Path: cgroup2, Networks: c.Networks,
	}
	for _, g := range p.User.AdditionalGids {
		f.AdditionalGroups = append(f.AdditionalGroups, int(g))
	}
	var err error
	f.Rlimits, err = limits(p.Rlimits)
	return f, err
}

// tell tells the first process all. It has no use for its cgroups' limits and for labels.
func (f *firstConfig) tell(w io.Writer, c *configs.Config, filter []byte) error {
	lean := *c
	lean.Cgroups, lean.Labels = nil, nil
	return writeWith(w, f, &lean, filter)
}

// writeWith writes an object as JSON to which the configuration is added, and to that the filter, if there is one. Nothing is
// put together in memory: the filter is most of it, and whoever makes many containers would collect more than it makes.
func writeWith(w io.Writer, object any, c *configs.Config, filter []byte) error {
	outer, err := json.Marshal(object)
	if err != nil {
		return err
	}
	inner, err := json.Marshal(c)
	if err != nil {
		return err
	}
	pieces := [][]byte{append(outer[:len(outer)-1], `,"config":`...), inner, []byte("}")}
	if filter != nil {
		pieces = [][]byte{pieces[0], append(inner[:len(inner)-1], `,"seccomp":`...), filter, []byte("}}")}
	}
	for _, piece := range pieces {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// failure is what the first process says of its failure.
func failure(w word) error {
	var said struct {
		Message string `json:"message"`
	}
	if w.Arg == nil || json.Unmarshal(*w.Arg, &said) != nil {
		return errors.New("the first process has failed and doesn't say how")
	}
	return errors.New(said.Message)
}
