package images

import (
	"bytes"
	"os/exec"
	"testing"

	"berth/testing/host"
)

// Ensure gives, for each of these recipes (folders such as "mariadb"), an OCI layout that has its image. The first call
// on a machine makes them, which takes half a minute or more for each; what others are making is waited for.
func Ensure(t testing.TB, names ...string) (layouts []string) {
	t.Helper()
	cache, err := defaultCache()
	if err != nil {
		t.Fatal(err)
	}
	missing := false
	for _, name := range names {
		at, err := place(cache, name)
		if err != nil {
			t.Fatal(err)
		}
		layouts = append(layouts, at)
		missing = missing || !there(at)
	}
	if !missing {
		return layouts
	}
	host.Require(t, host.Root, host.Overlay, host.Debootstrap)
	t.Logf("making test images %v in %s", names, cache)
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", "berth/testing/images/mkimages", "-out", cache}, names...)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		t.Fatalf("make test images %v: %v\n%s", names, err, output.String())
	}
	return layouts
}
