package memory

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// allocsFew is how much may have been allocated since the last time without a collection being worth its price.
	allocsFew = 1 << 20
	// threadsSpare is how many threads without work may stay: a few are needed again at once.
	threadsSpare = 8
)

// What the process is asked of itself.
const (
	allocated = "/gc/heap/allocs:bytes"
	threads   = "/sched/threads/total:threads"
	inSyscall = "/sched/goroutines/not-in-go:goroutines"
)

// Releaser gives back the memory of this process. Its zero value is ready; it is for one goroutine at a time.
type Releaser struct {
	known   bool
	program []span
	before  uint64 // allocated when garbage was last collected
}

// span is a part of the address space.
type span struct{ start, end uintptr }

// Release collects garbage and returns it, ends threads that have no work, and drops the program's mapped pages. What can't
// be done is left: nothing depends on it.
func (r *Releaser) Release() {
	m := []metrics.Sample{{Name: allocated}, {Name: threads}, {Name: inSyscall}}
	metrics.Read(m)
	value := func(i int) uint64 {
		if m[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return m[i].Value.Uint64()
	}
	if total := value(0); total-r.before > allocsFew {
		r.before = total
		endThreads(int(value(1)) - int(value(2)) - runtime.GOMAXPROCS(0) - threadsSpare)
		debug.FreeOSMemory()
	}
	r.dropProgram()
}

// endThreads ends n threads: one ends with a goroutine that is bound to it. The goroutines are all there before the first
// of them ends, so that each has a thread of its own.
func endThreads(n int) {
	if n <= 0 {
		return
	}
	var bound sync.WaitGroup
	end := make(chan struct{})
	for range n {
		bound.Add(1)
		go func() {
			runtime.LockOSThread()
			bound.Done()
			<-end
		}()
	}
	bound.Wait()
	close(end)
}

// dropProgram takes the program's pages that can't be written out of the address space. They stay in the page cache, and are
// mapped again where they are used.
func (r *Releaser) dropProgram() {
	if !r.known {
		r.known = true
		r.program = findProgram()
	}
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
