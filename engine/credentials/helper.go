package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/docker/cli/cli/config/types"
	protocol "github.com/docker/docker-credential-helpers/credentials"
)

// tokenUser is the user's name by which a program says that the secret is an identity token.
const tokenUser = "<token>"

// endLimit is how long a program that is killed may leave its output open, by processes of its own.
const endLimit = time.Second

// ask has a program tell user and secret for a registry; it gives nothing for one that the program doesn't know.
// Source: github.com/docker/docker-credential-helpers, "Development".
func (c Config) ask(ctx context.Context, program, key string) (types.AuthConfig, error) {
	path, err := c.lookUp(program)
	if err != nil {
		return types.AuthConfig{}, err
	}
	cmd := exec.CommandContext(ctx, path, protocol.ActionGet)
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.WaitDelay = c.Environment, "/", strings.NewReader(key), endLimit
	if c.User != nil && int(c.User.UID) != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.User.UID, Gid: c.User.GID, Groups: c.User.Groups}}
	}
	out, err := cmd.Output()
	said := strings.TrimSpace(string(out))
	switch {
	case err != nil && protocol.IsErrCredentialsNotFoundMessage(said):
		return types.AuthConfig{}, nil
	case err != nil:
		return types.AuthConfig{}, failure(program, said, err)
	}
	var answer protocol.Credentials
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&answer); err != nil {
		// The error must not have the answer, which may be the secret.
		return types.AuthConfig{}, fmt.Errorf("%s gave something else than a login", program)
	}
	if answer.Username == tokenUser {
		return types.AuthConfig{IdentityToken: answer.Secret}, nil
	}
	return types.AuthConfig{Username: answer.Username, Password: answer.Secret}, nil
}

// failure says how a program failed: in its own words if it had any.
func failure(program, said string, err error) error {
	var exit *exec.ExitError
	if said == "" && errors.As(err, &exit) {
		said = strings.TrimSpace(string(exit.Stderr))
	}
	if last := strings.LastIndexByte(said, '\n'); last >= 0 {
		said = said[last+1:]
	}
	if said == "" {
		said = err.Error()
	}
	return fmt.Errorf("%s: %s", program, said)
}

// lookUp finds a program by the owner's PATH. Folders that are relative to where the owner is are left out.
func (c Config) lookUp(program string) (string, error) {
	if len(c.Environment) == 0 {
		path, err := exec.LookPath(program)
		if err != nil {
			return "", fmt.Errorf("there is no program %s in the engine's PATH", program)
		}
		return path, nil
	}
	folders := c.variable("PATH")
	for _, dir := range filepath.SplitList(folders) {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no program %s in PATH (%s)", program, folders)
}
