package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"berth/testing/host"
)

// format changes when this package would make something else of the same recipes.
const format = "1"

// Ensure gives an OCI layout that has the images of these recipes (folders such as "mariadb"). The first call on a
// machine makes them, which takes one to two minutes; calls at the same time wait for each other.
func Ensure(t testing.TB, names ...string) (layoutDir string) {
	t.Helper()
	dir, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	layoutDir = filepath.Join(dir, "oci")
	if present(layoutDir, names) {
		return layoutDir
	}
	host.Require(t, host.Root, host.Overlay, host.Debootstrap)
	t.Logf("making test images %v in %s", names, dir)
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", "berth/testing/images/mkimages", "-out", dir}, names...)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		t.Fatalf("make test images %v: %v\n%s", names, err, output.String())
	}
	return layoutDir
}

func present(layoutDir string, names []string) bool {
	l := &layout{dir: layoutDir}
	for _, name := range names {
		r, err := readRecipe(name)
		if err != nil || !l.has(r.name) {
			return false
		}
	}
	return true
}

// cacheDir is where images of these very recipes are kept: below BERTH_IMAGES, else the user's cache.
func cacheDir() (string, error) {
	cache := os.Getenv("BERTH_IMAGES")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "berth-images")
	}
	digest, err := recipesDigest()
	return filepath.Join(cache, digest), err
}

func recipesDigest() (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, format, runtime.GOARCH)
	err := fs.WalkDir(recipes, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := recipes.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(sum, name)
		_, err = io.Copy(sum, f)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil))[:16], err
}

// Locked runs f while no other process does so with the same folder.
func Locked(ctx context.Context, dir string, f func(ctx context.Context) error) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		return f(ctx)
	}
}
