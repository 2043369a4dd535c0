package build_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"berth/engine/build"
)

func aCheckFindsAndBuildsNothing(t *testing.T, b *bench) {
	before := b.file("shop-web", "x")
	dir := b.folder(map[string]string{"Dockerfile": "FROM BASE as stage\nRUN [\"/probe\", \"exit\", \"9\"]\nMAINTAINER\\\n  me\nENV API_TOKEN=x\nWORKDIR sub\n"})
	found, err := b.builder.Check(b.ctx, b.whole(build.Request{Context: dir}), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range found {
		rule, _, _ := strings.Cut(w.Short, ":")
		got = append(got, fmt.Sprintf("%s:%d %s %q", w.File, w.Line, rule, w.Source))
		if !strings.HasPrefix(w.URL, "https://docs.docker.com/") || len(w.Detail) == 0 {
			t.Errorf("%s has no more than %+v", rule, w)
		}
	}
	want := []string{b.text(`Dockerfile:1 FromAsCasing ["FROM BASE as stage"]`), `Dockerfile:3 MaintainerDeprecated ["MAINTAINER\\" "  me"]`,
		`Dockerfile:5 SecretsUsedInArgOrEnv ["ENV API_TOKEN=x"]`, `Dockerfile:6 WorkdirRelativePath ["WORKDIR sub"]`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("found\n%s\nand not\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if after := b.file("shop-web", "x"); after != before {
		t.Error("the image changed")
	}
}

func aCheckOfWhatCannotBeBuiltFails(t *testing.T, b *bench) {
	for text, want := range map[string]string{
		"FROM BASE\nRUNN x\n":             `build "web": Dockerfile:2: unknown instruction: RUNN`,
		"FROM BASE\nCOPY a\n":             `build "web": Dockerfile:2: COPY requires at least two arguments`,
		"FROM BASE-none\nMAINTAINER me\n": `Dockerfile:1: `,
	} {
		found, err := b.builder.Check(b.ctx, b.whole(build.Request{Context: b.folder(map[string]string{"Dockerfile": text})}), nil)
		var e *build.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %+v and %v", text, found, err)
		}
	}
}

// The warnings of a build are worded and placed as those of a check.
func aBuildWarnsAsACheckDoes(t *testing.T, b *bench) {
	req := build.Request{Context: b.folder(map[string]string{"Dockerfile": "FROM BASE\nMAINTAINER me\n"})}
	found, err := b.builder.Check(b.ctx, b.whole(req), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, rec := b.build(req)
	if len(found) != 1 || len(rec.warned) != 1 {
		t.Fatalf("the check found %+v, the build %+v", found, rec.warned)
	}
	warned := rec.warned[0]
	warned.Step = ""
	if fmt.Sprintf("%+v", warned) != fmt.Sprintf("%+v", found[0]) {
		t.Errorf("the check found %+v, the build %+v", found[0], warned)
	}
}
