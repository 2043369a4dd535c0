package project

import (
	"regexp"
	"testing"
)

// TestLinesAreFoundAsByExpressions holds the search by lines against the expression that says the same.
func TestLinesAreFoundAsByExpressions(t *testing.T) {
	services := regexp.MustCompile(`(?m)^["']?services["']?[ \t]*:`)
	version := regexp.MustCompile(`(?m)^version[ \t]*:[ \t]*["'0-9.]*[ \t]*(#.*)?\r?$`)
	for _, text := range []string{
		"", "services:", "services :\n", "a: 1\nservices:\n", " services:", "\"services\": {}", "'services'\t: {}", "services", "servicesx:", "#services:", "a\nservices:\r\n",
		"version: '3'\nservices:", "x: 1\nversion: \"3.8\" # old\r\n", "version: three", " version: 3", "version:", "versions: 3\nversion: 2", "\n\nversion: 1",
	} {
		if got, want := hasTopKey([]byte(text), "services"), services.MatchString(text); got != want {
			t.Errorf("%q: services: got %v, want %v", text, got, want)
		}
		want := -1
		if at := version.FindStringIndex(text); at != nil {
			want = at[0]
		}
		if got := versionAt([]byte(text), versionLine); got != want {
			t.Errorf("%q: version at %d, want %d", text, got, want)
		}
	}
}

// TestPlainReferencesAreReferences holds the short way of telling references against the whole expression.
func TestPlainReferencesAreReferences(t *testing.T) {
	for text, plain := range map[string]bool{
		"nginx": true, "a/b": true, "a.b/c-d/e_f:1.2-x": true, "x:Latest": true, "": false, "a:": false, "A": false, "a//b": false, "/a": false, "a-": false,
		"a__b": false, "a:-1": false, "host:5000/a": false, "host:5000/a:1": false, "a@sha256:00": false, "a b": false, "a:b:c": false, "a.": false,
	} {
		if got := plainReference(text); got != plain {
			t.Errorf("%q: got %v", text, got)
		} else if got && !imageReference().MatchString(text) {
			t.Errorf("%q is no reference", text)
		}
	}
}
