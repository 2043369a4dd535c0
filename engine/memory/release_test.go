package memory

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// usage is a line of this process's memory, in KiB: of /proc/self/smaps_rollup.
func usage(t *testing.T, key string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == key+":" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("the kernel doesn't tell %s", key)
	return 0
}

func TestGarbageGoesBackToTheHost(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // as if the next collection were far away
	var r Releaser
	r.Release()
	before := heap()
	fill(64 << 20)
	if full := heap(); full-before < 60<<20 {
		t.Fatalf("64 MiB were written to, and the heap grew by %d bytes", full-before)
	}
	r.Release()
	if kept := heap() - before; kept > 8<<20 {
		t.Errorf("of 64 MiB of garbage %d bytes are still there", kept)
	}
}

func TestBuffersInPoolsGoBackToTheHost(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var r Releaser
	r.Release()
	r.Release()
	before := heap()
	var pool sync.Pool
	pool.Put(filled(64 << 20))
	r.Release()
	r.Release()
	if kept := heap() - before; kept > 8<<20 {
		t.Errorf("of 64 MiB in a pool %d bytes are still there", kept)
	}
	runtime.KeepAlive(&pool)
}

// heap is how much memory of the host the heap has. The race detector's own is not in it.
func heap() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapSys) - int(m.HeapReleased)
}

//go:noinline
func fill(n int) { runtime.KeepAlive(filled(n)) }

//go:noinline
func filled(n int) *[]byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return &b
}

func TestTheProgramIsNoLongerMapped(t *testing.T) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	var r Releaser
	r.Release()
	if len(r.program) == 0 {
		t.Fatal("the program is not found in its own address space")
	}
	_ = slices.Sorted(slices.Values(strings.Fields(string(program[:1<<20])))) // some work, with pages of the program that it needs
	before := usage(t, "Rss")
	r.dropProgram()
	if after := usage(t, "Rss"); after >= before {
		t.Errorf("the process has %d KiB in memory, after %d KiB", after, before)
	}
	again, err := os.ReadFile("/proc/self/exe")
	if err != nil || !bytes.Equal(again, program) {
		t.Errorf("the program's file has changed: %v", err)
	}
}

// A program that is to be killed with its parent is killed with the thread that started it.
func TestProgramsStartedBeforeLiveOn(t *testing.T) {
	var cmds []*exec.Cmd
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 20 {
		all.Go(func() {
			cmd := exec.Command("sleep", "1000")
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			cmds = append(cmds, cmd)
		})
	}
	all.Wait()
	fill(2 * allocsFew)
	var r Releaser
	r.Release()
	for _, cmd := range cmds {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGTERM {
			t.Errorf("it ended with %v before it was told to", cmd.ProcessState)
		}
	}
}

func TestOnlyUnchangedPagesOfTheProgramAreDropped(t *testing.T) {
	const smaps = `00400000-00a28000 r-xp 00000000 fe:00 1234                               /opt/a b/berthd
Size:               6304 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00a28000-011ad000 r--p 00628000 fe:00 1234                               /opt/a b/berthd
Anonymous:             4 kB
011ad000-01229000 rw-p 00dad000 fe:00 1234                               /opt/a b/berthd
Anonymous:             0 kB
01229000-0326e000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7fbbc0650000-7fbbc0a00000 r--s 00000000 fe:00 99                         /var/lib/berth/meta.db
Anonymous:             0 kB
7fbbc0a00000-7fbbc0a01000 r--p 00000000 fe:00 77                         /opt/berthd
Anonymous:             0 kB
`
	got := unchanged([]byte(smaps), "/opt/a b/berthd")
	if want := []span{{0x400000, 0xa28000}}; !slices.Equal(got, want) {
		t.Errorf("dropped are %x, want %x", got, want)
	}
}
