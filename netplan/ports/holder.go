package ports

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Holder names the process that has a port of the host, such as `process "nginx" (pid 812)`. It reads all of /proc,
// so it is for errors. ok is false if the process cannot be found: it may be in another namespace, or a port that is
// held but not listened on.
func Holder(protocol string, at netip.AddrPort) (name string, ok bool) {
	inodes := map[string]bool{}
	for _, table := range []string{protocol, protocol + "6"} {
		socketsAt("/proc/net/"+table, at, inodes)
	}
	if len(inodes) == 0 {
		return "", false
	}
	pids, err := filepath.Glob("/proc/[0-9]*/fd")
	if err != nil {
		return "", false
	}
	for _, dir := range pids {
		if !hasSocket(dir, inodes) {
			continue
		}
		proc := filepath.Dir(dir)
		comm, err := os.ReadFile(filepath.Join(proc, "comm"))
		if err != nil {
			continue
		}
		return fmt.Sprintf("process %q (pid %s)", strings.TrimSpace(string(comm)), filepath.Base(proc)), true
	}
	return "", false
}

func hasSocket(dir string, inodes map[string]bool) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		link, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		if inode, ok := strings.CutPrefix(link, "socket:["); ok && inodes[strings.TrimSuffix(inode, "]")] {
			return true
		}
	}
	return false
}

// socketsAt adds the inodes of the sockets in a table of /proc/net that keep others from the port: those without a
// peer whose address is the wanted one, or unspecified on either side.
func socketsAt(path string, at netip.AddrPort, inodes map[string]bool) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 {
			continue
		}
		local, err := parseHex(fields[1])
		if err != nil || local.Port() != at.Port() || !strings.HasSuffix(fields[2], ":0000") {
			continue
		}
		if local.Addr().IsUnspecified() || at.Addr().IsUnspecified() || local.Addr() == at.Addr() {
			inodes[fields[9]] = true
		}
	}
}

// parseHex reads "0100007F:1F90": words of the machine's byte order, then the port.
func parseHex(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var b []byte
	for i := 0; i+8 <= len(host); i += 8 {
		w, err := strconv.ParseUint(host[i:i+8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, err
		}
		b = binary.NativeEndian.AppendUint32(b, uint32(w))
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, strconv.ErrSyntax
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}
