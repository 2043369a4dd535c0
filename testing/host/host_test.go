package host_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"berth/testing/host"
)

func TestNamespaceHasItsOwnPortsAndLinks(t *testing.T) {
	host.Require(t, host.Root)
	a, b := host.NewNamespace(t), host.NewNamespace(t)
	for _, n := range []*host.Namespace{a, b} {
		l, err := n.Listen("tcp", "127.0.0.1:8080")
		if err != nil {
			t.Fatalf("the same port in both: %v", err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				c.Close()
			}
		}()
		c, err := n.Dial(context.Background(), "tcp", "127.0.0.1:8080")
		if err != nil {
			t.Fatalf("dial in the namespace: %v", err)
		}
		c.Close()
	}
	var names []string
	if err := a.Do(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			names = append(names, i.Name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names, " "); strings.Contains(got, "eth0") || !strings.Contains(got, "lo") {
		t.Errorf("links in the namespace: %s", got)
	}
}

func TestAuditNames(t *testing.T) {
	host.Require(t, host.Root, host.NFTables)
	network := host.NewNamespace(t)
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	scope := host.Scope{Root: root, State: root + "-state", Network: network}
	before, err := host.Observe(scope)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		do   func(t *testing.T) (undo func() error)
		want string
	}{
		"a mount below the engine's root": {
			do: func(t *testing.T) func() error {
				at := filepath.Join(root, "at")
				must(t, os.Mkdir(at, 0o755))
				must(t, unix.Mount("tmpfs", at, "tmpfs", 0, ""))
				return func() error { return unix.Unmount(at, 0) }
			},
			want: "left behind: mount " + root + "/at (tmpfs)",
		},
		"a process whose command line has the engine's root": {
			do: func(t *testing.T) func() error {
				cmd := exec.Command("cat")
				cmd.Args = []string{root + "/bin/berthd", "-"}
				in, err := cmd.StdinPipe()
				must(t, err)
				out, err := cmd.StdoutPipe()
				must(t, err)
				must(t, cmd.Start())
				// It answers, so it has its command line: right after exec that isn't sure.
				_, err = in.Write([]byte("x"))
				must(t, err)
				_, err = out.Read(make([]byte, 1))
				must(t, err)
				return func() error { return errors.Join(in.Close(), cmd.Wait()) }
			},
			want: root + "/bin/berthd -",
		},
		"a link with an address": {
			do: func(t *testing.T) func() error {
				must(t, network.Do(func() error {
					l := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "left0"}}
					if err := netlink.LinkAdd(l); err != nil {
						return err
					}
					a, err := netlink.ParseAddr("192.0.2.1/24")
					if err != nil {
						return err
					}
					return netlink.AddrAdd(l, a)
				}))
				return func() error {
					return network.Do(func() error {
						l, err := netlink.LinkByName("left0")
						if err != nil {
							return err
						}
						return netlink.LinkDel(l)
					})
				}
			},
			want: "left behind: address 192.0.2.1/24\nleft behind: link left0 (bridge)",
		},
		"a chain of nftables": {
			do: func(t *testing.T) func() error {
				table := &nftables.Table{Family: nftables.TableFamilyINet, Name: "left"}
				must(t, network.Do(func() error {
					c, err := nftables.New()
					if err != nil {
						return err
					}
					c.AddChain(&nftables.Chain{Name: "over", Table: c.AddTable(table)})
					return c.Flush()
				}))
				return func() error {
					return network.Do(func() error {
						c, err := nftables.New()
						if err != nil {
							return err
						}
						c.DelTable(table)
						return c.Flush()
					})
				}
			},
			want: "left behind: nftables chain 1/left/over\nleft behind: nftables table 1/left",
		},
		"a sysctl": {
			do: func(t *testing.T) func() error {
				set := func(v string) error {
					return network.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte(v), 0o644) })
				}
				must(t, set("0"))
				clean, err := host.Observe(scope)
				must(t, err)
				before = clean
				must(t, set("1"))
				return func() error { return set("0") }
			},
			want: "left behind: sysctl ipv4/ip_forward = 1",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			undo := test.do(t)
			after, err := host.Observe(scope)
			must(t, err)
			must(t, undo())
			if got := strings.Join(before.Changes(after), "\n"); !strings.Contains(got, test.want) {
				t.Errorf("changes:\n%s\nwant among them:\n%s", got, test.want)
			}
			clean, err := host.Observe(scope)
			must(t, err)
			if left := before.Changes(clean); len(left) > 0 {
				t.Errorf("after it was undone:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
