package ipam

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// write puts v as JSON into the file of name, under a temporary name first.
func write(dir, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fileName(name))
	tmp := strings.TrimSuffix(path, ".json") + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func remove(dir, name string) error {
	err := os.Remove(filepath.Join(dir, fileName(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// fileName makes a name safe for a folder without letting two names meet.
func fileName(name string) string { return Escape(name) + ".json" }

// Escape writes every byte of s that is not a letter, a digit, "_" or "-" as "." and two hexadecimal digits. The
// result is good for a file's name and for a container id of CNI, which begins with a letter or a digit.
func Escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if i == 0 && !letter {
			b.WriteString("x..") // two dots are found nowhere else
		}
		if letter || c == '_' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, ".%02x", c)
		}
	}
	return b.String()
}
