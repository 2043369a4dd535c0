//go:build deps

package berth

import (
	_ "github.com/compose-spec/compose-go/v2/loader"
	_ "github.com/containerd/containerd/v2/client"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	_ "github.com/containerd/containerd/v2/cmd/containerd/server"
	_ "github.com/containernetworking/cni/libcni"
	_ "github.com/distribution/distribution/v3/registry"
	_ "github.com/docker/cli/cli/config"
	_ "github.com/docker/docker-credential-helpers/client"
	_ "github.com/fatih/color"
	_ "github.com/fsnotify/fsnotify"
	_ "github.com/google/nftables"
	_ "github.com/klauspost/compress/zstd"
	_ "github.com/miekg/dns"
	_ "github.com/moby/buildkit/control"
	_ "github.com/moby/sys/user"
	_ "github.com/moby/term"
	_ "github.com/opencontainers/runc/libcontainer"
	_ "github.com/pelletier/go-toml/v2"
	_ "github.com/spf13/cobra"
	_ "github.com/vishvananda/netlink"
	_ "github.com/vishvananda/netns"
	_ "golang.org/x/sys/unix"
	_ "google.golang.org/grpc"
	_ "gopkg.in/yaml.v3"
)
