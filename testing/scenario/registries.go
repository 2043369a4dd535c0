package scenario

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/testing/registry"
)

// Image is an image with the probe in its first layer, for a registry of the scenario's own. Those of two names are two images.
func (s *Scenario) Image(name string) *registry.Image {
	s.Helper()
	img, err := shared.probeImage(name, map[string]registry.File{}, func(i *registry.Image) { i.Config.Labels = map[string]string{"name": name} })
	if err != nil {
		s.Fatal(err)
	}
	return img
}

// Noise is data that does not compress, the same for the same seed.
func Noise(seed uint64, size int) []byte {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// RegistryAbroad runs a registry of the scenario's own on another host, and gives its address there: what is taken for granted
// of loopback addresses isn't of that one.
func (s *Scenario) RegistryAbroad(options ...registry.Option) (r *registry.Registry, address string) {
	s.Helper()
	const here, there = "198.51.100.7", "198.51.100.9"
	r = registry.Start(s.T, append(options, registry.ReachedAt(there))...)
	other := s.OtherHost()
	if err := s.Network.Connect("lan0", here+"/24", other, "eth0", there+"/24"); err != nil {
		s.Fatal(err)
	}
	s.Rebase()
	l, err := other.Listen("tcp", there+":0")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go splice(c, r.Addr)
		}
	}()
	return r, l.Addr().String()
}

// CertsDir is the folder for what the engine is to know of the registry at an address.
func (s *Scenario) CertsDir(address string) string {
	return filepath.Join(s.Config, "certs.d", address)
}

// SmallDisk puts the engine's data on a disk of its own, with so much room beside what the engine has there already. It is
// called before a project is there; the disk goes with the scenario.
func (s *Scenario) SmallDisk(room int64) {
	s.Helper()
	s.Must("engine", "start")
	s.Must("engine", "stop", "--all")
	used := s.size(s.Root)
	if err := unix.Mount("tmpfs", s.Root, "tmpfs", 0, "size="+strconv.FormatInt(used+room, 10)); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if r := s.base().run(context.Background(), []string{"engine", "stop", "--all"}); r.Code != 0 {
			s.Error(r)
		}
		// The last processes may be on their way out.
		s.Eventually("nobody uses the disk any more", func() error { return unix.Unmount(s.Root, 0) })
	})
}

// size is what is below a folder, in whole blocks.
func (s *Scenario) size(dir string) (sum int64) {
	s.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			sum += st.Blocks * 512
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return sum
}

// Free is the room on the disk that a folder is on.
func (s *Scenario) Free(path string) int64 {
	s.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		s.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize
}

// Held is what the engine says it holds: the sizes of "berth system df".
func (s *Scenario) Held() string {
	s.Helper()
	return strings.TrimSpace(s.Must("system", "df", "--format", "{{.Type}} {{.Size}}").Stdout)
}
