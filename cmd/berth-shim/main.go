// Command berth-shim runs beside the containers of a project, whether or not the engine does.
//
// It is started by the engine only.
package main

import (
	"berth/engine/shim"
)

func main() {
	shim.Main()
}
