package image

import (
	"errors"
	"fmt"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/credentials"
	"github.com/docker/cli/cli/config/types"
)

// errNoCredentials marks credentials that are configured and can't be had.
var errNoCredentials = errors.New("read credentials")

// dockerHubKey is the name of Docker Hub in docker's configuration, whatever its registry's host is.
const dockerHubKey = "https://index.docker.io/v1/"

// credentialsOf looks up user and secret for a registry's host in the docker configuration of a folder: plain ones,
// credsStore and credHelpers. It gives nothing for an unknown host and for folder "". The user is "" if the secret is
// an identity token.
func credentialsOf(folder, host string) (user, secret string, err error) {
	if folder == "" {
		return "", "", nil
	}
	file, err := config.Load(folder)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", errNoCredentials, err)
	}
	key := host
	if host == "docker.io" || host == "registry-1.docker.io" || host == "index.docker.io" {
		key = dockerHubKey
	}
	helper, ok := file.CredentialHelpers[key]
	if !ok && key == dockerHubKey {
		helper, ok = file.CredentialHelpers["docker.io"]
	}
	if !ok {
		helper = file.CredentialsStore
	}
	var auth types.AuthConfig
	if helper != "" {
		auth, err = credentials.NewNativeStore(file, helper).Get(key)
	} else {
		auth, err = credentials.NewFileStore(file).Get(key)
	}
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%w: %w", errNoCredentials, err)
	case auth.IdentityToken != "":
		return "", auth.IdentityToken, nil
	default:
		return auth.Username, auth.Password, nil
	}
}
