// Package tree knows a compose file as a tree with positions.
//
// It owns parsing a file into documents, finding what a path leads to in one, and the first place in a document that
// breaks compose's schema. It knows nothing of how files are found, merged or loaded, and is used only to say where
// something is wrong. Entry points: Parse, Document.Find, Walk, Check; Nearest and what is built on it, for names that
// are misspelt.
//
// Paths have an entry per key, and "[0]" for an item of a list. Merges (<<) and aliases are followed.
package tree
