package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func segmentPath(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.log", seq))
}

func indexPath(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.idx", seq))
}

func parseSegmentName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok || len(digits) < 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// segments lists the numbers in dir, lowest first. A folder that is not there has none.
func segments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir) // sorted by name, and so by number up to 99999999
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		if n, ok := parseSegmentName(e.Name()); ok {
			out = append(out, n)
		}
	}
	return out, nil
}
