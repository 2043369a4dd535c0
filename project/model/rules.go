package model

import (
	"sync"

	"github.com/compose-spec/compose-go/v2/transform"
)

// rules are the places of the tree at which each phase has something to do.
type rules struct {
	casts     *places[cast]
	canonical *places[rewrite]
	twins     *places[sameness]
	defaults  *places[transform.Func]
	checks    *places[needsCheck]
	paths     *places[pathKind]
}

// allRules are made when the first file is loaded.
var allRules = sync.OnceValue(func() *rules {
	defaults := make(map[string]transform.Func, len(transform.DefaultValues))
	for pattern, f := range transform.DefaultValues {
		defaults[string(pattern)] = f
	}
	return &rules{
		casts: newPlaces(casts()), canonical: newPlaces(rewrites()), twins: newPlaces(samenesses()),
		defaults: newPlaces(defaults), checks: newPlaces(checks()), paths: newPlaces(pathKinds()),
	}
})
