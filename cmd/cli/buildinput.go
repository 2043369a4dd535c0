package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// errNoInput: there is nothing to read.
var errNoInput = errors.New("it is empty")

// keepInput writes what can be read to a temporary file, that only its owner can read, and gives its path. Where ctx ends it
// stops waiting; the read that is under way then ends with the process.
func keepInput(ctx context.Context, in io.Reader) (path string, err error) {
	f, err := os.CreateTemp("", "berth-context-*")
	if err != nil {
		return "", fmt.Errorf("keep the build context: %w", err)
	}
	copied := make(chan error, 1)
	go func() {
		n, err := io.Copy(f, in)
		if err == nil && n == 0 {
			err = errNoInput
		}
		copied <- errors.Join(err, f.Close())
	}()
	select {
	case err = <-copied:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("read the build context from standard input: %w", err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}
