package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Processes are those in the place's network namespace, but for this one.
func (p *Place) Processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if at, err := os.Readlink(filepath.Join("/proc", e.Name(), "ns/net")); err == nil && at == p.network {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Processes are the peer's own: engine, shims, monitors, proxies; not its containers'.
func (p *Peer) Processes() []int { return p.place.Processes() }

// Memory is the proportional set size of the peer's own processes, in bytes: what several share is counted once.
func (p *Peer) Memory() (int64, error) {
	total := int64(0)
	for _, pid := range p.Processes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil { // it has ended
			continue
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					return 0, err
				}
				total += kib << 10
			}
		}
	}
	return total, nil
}

// tick is the unit of /proc/PID/stat; the kernel shows all architectures' programs this one (USER_HZ).
const tick = 10 * time.Millisecond

// CPU is the processor time that the peer's own processes have used, and those that they have started and waited for: health
// checks and the runtimes' short lives are in it.
func (p *Peer) CPU() time.Duration {
	total := time.Duration(0)
	for _, pid := range p.Processes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// The name may have spaces: fields are counted from behind it. Source: proc_pid_stat(5), utime to cstime are 14 to 17.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, f := range fields[11:15] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err == nil {
				total += time.Duration(n) * tick
			}
		}
	}
	return total
}
