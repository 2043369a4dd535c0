package apply

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

func TestOfAHooksOutputTheEndIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		written []string
		want    string
	}{
		"nothing":              {nil, ""},
		"short":                {[]string{"a\n", "b\n"}, "a\nb"},
		"long, piece by piece": {slices.Repeat([]string{strings.Repeat("x", 100), "y"}, 100), strings.Repeat("x"+strings.Repeat("x", 99)+"y", 100)[100*101-hookTail:]},
		"long, at once":        {[]string{strings.Repeat("x", 5000) + "the reason\n"}, strings.Repeat("x", hookTail-len("the reason\n")) + "the reason"},
	} {
		t.Run(name, func(t *testing.T) {
			var out tail
			for _, text := range c.written {
				if n, err := out.Write([]byte(text)); n != len(text) || err != nil {
					t.Fatalf("write: %d, %v", n, err)
				}
			}
			if got := out.String(); got != c.want {
				t.Errorf("%q was kept, not %q", got, c.want)
			}
		})
	}
}

func TestAHooksVariableWithoutAValueIsTheContainers(t *testing.T) {
	value, none := "x=y", (*string)(nil)
	got := lifecycleHooks([]types.ServiceHook{{Command: types.ShellCommand{"a"}, Environment: types.MappingWithEquals{"Z": &value, "A": &value, "N": none}}})
	if len(got) != 1 || !slices.Equal(got[0].Env, []string{"A=x=y", "Z=x=y"}) {
		t.Errorf("it is %+v", got)
	}
}
