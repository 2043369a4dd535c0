package client

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
)

// EngineID is the name under which an engine's links, rules and control groups are known on this host: the same for the
// same state folder, another one for another.
func EngineID(state string) string {
	if state == "/run/berth" {
		return "0"
	}
	sum := sha256.Sum256([]byte(strings.TrimRight(state, "/")))
	return hex.EncodeToString(sum[:])[:5]
}

// Socket is the engine's socket below its run-time state folder.
func Socket(state string) string { return filepath.Join(state, "engine.sock") }

// LogFile is where an engine that was started in the background writes its log.
func LogFile(root string) string { return filepath.Join(root, "engine.log") }

// LockFile is held by the engine that runs with a state folder, until its process ends.
func LockFile(state string) string { return filepath.Join(state, "engine.lock") }

// StoppedFile exists while the engine was asked to stay down: shims don't start it again.
func StoppedFile(state string) string { return filepath.Join(state, "stopped") }

// startLock is held by the one process that starts the engine.
func startLock(state string) string { return filepath.Join(state, "start.lock") }
