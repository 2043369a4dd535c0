package volumes

import "github.com/compose-spec/compose-go/v2/types"

// Kind tells where a mount's content comes from.
type Kind string

const (
	Bind      Kind = "bind"      // a path of the host
	Named     Kind = "volume"    // a volume of the project, or an external one
	Anonymous Kind = "anonymous" // a volume of one container
	Tmpfs     Kind = "tmpfs"
	File      Kind = "file" // a config or secret: a file that the engine writes
)

// Mount is one place of a container's file system that does not come from its image.
type Mount struct {
	Kind   Kind
	Target string // absolute path in the container, clean
	// Source is the host's path (Bind), the volume's name on the host (Named, Anonymous once it is
	// known), or empty.
	Source   string
	ReadOnly bool
	// Options are mount options: propagation ("rslave"), "rbind" or "bind", "noexec" ...
	Options []string
	// Subpath is the folder inside the volume to mount, "" for all of it.
	Subpath string
	// CopyUp says that an empty volume gets the image's content at Target on first use.
	CopyUp bool
	// CreateSource says that a missing host path is made as a folder (bind, short form).
	CreateSource bool
	// SizeBytes and Mode are of a tmpfs; 0 is the kernel's default.
	SizeBytes int64
	Mode      uint32
	// Secret says that it is a secret, so that its content is kept off the disk.
	Secret bool
	// Data is what a File holds; SourceFile is the host's file to take it from instead.
	Data       []byte
	SourceFile string
	UID, GID   int
	FileMode   uint32
	// Volume is the volume's declaration (Named) or nil.
	Volume *types.VolumeConfig
	// Labels are those of an anonymous volume.
	Labels map[string]string
}
