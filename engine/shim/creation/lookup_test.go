package creation_test

import (
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/compose-spec/compose-go/v2/types"
	"golang.org/x/sys/unix"

	"berth/engine/shim/creation"
	"berth/engine/shim/enter"
	"berth/testing/host"
)

// TestAPathThatIsNeverSureIsNotLookedForForEver has a first process to which the kernel says of each path that something was renamed
// meanwhile, as a container can bring about that renames in a loop.
func TestAPathThatIsNeverSureIsNotLookedForForEver(t *testing.T) {
	b := newBundle(t, types.ServiceConfig{ContainerSpec: types.ContainerSpec{SecurityOpt: []string{"seccomp=unconfined"}}}, "sleep")
	b.write()
	e := enter.New(filepath.Join(filepath.Dir(program()), "enter"), nil)
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with this
		err := neverSure()
		if err == nil {
			e.Prepare() // what it starts inherits the filter
		}
		begun <- err
	}()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	b.creator = creation.New(program(), e, newGround(t), slog.New(slog.DiscardHandler))
	cmd, _ := b.command()
	stop := make(chan struct{})
	defer time.AfterFunc(host.Patience, func() { close(stop) }).Stop()
	err := b.createUntil(cmd, stop)
	if err == nil || !strings.Contains(err.Error(), unix.EAGAIN.Error()) {
		t.Errorf("the error is %v", err)
	}
	b.leftNothing()
	childless(t)
}

// neverSure has openat2 fail in this thread, and in all that it starts.
func neverSure() error {
	const number = 0 // the first member of struct seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_OPENAT2},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAGAIN)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	p := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return errno
	}
	return nil
}
