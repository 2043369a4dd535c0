package ipam

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/containerd/errdefs"
)

// InUseError says that a network still has owners of addresses.
type InUseError struct {
	Network string
	Owners  []string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("network %q is in use by %s", e.Network, strings.Join(e.Owners, ", "))
}

// Unwrap makes it a failed precondition for containerd/errdefs.
func (e *InUseError) Unwrap() error { return errdefs.ErrFailedPrecondition }

// ExhaustedError says that a network has no free address; errors.Is(err, ErrExhausted) holds.
type ExhaustedError struct {
	Network string
	Subnet  netip.Prefix
}

func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("network %q: no free address in %s", e.Network, e.Subnet)
}

func (e *ExhaustedError) Unwrap() []error { return []error{ErrExhausted, errdefs.ErrResourceExhausted} }

// Hint says how to get more addresses.
func (e *ExhaustedError) Hint() string {
	return "give the network a larger subnet (networks.*.ipam.config.subnet), then down and up again"
}
