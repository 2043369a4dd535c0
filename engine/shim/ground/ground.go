package ground

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Root is the folder of a ground that a container's root is put on.
const Root = "/container"

const (
	procFolder = "/proc"
	// within is where it is put together: a folder that every host with containers has.
	within = procFolder
)

// Ground is such a namespace, once a thread has entered it.
type Ground struct {
	ready chan struct{}
	once  sync.Once
	path  string
	err   error
}

// New makes a Ground that is still to be entered.
func New() *Ground { return &Ground{ready: make(chan struct{})} }

// Path waits until a thread has entered the ground, and gives the name by which others can. It is an error that there is none.
func (g *Ground) Path() (string, error) {
	<-g.ready
	return g.path, g.err
}

// Enter makes the namespace and takes the calling thread into it, for as long as the thread lives: its goroutine must be bound to it,
// and never use a path again. Where that fails, the thread stays where it was. The folder that it works in stays the same.
func (g *Ground) Enter() {
	g.once.Do(func() {
		g.path, g.err = enter()
		close(g.ready)
	})
}

func enter() (string, error) {
	work, err := os.Open(".")
	if err != nil {
		return "", err
	}
	defer work.Close()
	own := fmt.Sprintf("/proc/%d/task/%d/ns/mnt", os.Getpid(), unix.Gettid())
	was, err := os.Open(own)
	if err != nil {
		return "", err
	}
	defer was.Close()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := empty(); err != nil {
		return "", errors.Join(err, unix.Setns(int(was.Fd()), unix.CLONE_NEWNS), unix.Fchdir(int(work.Fd())))
	}
	return own, unix.Fchdir(int(work.Fd()))
}

// empty leaves nothing in this thread's mount namespace but what it is to have.
func empty() error {
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("keep mounts from the host: %w", err)
	}
	proc, err := unix.OpenTree(unix.AT_FDCWD, procFolder, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("copy the mount of %s: %w", procFolder, err)
	}
	defer unix.Close(proc)
	if err := unix.Mount("tmpfs", within, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=64k,mode=755"); err != nil {
		return fmt.Errorf("mount the root of a namespace: %w", err)
	}
	return errors.Join(place(proc, procFolder), os.Mkdir(within+Root, 0o700), become(within))
}

func place(tree int, path string) error {
	if err := os.Mkdir(filepath.Join(within, path), 0o755); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, filepath.Join(within, path), unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}

// become makes a mount the root, and lets go of all that isn't in it.
func become(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root of a namespace: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the host's mounts: %w", err)
	}
	return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}
