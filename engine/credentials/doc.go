// Package credentials looks up who to log in to a registry as, for a caller of the engine.
//
// It owns how a caller's docker configuration is read: logins in the file (auths), the variable DOCKER_AUTH_CONFIG, and
// the programs that the file names (credsStore, credHelpers), which are run as the caller would run them: found by the
// caller's PATH, with the caller's environment, as the caller's user. It asks no registry and keeps nothing. The command
// line writes the same file by the same rules (cmd/credentials).
//
// Entry point: Config.Of.
package credentials
