package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// topTitles are the columns of Top, those of ps -ef.
var topTitles = []string{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"}

// clockTicks is USER_HZ, which is 100 on every Linux that Go runs on.
const clockTicks = 100

// Top gives a table of a container's processes in the form of ps -ef.
func (s *Store) Top(ctx context.Context, c *Container) (titles []string, rows [][]string, err error) {
	pids, err := s.Pids(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	boot, err := bootTime()
	if err != nil {
		return nil, nil, err
	}
	for _, pid := range pids {
		row, err := processRow(pid, boot, time.Now())
		if errors.Is(err, os.ErrNotExist) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, row)
	}
	return topTitles, rows, nil
}

func bootTime() (time.Time, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return time.Unix(n, 0), err
		}
	}
	return time.Time{}, errors.New("read /proc/stat: no line btime")
}

func processRow(pid int, boot, now time.Time) ([]string, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil, notExist(err)
	}
	// The name stands in parentheses and may itself have some.
	i, j := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if i < 0 || j < i {
		return nil, fmt.Errorf("read %s/stat: no name in it", dir)
	}
	f := strings.Fields(string(stat[j+1:]))
	if len(f) < 20 {
		return nil, fmt.Errorf("read %s/stat: it is too short", dir)
	}
	num := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	cpu := time.Duration(num(f[11])+num(f[12])) * time.Second / clockTicks
	started := boot.Add(time.Duration(num(f[19])) * time.Second / clockTicks)
	share := 0
	if life := now.Sub(started); life > 0 {
		share = int(100 * cpu / life)
	}
	cmd, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return nil, notExist(err)
	}
	command := strings.TrimSpace(strings.ReplaceAll(string(cmd), "\x00", " "))
	if command == "" {
		command = "[" + string(stat[i+1:j]) + "]"
	}
	return []string{owner(dir), strconv.Itoa(pid), f[1], strconv.Itoa(share), startTime(started, now), tty(num(f[4])), cpuTime(cpu), command}, nil
}

// notExist: a process that ends while it is read gives ESRCH.
func notExist(err error) error {
	if strings.Contains(err.Error(), "no such process") {
		return os.ErrNotExist
	}
	return err
}

func owner(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return "?"
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Uid:"); ok {
			id := strings.Fields(v)[1]
			if u, err := user.LookupId(id); err == nil && len(u.Username) <= 8 {
				return u.Username
			}
			return id
		}
	}
	return "?"
}

func startTime(t, now time.Time) string {
	switch {
	case now.Sub(t) < 24*time.Hour && t.Day() == now.Day():
		return t.Format("15:04")
	case t.Year() == now.Year():
		return t.Format("Jan02")
	}
	return t.Format("2006")
}

func cpuTime(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

// tty names a terminal by its device number: 136 to 143 are the pseudo-terminals.
func tty(dev int64) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case dev == 0:
		return "?"
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", (major-136)*256+minor)
	}
	return fmt.Sprintf("tty%d", minor)
}
