// Command berth-shim runs beside the containers of a project, whether or not the engine does.
//
// It is started by the engine only.
package main

import (
	"runtime"

	"berth/engine/shim"
)

// init has main run on the process's first thread, which Go has no other way for: on a busy host main may have moved to another
// before its first line.
func init() { runtime.LockOSThread() }

func main() {
	shim.Main()
}
