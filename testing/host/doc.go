// Package host tells tests what the host can do, lends them network namespaces, and finds what they leave behind.
//
// It owns no state on the host beyond a test's end. It knows of berth only that an engine has a root and a
// state folder, whose paths appear in the command lines of its processes and in its mounts.
// Entry points: Require (skip, or in continuous integration fail, where the host lacks something), NewNamespace (a network
// of a test's own), Eventually and Patience (waiting), Observe and Snapshot.Changes (the audit).
package host
