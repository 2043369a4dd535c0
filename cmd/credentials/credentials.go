// Package credentials keeps the user's logins to registries, in the ordinary docker configuration: config.json of a
// folder, or the helper program that it names (credsStore, credHelpers).
//
// It owns the form of the keys in that file. It asks no registry: who saves a login has had it checked. The engine reads
// the same file by the same rules when it pulls and pushes.
//
// Entry points: Save, Remove and List; HasPrograms.
package credentials

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
)

// Login is what to show a registry.
type Login struct {
	User, Secret string
	// IdentityToken takes the secret's place where a registry gave one.
	IdentityToken string
}

// hubKey is the name of Docker Hub in docker's configuration.
const hubKey = "https://index.docker.io/v1/"

// Key is the name of a registry in docker's configuration: its host; scheme and path are left out. "" is Docker Hub.
func Key(registry string) string {
	for _, scheme := range []string{"https://", "http://"} {
		registry = strings.TrimPrefix(registry, scheme)
	}
	registry, _, _ = strings.Cut(registry, "/")
	switch registry {
	case "", "docker.io", "index.docker.io", "registry-1.docker.io", "hub.docker.com":
		return hubKey
	}
	return registry
}

// Save keeps a login for a registry in the configuration of a folder, which is made if need be. helper is the name of
// the program that has the secret now, "" if it is in the file, readable for its owner only.
func Save(folder, registry string, login Login) (helper string, err error) {
	file, err := load(folder)
	if err != nil {
		return "", err
	}
	key := Key(registry)
	auth := types.AuthConfig{ServerAddress: key, Username: login.User, Password: login.Secret, IdentityToken: login.IdentityToken}
	if login.IdentityToken != "" {
		auth.Password = ""
	}
	helper = helperOf(file, key)
	if helper != "" {
		err = file.GetCredentialsStore(key).Store(auth)
	} else { // the library's own store for this writes advice to standard error
		file.AuthConfigs[key] = auth
		err = file.Save()
	}
	if err != nil {
		return "", fmt.Errorf("save the login to %q: %w", registry, err)
	}
	return helper, nil
}

// Remove forgets the login to a registry. The error is errdefs.ErrNotFound if there is none.
func Remove(folder, registry string) error {
	file, err := load(folder)
	if err != nil {
		return err
	}
	key := Key(registry)
	store := file.GetCredentialsStore(key)
	if helperOf(file, key) == "" {
		if _, ok := file.AuthConfigs[key]; !ok {
			return fmt.Errorf("remove the login to %q: there is none: %w", registry, errdefs.ErrNotFound)
		}
	}
	if err := store.Erase(key); err != nil {
		return fmt.Errorf("remove the login to %q: %w", registry, err)
	}
	return nil
}

// List names the registries, as Key does, that there is a login for, in order.
func List(folder string) ([]string, error) {
	file, err := load(folder)
	if err != nil {
		return nil, err
	}
	all, err := file.GetAllCredentials()
	if err != nil {
		return nil, fmt.Errorf("list logins: %w", err)
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// HasPrograms reports that the configuration of a folder names a program that has secrets. One that can't be read names none.
func HasPrograms(folder string) bool {
	file, err := config.Load(folder)
	return err == nil && (file.CredentialsStore != "" || len(file.CredentialHelpers) > 0)
}

func load(folder string) (*configfile.ConfigFile, error) {
	file, err := config.Load(folder)
	if err != nil {
		return nil, fmt.Errorf("read the logins of %q: %w", folder, err)
	}
	return file, nil
}

// helperOf is the program that keeps the secret of a registry, "" for none.
func helperOf(file *configfile.ConfigFile, key string) string {
	if helper, ok := file.CredentialHelpers[key]; ok {
		return helper
	}
	return file.CredentialsStore
}
