// Package legacy turns files in docker-compose's v1 format into the current model.
//
// It owns how such a file is recognised, which keys it may have, how two v1 services are merged and where each key
// goes in the current model. It knows nothing of files, variables or compose-go's types: maps come in as YAML gives
// them, maps and problems go out, and what came in stays as it was. Entry points: Recognise, Check, Merge, Base,
// Convert. Source: docker-compose 1.29 as observed, and the schema of its v1 format.
//
// A document goes through Check, then has its variables replaced, its extends merged (Base, Merge) and further files
// put over it (Merge), each by the caller, who can read files; Convert comes last and sees all services at once,
// since "net: container:db" means a service if there is one of that name.
//
// # Design
//
// Networks: every service says network_mode: bridge unless it had net, and there is no project network; the engine
// keeps one shared network of that name. Named volumes belong to no project in this format, so they're declared
// with their bare name; whoever makes volumes makes them when they are missing and never removes them with the
// project. Links stay links, and what follows from them (three aliases, variables, /etc/hosts) is for the engine.
package legacy
