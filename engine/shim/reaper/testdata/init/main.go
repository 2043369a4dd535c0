// Program init is the reaper alone, for tests.
package main

import (
	"os"

	"berth/engine/shim/reaper"
)

func main() { os.Exit(reaper.Run(os.Args[1:])) }
