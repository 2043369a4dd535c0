package volumes

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// tmpfsFlags are the mount flags that an entry of tmpfs may have; tmpfsValues what it may set.
var (
	tmpfsFlags = map[string]bool{
		"ro": true, "rw": true, "exec": true, "noexec": true, "suid": true, "nosuid": true, "dev": true, "nodev": true,
		"sync": true, "async": true, "dirsync": true, "atime": true, "noatime": true, "diratime": true, "nodiratime": true,
		"relatime": true, "norelatime": true, "strictatime": true, "nostrictatime": true,
		"private": true, "rprivate": true, "shared": true, "rshared": true, "slave": true, "rslave": true,
		"unbindable": true, "runbindable": true, "mand": true, "nomand": true,
	}
	tmpfsValues = map[string]bool{
		"size": true, "mode": true, "uid": true, "gid": true, "nr_inodes": true, "nr_blocks": true, "mpol": true,
	}
)

// fromTmpfs is the mount of one entry of the tmpfs field: "/run" or "/run:size=64m,mode=1777,uid=33".
func fromTmpfs(service, entry string) (Mount, error) {
	key := "services." + service + ".tmpfs"
	where, options, _ := strings.Cut(entry, ":")
	target, err := cleanTarget(key, where)
	if err != nil {
		return Mount{}, err
	}
	m := Mount{Kind: Tmpfs, Target: target}
	for option := range strings.SplitSeq(options, ",") {
		if option == "" {
			continue
		}
		if err := m.addTmpfs(option); err != nil {
			return Mount{}, &Error{Key: key, Text: fmt.Sprintf("%q: %v", entry, err), Help: "options are mount flags (exec, nosuid ...), size, mode, uid, gid, nr_inodes, nr_blocks"}
		}
	}
	return m, nil
}

// addTmpfs takes one option. Size and mode have fields of their own, the rest is kept as it is written.
func (m *Mount) addTmpfs(option string) error {
	name, value, isValue := strings.Cut(option, "=")
	switch {
	case !isValue && name == "ro":
		m.ReadOnly = true
	case !isValue && name == "rw":
		m.ReadOnly = false
	case !isValue && tmpfsFlags[name]:
		m.Options = append(m.Options, name)
	case isValue && name == "size" && !strings.HasSuffix(value, "%"):
		bytes, err := sizeBytes(value)
		if err != nil {
			return err
		}
		m.SizeBytes = bytes
	case isValue && name == "mode":
		mode, err := strconv.ParseUint(value, 8, 32)
		if err != nil {
			return fmt.Errorf("mode %q is not an octal number", value)
		}
		m.Mode = uint32(mode)
	case isValue && tmpfsValues[name]:
		m.Options = append(m.Options, option)
	default:
		return fmt.Errorf("unknown option %q", option)
	}
	return nil
}

// sizeBytes reads a size as the kernel does for a tmpfs: a number with k, m or g.
func sizeBytes(value string) (int64, error) {
	number, factor := value, int64(1)
	if n := len(value); n > 0 {
		switch value[n-1] {
		case 'k', 'K':
			number, factor = value[:n-1], 1<<10
		case 'm', 'M':
			number, factor = value[:n-1], 1<<20
		case 'g', 'G':
			number, factor = value[:n-1], 1<<30
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return 0, fmt.Errorf("size %q is not a number of bytes, or one with k, m or g", value)
	}
	return n * factor, nil
}

// tmpfsLong is a volume entry of type tmpfs.
func tmpfsLong(target string, v types.ServiceVolumeConfig) Mount {
	m := Mount{Kind: Tmpfs, Target: target, ReadOnly: v.ReadOnly}
	if v.Tmpfs != nil {
		m.SizeBytes, m.Mode = int64(v.Tmpfs.Size), v.Tmpfs.Mode
	}
	return m
}
