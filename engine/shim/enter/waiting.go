package enter

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Waits says whether a process is one that waits in a container for its checks. A container may have a process of its own be
// of this program, to be taken for it; but that is not of the process that stays, or if a check has made it so, it is in the
// container's PID namespace. Where that is the host's, nothing can be told by it.
func (e *Enterer) Waits(pid int) bool {
	e.running.Lock()
	r := e.resident
	e.running.Unlock()
	if r == nil {
		return false
	}
	var program, its unix.Stat_t
	if unix.Fstat(e.program, &program) != nil || unix.Stat(fmt.Sprintf("/proc/%d/exe", pid), &its) != nil {
		return false
	}
	if its.Dev != program.Dev || its.Ino != program.Ino {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	parent, numbers := "", 0
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "PPid":
			parent = strings.TrimSpace(value)
		case "NSpid":
			numbers = len(strings.Fields(value)) // one in each namespace from this one on
		}
	}
	return parent == strconv.Itoa(r.pid) && numbers == 1
}
