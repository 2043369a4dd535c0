package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// format changes when this package would make something else of the same recipes.
const format = "2"

// baseRecipe is the folder of what every image begins with.
const baseRecipe = "base"

// defaultCache is BERTH_IMAGES, else a folder of the user's cache.
func defaultCache() (string, error) {
	if cache := os.Getenv("BERTH_IMAGES"); cache != "" {
		return filepath.Abs(cache)
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(user, "berth-images"), nil
}

// place is where what these very recipes make is kept: an image's with its name and the digest of its recipe and the base's.
func place(cache, name string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, format, runtime.GOARCH)
	for _, folder := range []string{baseRecipe, name} {
		err := fs.WalkDir(recipes, path.Join("recipes", folder), func(file string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := recipes.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Fprintln(sum, file, len(text))
			_, err = sum.Write(text)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return filepath.Join(cache, name+"-"+hex.EncodeToString(sum.Sum(nil))[:16]), nil
}

// once makes a place if it isn't there: make fills a folder beside it, which appears under the place's name when all is
// in it. Other processes that want the same wait.
func once(ctx context.Context, place string, make func(part string) error) (err error) {
	if there(place) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, place+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if there(place) {
		return nil
	}
	part := place + ".part"
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o755)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }() // renamed by then, if all went well
	if err := make(part); err != nil {
		return err
	}
	return os.Rename(part, place)
}

func there(place string) bool {
	_, err := os.Stat(place)
	return err == nil
}

// lock polls, since a wait for flock could not be given up.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", file, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-tick.C:
		}
	}
}
