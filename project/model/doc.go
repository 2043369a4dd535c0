// Package model makes compose-go's model of the content of compose files.
//
// It owns the way from YAML to types.Project: tags, variables, include, extends, merging, the schema, short forms, defaults,
// paths and names. It knows nothing of where files are looked for, of the v1 format, of positions in files or of what to tell a
// user; its errors are worded as compose-go's, and package project explains them. It reads the files that files name, and
// nothing else of the host.
//
// Entry points: Load, Tree.
//
// Invariants: what Load gives equals what compose-go's own loader gives for the same files and options, field by field
// (equal_test.go loads all of project/testdata, and files made up from the schema, both ways). What goes in is changed: trees
// are built up in place.
//
// # Design
//
// compose-go's loader holds each value of a file against each of some 200 patterns, taking both apart at the dots every time; a
// file of a thousand services takes a second or more. And it can't be linked without a validator whose start takes as long as
// that of the rest of this program. So the phases are compose-go's, in its order, but a rule is found by walking down a trie
// beside the tree (place.go), parts that no rule is about are not walked at all, and values are bound to the model by plans
// that are made once per type and load (decode.go). What a rule does, where that is not a line or two, is still compose-go's: a rare
// value is put into a tree of its own and handed to its packages transform, override, validation and paths.
package model
