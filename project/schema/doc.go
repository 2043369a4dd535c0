// Package schema is compose's JSON schema as Go data, and holds values against it.
//
// It owns the rules (rules.go is written by gen from the schema that compose-go carries, and a test says when the two differ)
// and their meaning. It knows nothing of files, positions or messages: package tree goes by the same rules to say where a file
// breaks them.
//
// Entry points: Root, Valid, Match.
//
// # Design
//
// A JSON schema is commonly read and compiled by each program that starts, which takes longer than all else that a small
// command does. As composite literals of pointers and slices the rules are laid out by the linker: there is nothing to do at
// the start, and a page of them is read when a value needs it.
package schema
