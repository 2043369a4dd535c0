// Program distribution is the registry's own command, of the module that the tests' registry is from: what the image
// registry:3 has in it.
//
// It owns the choice of what is linked in: storage in folders and in memory, logins and tokens. The storage of cloud providers is
// left out; their libraries would be most of the program. It knows nothing of tests.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // the access controller by that name
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

func main() {
	if registry.RootCmd.Execute() != nil { // it has said why
		os.Exit(1)
	}
}
