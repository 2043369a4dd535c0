package cli

import (
	"os"
	"path/filepath"

	"berth/cmd/credentials"
	"berth/engine/api"
)

// clientHost is what the engine needs of the user's environment. That isn't sent as a whole unless a program needs it.
func (a *app) clientHost() api.ClientHost {
	h := api.ClientHost{DockerConfig: a.dockerConfig(), Platform: a.env["DOCKER_DEFAULT_PLATFORM"], SSHAgent: a.env["SSH_AUTH_SOCK"]}
	switch logins := a.env["DOCKER_AUTH_CONFIG"]; {
	case h.DockerConfig != "" && credentials.HasPrograms(h.DockerConfig):
		h.Environment, h.User = a.host.Environ, self()
	case logins != "":
		h.Environment = []string{"DOCKER_AUTH_CONFIG=" + logins}
	}
	return h
}

// dockerConfig is the folder of docker's configuration, "" where neither DOCKER_CONFIG nor HOME is set.
func (a *app) dockerConfig() string {
	switch {
	case a.env["DOCKER_CONFIG"] != "":
		return a.absolute(a.env["DOCKER_CONFIG"])
	case a.env["HOME"] != "":
		return a.absolute(filepath.Join(a.env["HOME"], ".docker"))
	}
	return ""
}

// self is whom this process runs as.
func self() *api.User {
	u := &api.User{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	groups, _ := os.Getgroups() // without them a program has those of its user's first group
	for _, g := range groups {
		u.Groups = append(u.Groups, uint32(g))
	}
	return u
}
