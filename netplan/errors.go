package netplan

import "fmt"

// FieldError says what is wrong with a field of the compose file.
type FieldError struct {
	Path  string // "networks.back.ipam.config[0].subnet"
	Value string
	Rule  string // "must be ..."
}

func (e *FieldError) Error() string { return fmt.Sprintf("%s: %q %s", e.Path, e.Value, e.Rule) }

// InvalidParameter marks the error for containerd/errdefs as an invalid argument.
func (e *FieldError) InvalidParameter() {}
