package layers

import (
	"fmt"
	"slices"
	"strings"
)

// edges says what each layer may import of this module: a folder with all below it ("project/..."), or just
// one package ("graph/plan"). The longest prefix of a package's folder that is a key here is its layer.
var edges = map[string][]string{
	"cmd":           {"cmd/...", "engine/api", "engine/client", "engine/daemon", "engine/shim", "graph/plan", "project/..."},
	"cmd/berthd":    {"engine", "engine/api", "engine/client", "engine/daemon", "engine/runtime"}, // where the engine meets its server
	"engine":        {"engine/...", "netplan/...", "volumes/...", "graph/...", "project/..."},
	"engine/api":    {},
	"engine/client": {"engine/api"},
	"netplan":       {"netplan/...", "project/..."},
	"volumes":       {"volumes/...", "project/..."},
	"graph":         {"graph/...", "project/..."},
	"project":       {"project/..."},
	"samples":       {},
	"testing":       {"..."},
}

// foreign says which other modules a layer may import; layers that are not named may import any.
var foreign = map[string][]string{
	"project": {"github.com/compose-spec/compose-go", "gopkg.in/yaml.v3", "go.yaml.in/yaml"},
	"samples": {},
}

// pure packages calculate: they import project, value types and the calculating part of the standard library.
// The value is the modules that they take value types from.
var pure = map[string][]string{
	"graph":          {"github.com/compose-spec/compose-go"},
	"graph/plan":     {"github.com/compose-spec/compose-go"},
	"project/hash":   {"github.com/compose-spec/compose-go"},
	"project/legacy": {"github.com/compose-spec/compose-go", "gopkg.in/yaml.v3"},
	"netplan":        {"github.com/compose-spec/compose-go"},
	"netplan/dns":    {"github.com/miekg/dns"},
	"volumes":        {"github.com/compose-spec/compose-go"},
	"engine/spec": {"github.com/compose-spec/compose-go", "github.com/opencontainers/runtime-spec",
		"github.com/opencontainers/image-spec", "github.com/containerd/containerd/v2/contrib/seccomp", "github.com/docker/go-units", "github.com/moby/sys/user"},
}

// impure are the parts of the standard library that reach out of a calculation.
var impure = []string{"os", "net", "log", "context", "syscall", "io/ioutil", "crypto/rand", "math/rand", "plugin", "runtime/debug"}

// calculating are exceptions below impure.
var calculating = []string{"net/netip", "net/url"}

// emptyNames say nothing of what a package owns.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "types", "base", "manager", "misc", "shared"}

// inits are the files that may have a function init, for what nothing else can do.
var inits = []string{
	"cmd/berth-shim/main.go", // has main run on the process's first thread
}

// heavy is what only the engine, the shim and tests may import.
const heavy = "github.com/containerd/containerd"

// Check gives a sentence for each breach of the rules.
func Check(packages []*Package) []string {
	var breaches []string
	for _, p := range packages {
		breaches = append(breaches, checkForm(p)...)
		for _, i := range p.Imports {
			if why := checkImport(p, i); why != "" {
				breaches = append(breaches, fmt.Sprintf("%s imports %s: %s", i.File, i.Path, why))
			}
		}
	}
	return breaches
}

func checkForm(p *Package) []string {
	var breaches []string
	if p.Name != "" && !p.Comment {
		breaches = append(breaches, p.Dir+" has no package comment")
	}
	for part := range strings.SplitSeq(p.Dir, "/") {
		if slices.Contains(emptyNames, part) {
			breaches = append(breaches, fmt.Sprintf("%s: the name %q doesn't say what the package owns", p.Dir, part))
		}
	}
	for _, file := range p.Inits {
		if !slices.Contains(inits, file) {
			breaches = append(breaches, file+" has a function init")
		}
	}
	if _, isPure := pure[p.Dir]; isPure {
		for _, use := range p.Clock {
			breaches = append(breaches, use+" reads the clock in a pure package")
		}
	}
	return breaches
}

func checkImport(p *Package, i Import) string {
	if dir, own := i.Own(); own {
		return checkEdge(p.Dir, dir, i.Test)
	}
	if i.Test {
		return ""
	}
	layer := layerOf(p.Dir)
	if strings.HasPrefix(i.Path, heavy) && !mayUseContainerd(p.Dir) {
		return "containerd's API stays inside engine"
	}
	if modules, limited := foreign[layer]; limited && !standard(i.Path) && !under(i.Path, modules) {
		return layer + " takes nothing from that module"
	}
	if modules, isPure := pure[p.Dir]; isPure {
		switch {
		case standard(i.Path) && reaches(i.Path):
			return p.Dir + " is pure: it only calculates"
		case !standard(i.Path) && !under(i.Path, modules):
			return p.Dir + " is pure: it takes no value types from there"
		}
	}
	return ""
}

func checkEdge(from, to string, test bool) string {
	layer := layerOf(from)
	if layer == "" {
		return from + " belongs to no layer"
	}
	if test && (to == from || layerOf(to) == "testing") {
		return ""
	}
	if to == "engine" && strings.HasPrefix(from, "engine/") && layer != "testing" {
		return "what engine uses never imports engine"
	}
	for _, allowed := range edges[layer] {
		if prefix, tree := strings.CutSuffix(allowed, "..."); tree {
			prefix = strings.TrimSuffix(prefix, "/")
			if prefix == "" || to == prefix || strings.HasPrefix(to, prefix+"/") {
				return ""
			}
		} else if to == allowed {
			return ""
		}
	}
	return fmt.Sprintf("no edge goes from %s to there", layer)
}

// layerOf is the longest key of edges that the folder is, or is below.
func layerOf(dir string) string {
	for {
		if _, ok := edges[dir]; ok {
			return dir
		}
		at := strings.LastIndexByte(dir, '/')
		if at < 0 {
			return ""
		}
		dir = dir[:at]
	}
}

func mayUseContainerd(dir string) bool {
	switch layer := layerOf(dir); layer {
	case "engine", "testing":
		return true
	default:
		return false
	}
}

// standard: the first element of a module's path has a dot, that of the standard library's packages has none.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func reaches(imported string) bool { return under(imported, impure) && !under(imported, calculating) }

func under(imported string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return imported == prefix || strings.HasPrefix(imported, prefix+"/")
	})
}
