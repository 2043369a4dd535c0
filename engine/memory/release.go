package memory

import (
	"bytes"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"

	"golang.org/x/sys/unix"
)

// allocsFew is how much may have been allocated since the last time without a collection being worth its price.
const allocsFew = 1 << 20

// allocated is how much has been allocated on the heap so far.
const allocated = "/gc/heap/allocs:bytes"

// Releaser gives back the memory of this process. Its zero value is ready; it is for one goroutine at a time.
type Releaser struct {
	known   bool
	program []span
	before  uint64 // allocated when garbage was last collected
	again   bool   // what Go's pools of buffers held then goes with the next collection
}

// span is a part of the address space.
type span struct{ start, end uintptr }

// Release collects garbage and returns it, and drops the program's mapped pages. The call after one that has found garbage collects
// once more. What can't be done is left: nothing depends on it.
func (r *Releaser) Release() {
	if !r.known {
		r.known = true
		r.program = findProgram() // first, as it makes garbage
	}
	m := []metrics.Sample{{Name: allocated}}
	metrics.Read(m)
	if m[0].Value.Kind() == metrics.KindUint64 {
		much := m[0].Value.Uint64()-r.before > allocsFew
		if much || r.again {
			r.before, r.again = m[0].Value.Uint64(), much
			debug.FreeOSMemory()
		}
	}
	r.dropProgram()
}

// dropProgram takes the program's pages that can't be written out of the address space. They stay in the page cache, and are
// mapped again where they are used.
func (r *Releaser) dropProgram() {
	for _, s := range r.program {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, s.start, s.end-s.start, unix.MADV_DONTNEED)
	}
}

// findProgram lists where the program's file is mapped and its pages are as in the file: those of a position-independent
// program may have been changed before they were made read-only.
func findProgram() []span {
	name, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return nil
	}
	return unchanged(maps, name)
}

// unchanged reads /proc/PID/smaps, of which two kinds of line count:
//
//	00400000-00a28000 r-xp 00000000 fe:00 1234     /path
//	Anonymous:             0 kB
func unchanged(smaps []byte, file string) (spans []span) {
	var s span
	ours := false
	for line := range bytes.Lines(smaps) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		f := bytes.Fields(line)
		switch {
		case len(f) > 1 && !bytes.HasSuffix(f[0], []byte(":")):
			s, ours = readSpan(f[0])
			ours = ours && bytes.HasPrefix(f[1], []byte("r-")) && bytes.HasSuffix(line, []byte(" "+file))
		case ours && len(f) > 1 && string(f[0]) == "Anonymous:" && string(f[1]) == "0":
			spans = append(spans, s)
		}
	}
	return spans
}

func readSpan(text []byte) (span, bool) {
	from, to, ok := bytes.Cut(text, []byte("-"))
	if !ok {
		return span{}, false
	}
	start, err1 := strconv.ParseUint(string(from), 16, strconv.IntSize)
	end, err2 := strconv.ParseUint(string(to), 16, strconv.IntSize)
	if err1 != nil || err2 != nil || end <= start {
		return span{}, false
	}
	return span{uintptr(start), uintptr(end)}, true
}
