package credentials

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	filestore "github.com/docker/cli/cli/config/credentials"
	"github.com/docker/cli/cli/config/types"
)

// ErrUnreadable marks credentials that are configured and can't be had.
var ErrUnreadable = errors.New("read credentials")

// Config is a docker configuration, and how its owner runs programs. The zero Config has no logins.
type Config struct {
	// Folder has config.json; "" is none.
	Folder string
	// Environment is the owner's, as KEY=VALUE; none: the engine's own.
	Environment []string
	// User is whom programs run as; nil: the engine's own.
	User *User
}

// User is a user of the host.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// hubKey is the name of Docker Hub in docker's configuration, whatever its registry's host is.
const hubKey = "https://index.docker.io/v1/"

// inVariable is the variable that may have logins, which win over those of the file.
// Source: docker's documentation of its command line, "Environment variables".
const inVariable = "DOCKER_AUTH_CONFIG"

// Of looks up user and secret for a registry's host. It gives nothing for one that isn't known. The user is "" if the
// secret is an identity token. The error is ErrUnreadable, or that of ctx.
func (c Config) Of(ctx context.Context, host string) (user, secret string, err error) {
	key := host
	if host == "docker.io" || host == "registry-1.docker.io" || host == "index.docker.io" {
		key = hubKey
	}
	auth, err := c.find(ctx, key)
	switch {
	case ctx.Err() != nil:
		return "", "", context.Cause(ctx)
	case err != nil:
		return "", "", fmt.Errorf("%w: %w", ErrUnreadable, err)
	case auth.IdentityToken != "":
		return "", auth.IdentityToken, nil
	}
	return auth.Username, auth.Password, nil
}

func (c Config) find(ctx context.Context, key string) (types.AuthConfig, error) {
	if text := c.variable(inVariable); text != "" {
		file := configfile.New("")
		if err := file.LoadFromReader(strings.NewReader(text)); err != nil {
			return types.AuthConfig{}, fmt.Errorf("%s: %w", inVariable, err)
		}
		if auth, err := filestore.NewFileStore(file).Get(key); err != nil || auth != (types.AuthConfig{}) {
			return auth, err
		}
	}
	if c.Folder == "" {
		return types.AuthConfig{}, nil
	}
	file, err := config.Load(c.Folder)
	if err != nil {
		return types.AuthConfig{}, err
	}
	if name := helperOf(file, key); name != "" {
		return c.ask(ctx, "docker-credential-"+name, key)
	}
	return filestore.NewFileStore(file).Get(key)
}

// helperOf is the name of the program that has the secret of a registry, "" for none.
func helperOf(file *configfile.ConfigFile, key string) string {
	helper, ok := file.CredentialHelpers[key]
	if !ok && key == hubKey {
		helper, ok = file.CredentialHelpers["docker.io"]
	}
	if !ok {
		helper = file.CredentialsStore
	}
	return helper
}

// variable is the value of one in the owner's environment, the last of several.
func (c Config) variable(name string) (value string) {
	for _, kv := range c.Environment {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}
