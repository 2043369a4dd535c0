// Command gen writes ../rules.go from the schema that compose-go carries.
package main

import (
	"berth/project/schema/write"
	"fmt"
	"os"
)

func main() {
	text, err := write.Rules()
	if err == nil {
		err = os.WriteFile("rules.go", text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
