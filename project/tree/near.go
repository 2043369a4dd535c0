package tree

import (
	"fmt"
	"strings"
)

// UnknownKey is what to say about a key that isn't among those that are known.
func UnknownKey(key string, known []string) string {
	if near := Nearest(key, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) > listLimit {
		return fmt.Sprintf("none of the %d keys that are allowed here is like it; "+
			"they are explained at https://github.com/compose-spec/compose-spec/blob/main/05-services.md", len(known))
	}
	return "allowed here: " + strings.Join(known, ", ")
}

// listLimit is how many names a hint lists.
const listLimit = 30

// Suggestion is what to say about a name that isn't among those that are declared.
func Suggestion(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) == 0 || len(known) > listLimit {
		return ""
	}
	return "there are: " + strings.Join(known, ", ")
}

// Nearest is the one of known that is most like name, "" if none is much like it.
func Nearest(name string, known []string) string {
	best, distance := "", 1+max(len(name)/3, 1)
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// editDistance counts the letters to insert, remove, replace or swap with their neighbour to get from a to b.
func editDistance(a, b string) int {
	before := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
