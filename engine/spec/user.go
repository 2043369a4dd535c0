package spec

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/moby/sys/user"
)

// User is whom a process runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // GID first, then the others, each once
	Home     string   // for the user to know: the runtime sets HOME
}

// LookupUser finds a user ("", "name", "1000", "name:group", "1000:1000") and the groups of group_add in the
// content of an image's /etc/passwd and /etc/group. A number needs no entry, a name does.
func LookupUser(spec string, passwd, group []byte, groupAdd []string) (User, error) {
	found, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return User{}, &userError{what: fmt.Sprintf("user %q", spec), help: "use a user and group of the image's /etc/passwd and /etc/group, or numbers", cause: err}
	}
	u := User{UID: uint32(found.Uid), GID: uint32(found.Gid), Home: found.Home, Groups: []uint32{uint32(found.Gid)}}
	more := found.Sgids
	if len(groupAdd) > 0 {
		added, err := user.GetAdditionalGroups(groupAdd, bytes.NewReader(group))
		if err != nil {
			return User{}, &userError{what: fmt.Sprintf("group_add %q", groupAdd), help: "use groups of the image's /etc/group, or numbers", cause: err}
		}
		slices.Sort(added)
		more = slices.Concat(more, added)
	}
	for _, gid := range more {
		if !slices.Contains(u.Groups, uint32(gid)) {
			u.Groups = append(u.Groups, uint32(gid))
		}
	}
	return u, nil
}

type userError struct {
	what, help string
	cause      error
}

func (e *userError) Error() string     { return e.what + ": " + e.cause.Error() }
func (e *userError) Unwrap() error     { return e.cause }
func (e *userError) Hint() string      { return e.help }
func (e *userError) InvalidParameter() {}
