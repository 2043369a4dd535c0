package model

import (
	"maps"
	"slices"
	"strings"
	"testing"

	composego "github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// TestTextsBecomeNumbersWhereComposeGosDo compares the places at which a text is made something else.
func TestTextsBecomeNumbersWhereComposeGosDo(t *testing.T) {
	var theirs, ours []string
	for path := range composego.ToOptions(&types.ConfigDetails{}, nil).Interpolate.TypeCastMapping {
		theirs = append(theirs, strings.ReplaceAll(string(path), listStep, "*"))
	}
	for path := range maps.Keys(casts()) {
		ours = append(ours, path)
	}
	slices.Sort(theirs)
	slices.Sort(ours)
	if !slices.Equal(ours, theirs) {
		t.Errorf("ours: %v\ntheirs: %v", ours, theirs)
	}
}

// TestPlacesKeepNamedAndAnyKeyApart holds the tries against what walking them takes for given: below one place there are
// named keys or any key, so that one way down is enough.
func TestPlacesKeepNamedAndAnyKeyApart(t *testing.T) {
	r := allRules()
	checkApart(t, "casts", r.casts)
	checkApart(t, "canonical", r.canonical)
	checkApart(t, "twins", r.twins)
	checkApart(t, "defaults", r.defaults)
	checkApart(t, "checks", r.checks)
	checkApart(t, "paths", r.paths)
}

func checkApart[T any](t *testing.T, at string, p *places[T]) {
	if p.any != nil && len(p.below) > 0 {
		t.Errorf("%s: named keys and any key", at)
	}
	for key, next := range p.below {
		checkApart(t, at+"."+key, next)
	}
	if p.any != nil {
		checkApart(t, at+".*", p.any)
	}
}
