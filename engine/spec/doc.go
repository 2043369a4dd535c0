// Package spec turns a service, an image's configuration and facts about the host into the OCI runtime
// specification of a container, and into the files and variables that go with it.
//
// It owns docker's defaults (capabilities, masked paths, devices, mounts, sysctls), the rules by which a
// service overrides its image, link variables, /etc/hosts and resolv.conf. It is pure: it opens no file,
// asks no kernel and knows no containerd; device nodes, users, namespaces and paths come in resolved. What
// a host can't do is left out with a notice where docker does so too, and is an error elsewhere.
//
// Entry points: ParseImage and Merge (what runs), LookupUser (as whom), Build (the specification), Exec (a
// further process in it), LinkEnv, Hosts, ResolvConf.
//
// Invariant: the same input gives the same output, byte by byte, so that a specification can be compared.
package spec
