package enter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// recordFile is where runc leaves the filter that it has made for a container, if the file is there: "../filter"
	// for seccompcache/cache.c.
	recordFile = "filter"
	// recordReady is the state of a record that is whole.
	recordReady = 2
	programMost = 32 << 10
	// recordPatience is how long after its last change a record may still become whole.
	recordPatience = time.Minute
	recordArchs    = 8
)

// record is cache.c's struct record.
type record struct {
	State, Length, Archs, _ uint32
	Checksum                uint64
	Largest                 [recordArchs]largest
	Program                 [programMost]byte
}

// largest is the largest number of a call that the profile names for an architecture, in libseccomp's numbers; these are
// the kernel's AUDIT_ARCH, but for x32.
type largest struct{ Arch, Last uint32 }

// x32 is libseccomp's number for x86-64 with pointers of 32 bits. To the kernel it is x86-64, with x32Bit in the
// number of the call.
const (
	x32    = 0x4000003e
	x32Bit = 0x40000000
)

// filterOf gives the filter for a container's processes. Where none is known yet, runc is asked to leave it with
// the next process that it starts.
func (e *Enterer) filterOf(c *Container) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.filter != nil {
		return c.filter, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.filter = e.filters[c.profile.sum]; c.filter != nil {
		return c.filter, nil
	}
	file := filepath.Join(c.bundle, recordFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(ErrUnknownFilter, makeRecord(file))
	}
	if err != nil {
		return nil, err
	}
	if c.filter, err = readRecord(text); err != nil {
		return nil, err
	}
	e.filters[c.profile.sum] = c.filter
	_ = os.Remove(file)
	return c.filter, nil
}

// kept gives the filter that is kept in a folder for all containers with a profile. Where there is none yet, the file for it
// is given to runc, by its other name in the bundle.
func (e *Enterer) kept(p *profile, store, bundle string) ([]byte, error) {
	var host unix.Utsname
	if err := unix.Uname(&host); err != nil {
		return nil, err
	}
	// Another runc or another kernel may have it otherwise. runc is beside the program.
	sum := sha256.Sum256(slices.Concat(p.sum[:], []byte(e.path), host.Release[:], host.Machine[:]))
	file := filepath.Join(store, recordFile+"."+hex.EncodeToString(sum[:16]))
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := makeRecord(file); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	case err != nil:
		return nil, err
	case len(text) < binary.Size(record{}):
		return nil, ErrUnknownFilter // it is being made
	default:
		program, err := readRecord(text)
		if err == nil || time.Since(modified(file)) < recordPatience {
			if errors.Is(err, ErrUnknownFilter) {
				break
			}
			return program, err
		}
		// Whoever was to fill it has ended on the way.
		if err := errors.Join(os.Remove(file), makeRecord(file)); err != nil {
			return nil, err
		}
	}
	if err := os.Link(file, filepath.Join(bundle, recordFile)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return nil, ErrUnknownFilter
}

// modified says when a file was last changed, or the beginning of time.
func modified(file string) (at time.Time) {
	if st, err := os.Stat(file); err == nil {
		at = st.ModTime()
	}
	return at
}

func makeRecord(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(binary.Size(record{}))), f.Close())
}

// readRecord makes the filter of what runc has left.
func readRecord(text []byte) ([]byte, error) {
	var r record
	if err := binary.Read(bytes.NewReader(text), binary.NativeEndian, &r); err != nil {
		return nil, err
	}
	if r.State == 0 {
		return nil, ErrUnknownFilter
	}
	if r.State != recordReady || r.Length == 0 || r.Length > programMost || r.Length%instruction != 0 || r.Archs > recordArchs {
		return nil, ErrOther
	}
	program := r.Program[:r.Length]
	if checksum(program) != r.Checksum {
		return nil, ErrOther
	}
	filter := append(newerCalls(r.Largest[:r.Archs]), program...)
	if len(filter)/instruction > unix.BPF_MAXINSNS {
		return nil, ErrOther
	}
	return shorter(filter), nil
}

// shorter gives the same filter in fewer instructions where that is known how to do.
func shorter(filter []byte) []byte {
	code := make([]unix.SockFilter, len(filter)/instruction)
	if _, err := binary.Decode(filter, binary.NativeEndian, code); err != nil {
		return filter
	}
	code, err := compact(code)
	if err != nil {
		return filter
	}
	out, err := binary.Append(nil, binary.NativeEndian, code)
	if err != nil {
		return filter
	}
	return out
}

// checksum is cache.c's.
func checksum(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// newerCalls gives what stands in front of a filter: a call whose number is larger than all that the profile names is
// one that its author did not know, and is answered with ENOSYS, as an older kernel would. All others come to what
// follows. runc has the same in front, which is not the profile's but its own; see libcontainer/seccomp/patchbpf.
func newerCalls(all []largest) []byte {
	if len(all) == 0 {
		return nil // the profile allows what it doesn't name, or says something else of its own
	}
	const (
		load     = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		isEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		isLarger = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
		hasBits  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		answer   = unix.BPF_RET | unix.BPF_K
		number   = 0 // offsets in struct seccomp_data
		arch     = 4
	)
	var code []unix.SockFilter
	for _, l := range all {
		kernels, bits := l.Arch, []unix.SockFilter(nil)
		switch l.Arch {
		case x32:
			kernels = unix.AUDIT_ARCH_X86_64
			bits = []unix.SockFilter{{Code: hasBits, K: x32Bit, Jf: 2}}
		case unix.AUDIT_ARCH_X86_64:
			bits = []unix.SockFilter{{Code: hasBits, K: x32Bit, Jt: 2}}
		}
		// Each answer is in its own place, so that no jump is longer than the few instructions to the next test.
		code = append(code, unix.SockFilter{Code: load, K: arch}, unix.SockFilter{Code: isEqual, K: kernels, Jf: uint8(3 + len(bits))},
			unix.SockFilter{Code: load, K: number})
		code = append(code, bits...)
		code = append(code, unix.SockFilter{Code: isLarger, K: l.Last, Jf: 1},
			unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
	}
	var b bytes.Buffer
	_ = binary.Write(&b, binary.NativeEndian, code) // a buffer takes all
	return b.Bytes()
}
