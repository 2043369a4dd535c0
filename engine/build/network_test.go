package build_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"berth/engine/build"
	"berth/engine/spec"
	"berth/engine/spec/hostfacts"
	"berth/netplan"
	"berth/netplan/cni"
)

// insideEnv is set in the process that runs the tests in network and mount namespaces of its own, so that bridges and rules
// of theirs are not the host's.
const insideEnv = "BERTH_TEST_INSIDE"

// apart runs the tests in namespaces of their own, if they may have some; their result is in code.
func apart() (code int, done bool) {
	if os.Geteuid() != 0 {
		return 0, false
	}
	if os.Getenv(insideEnv) != "" {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bring up the loopback link:", err)
			return 1, true
		}
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWNET,
		Unshareflags: syscall.CLONE_NEWNS, // and its mounts are private
		Pdeathsig:    syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "tests in namespaces of their own:", err)
		return 1, true
	}
	return cmd.ProcessState.ExitCode(), true
}

// openNetworks gives the networks of an engine whose data is in a folder.
func openNetworks(t testing.TB, dir string) *cni.Driver {
	t.Helper()
	d, err := cni.Open(context.Background(), cni.Config{Engine: "build", Root: filepath.Join(dir, "networks"), State: filepath.Join(dir, "netstate")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sandbox fills in what steps run with. The networks end with the test.
func sandbox(t testing.TB, dir string, c *build.Config) {
	t.Helper()
	d := openNetworks(t, dir)
	t.Cleanup(func() {
		if err := errors.Join(d.Teardown(context.Background()), d.Close()); err != nil {
			t.Errorf("take the networks down: %v", err)
		}
	})
	c.Networks = d
	c.ReleaseBridge = func(ctx context.Context) error { return d.RemoveNetwork(ctx, netplan.DefaultBridge) }
	c.DNS = func() spec.DNS { return spec.DNS{Nameservers: []string{"127.0.0.53"}} }
	var err error
	if c.Host, err = hostfacts.Read("/berth-build-steps", dir); err != nil {
		t.Fatal(err)
	}
}
