package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Folders are where peers are looked for: a list in the form of PATH, else PATH itself and where Docker keeps its plug-ins.
func Folders(list string) []string {
	if list != "" {
		return filepath.SplitList(list)
	}
	return append(filepath.SplitList(os.Getenv("PATH")), "/usr/libexec/docker/cli-plugins", "/usr/local/lib/docker/cli-plugins", "/usr/lib/docker/cli-plugins")
}

// Lookup is the first of a program's files in folders, "" if there is none.
func Lookup(folders []string, program string) string {
	if all := lookupAll(folders, program); len(all) > 0 {
		return all[0]
	}
	return ""
}

func lookupAll(folders []string, program string) []string {
	var found []string
	for _, folder := range folders {
		path, err := filepath.Abs(filepath.Join(folder, program))
		if err != nil {
			continue
		}
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			found = append(found, path)
		}
	}
	return found
}

// searchPath is what a peer's engine finds its own parts with: the folders come first.
func searchPath(folders []string) string {
	return "PATH=" + strings.Join(append(folders, "/usr/sbin", "/usr/bin", "/sbin", "/bin"), ":")
}

// Find starts the peers that are in folders and wanted, each with its data below dir, and what ends with the host below run. What is not there, or doesn't start,
// is told in words. The caller closes the peers, even if there is an error.
func Find(ctx context.Context, folders []string, dir, run string, wanted func(name string) bool) (found []*Peer, missing []string) {
	miss := func(what string, err error) { missing = append(missing, fmt.Sprintf("%s: %v", what, err)) }
	for _, family := range []struct {
		name string
		open func(ctx context.Context, folders []string, dir, run string, wanted func(string) bool) ([]*Peer, error)
	}{{"docker", openDocker}, {"podman", openPodman}} {
		own := filepath.Join(dir, family.name)
		if err := os.Mkdir(own, 0o755); err != nil {
			miss(family.name, err)
			continue
		}
		opened, err := family.open(ctx, folders, own, filepath.Join(run, family.name), wanted)
		if err != nil {
			miss(family.name, err)
		}
		found = append(found, opened...)
	}
	return found, missing
}

// notThere says which part of a peer is not installed.
func notThere(program string) error { return errors.New("there is no " + program) }
