package build

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/session/sshforward/sshprovider"
	"google.golang.org/grpc"

	"berth/engine/credentials"
)

// logins answers BuildKit's question for user and secret of a registry. It gives no tokens: BuildKit then fetches
// them itself.
type logins struct {
	auth.UnimplementedAuthServer
	configured credentials.Config
}

// Register is session.Attachable's.
func (l logins) Register(s *grpc.Server) { auth.RegisterAuthServer(s, l) }

// Credentials is auth.AuthServer's.
func (l logins) Credentials(ctx context.Context, req *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	user, secret, err := l.configured.Of(ctx, req.Host)
	if err != nil {
		return nil, err
	}
	return &auth.CredentialsResponse{Username: user, Secret: secret}, nil
}

// secretsByID is a secrets.SecretStore.
type secretsByID map[string]Secret

func secretStore(list []Secret) session.Attachable {
	store := secretsByID{}
	for _, s := range list {
		store[s.ID] = s
	}
	return secretsprovider.NewSecretProvider(store)
}

// GetSecret is secrets.SecretStore's.
func (s secretsByID) GetSecret(_ context.Context, id string) ([]byte, error) {
	secret, ok := s[id]
	switch {
	case !ok:
		return nil, secrets.ErrNotFound
	case secret.File != "":
		return os.ReadFile(secret.File)
	}
	return secret.Data, nil
}

// agentsOf serves the SSH agents of a build. Of several with one id the last counts.
func agentsOf(list []Agent) ([]session.Attachable, error) {
	if len(list) == 0 {
		return nil, nil
	}
	var configs []sshprovider.AgentConfig
	for i, a := range list {
		if slices.ContainsFunc(list[i+1:], func(later Agent) bool { return later.ID == a.ID }) {
			continue
		}
		if a.Path == "" {
			return nil, &Error{Reason: fmt.Sprintf("there is no SSH agent for %q", a.ID), hint: "start one (SSH_AUTH_SOCK is not set), or name a key: build.ssh: [" + a.ID + "=PATH]"}
		}
		configs = append(configs, sshprovider.AgentConfig{ID: a.ID, Paths: []string{a.Path}})
	}
	p, err := sshprovider.NewSSHAgentProvider(configs)
	if err != nil {
		return nil, &Error{Reason: fmt.Sprintf("SSH keys can't be used: %v", rootCause(err)), cause: err}
	}
	return []session.Attachable{p}, nil
}
