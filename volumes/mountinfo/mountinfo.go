// Package mountinfo reads what the kernel says is mounted, and removes folders that something may be mounted in.
//
// It knows nothing of whose the folders are. Entry points are Read, Below and RemoveAll. RemoveAll never removes anything of
// a file system that is mounted in the folder: what is there may be a volume's, an image's or the host's.
package mountinfo

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Own is the table of this process.
const Own = "/proc/self/mountinfo"

// Entry is a line of a table: a folder of a file system, and where it is mounted.
type Entry struct {
	Device string // "8:1"
	Root   string
	Point  string
}

// Read reads a table, in the order in which was mounted. Source: proc_pid_mountinfo(5).
func Read(path string) ([]Entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Entry
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), " ", 6)
		if len(fields) < 6 {
			return nil, fmt.Errorf("%s: unexpected line %q", path, lines.Text())
		}
		root := strings.TrimSuffix(unescape(fields[3]), "//deleted")
		all = append(all, Entry{fields[2], root, unescape(fields[4])})
	}
	return all, lines.Err()
}

// unescape undoes the kernel's octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Within tells whether path is folder or below it.
func Within(path, folder string) bool {
	return path == folder || folder == "/" || strings.HasPrefix(path, folder+"/")
}

// Below gives the places at which something is mounted for this process, on dir or below it, in the order of the table and each
// as often as that is so.
func Below(dir string) ([]string, error) {
	dir, err := kernelName(dir)
	if err != nil {
		return nil, err
	}
	all, err := Read(Own)
	if err != nil {
		return nil, err
	}
	var points []string
	for _, e := range all {
		if Within(e.Point, dir) {
			points = append(points, e.Point)
		}
	}
	return points, nil
}

// kernelName is a path without symbolic links but for its last element, which is what is meant.
func kernelName(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}
