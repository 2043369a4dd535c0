// Package layers holds the project to its import rules.
//
// It owns the rules of STYLE.md section 1 as a table, and reads the import lines of all Go files to compare.
// It knows nothing of what packages do. Entry points: Read (a source tree) and Check (what breaks the rules, as
// sentences). The test of this package applies them to the project itself.
//
// Test files follow the same edges, and may use everything below testing besides.
package layers
