// Package ui is how berth speaks to its user: progress, tables, log lines, questions, errors, exit codes.
//
// It knows the engine's events (engine/api) and the terminal. It knows nothing of commands, files or the
// connection to the engine, and reads no environment: cmd/cli resolves that into a Config.
// Entry points: New gives a UI; UI.Progress shows what a verb does, UI.Logs prints lines of containers,
// UI.Table and UI.ClassicTable print tables, RenderError and ExitCode end a command.
//
// # Invariants
//
// Results go to Out, everything said about the work goes to Err. Without a terminal no escape sequence is
// written unless colour was asked for. Two looks exist: docker compose 5's, and docker-compose 1.29's ("classic") for
// projects in the v1 format.
//
// # Design
//
// Builds are drawn here (build.go is their state, buildframe.go the picture, buildtext.go the plain text) after the pattern
// of BuildKit's own display. Linked in, that would bring BuildKit's client and solver into the command line: megabytes, and
// milliseconds of each start.
package ui
