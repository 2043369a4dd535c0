package enter

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrOther is a case that is left to runc.
var ErrOther = errors.New("this is for runc to do")

// ErrUnknownFilter is the ErrOther of a container whose filter nobody has compiled since the shim began: runc does, for
// the process that it is asked for now, and leaves the filter for the next one.
var ErrUnknownFilter = fmt.Errorf("the container's filter is not known yet: %w", ErrOther)

// patience is how long a process may take on its way in. It waits for nobody, but a container may be frozen, or stop
// what enters it.
const patience = 10 * time.Second

// lastCapMost is the highest capability that has a name here.
const lastCapMost = 40

// Enterer starts processes in containers. It may be used by many at a time.
type Enterer struct {
	path    string
	prepare sync.Once
	err     error // of the preparation
	program int   // the sealed memfd
	lastCap int   // the kernel's highest capability

	results func([]byte) // is told what comes of repetitions

	running  sync.Mutex
	resident *resident // the process that stays; nil: there is none

	mu      sync.Mutex
	filters map[[32]byte][]byte  // by profile
	found   map[[32]byte]*Filter // by profile: a profile is long to read
}

// New makes an Enterer with the program at path, which is looked at when it is first needed. results is told what comes of
// repetitions, several at a time, to be read by ReadResult; what it is given is its own.
func New(path string, results func([]byte)) *Enterer {
	return &Enterer{path: path, results: results, filters: map[[32]byte][]byte{}, found: map[[32]byte]*Filter{}}
}

// Start starts a process, given in the runtime specification's JSON. first is a handle (a pidfd) of the container's first
// process, streams are the descriptors that are to be the new one's 0 to 2. The process becomes a child of the caller's,
// which must be a "child subreaper". Whether it has been started, Entering.Wait says.
func (e *Enterer) Start(c *Container, spec []byte, first int, streams [3]int) (*Entering, error) {
	request, err := e.prepared(c, spec)
	if err != nil {
		return nil, err
	}
	return e.ask([]byte{0}, request, c.cgroup2, streams, first)
}

// ask gives the program a message with a request and what belongs to it. object is what the message says.
func (e *Enterer) ask(message, request []byte, cgroup2 string, streams [3]int, object int) (*Entering, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	given := []int{streams[0], streams[1], streams[2], ends[1], object}
	err = e.send(message, request, cgroup2, given, ends[0])
	_ = unix.Close(ends[1])
	if err != nil {
		_ = unix.Close(ends[0])
		return nil, err
	}
	return &Entering{socket: os.NewFile(uintptr(ends[0]), "enter")}, nil
}

// prepared gives what the program is told for a process.
func (e *Enterer) prepared(c *Container, spec []byte) ([]byte, error) {
	if e.prepare.Do(e.ready); e.err != nil {
		return nil, e.err
	}
	if c.profile != nil {
		if _, err := e.filterOf(c); err != nil {
			return nil, err
		}
	}
	return e.requestFor(c, spec)
}

func (e *Enterer) send(message, request []byte, cgroup2 string, given []int, socket int) error {
	// The kernel adds to each message who has sent it.
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return err
	}
	if err := unix.SetNonblock(socket, true); err != nil {
		return err
	}
	if _, err := unix.Write(socket, request); err != nil {
		return err
	}
	if cgroup2 != "" {
		fd, err := unix.Open(cgroup2, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		given = append(given, fd)
	}
	return e.hand(message, unix.UnixRights(given...), 0)
}
