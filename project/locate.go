package project

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// place is a key of a mapping, or an item of a list, and its value. Key is nil for an item and for the root.
type place struct {
	doc   document
	path  []string // as it is in this document: indices instead of names of items
	key   *yaml.Node
	value *yaml.Node
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// child finds a step of a path. In a list, a step is an index ("0" or "[0]") or what the item begins with or names:
// "db" finds "- db", "- db:/data", "- db=1" and "- source: db".
func child(n *yaml.Node, step string) (key, value *yaml.Node, name string) {
	n = resolve(n)
	if n == nil {
		return nil, nil, ""
	}
	switch n.Kind {
	case yaml.MappingNode:
		return member(n, step)
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if strings.Trim(step, "[]") == strconv.Itoa(i) || step == "[]" && len(n.Content) == 1 || itemIs(item, step) {
				return nil, item, "[" + strconv.Itoa(i) + "]"
			}
		}
	}
	return nil, nil, ""
}

// member finds a key of a mapping, or of one that is merged into it.
func member(n *yaml.Node, name string) (key, value *yaml.Node, found string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1], name
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		for _, source := range mergeSources(n.Content[i+1]) {
			if key, value, found := member(source, name); value != nil {
				return key, value, found
			}
		}
	}
	return nil, nil, ""
}

// mergeSources are the mappings that a "<<" names.
func mergeSources(n *yaml.Node) []*yaml.Node {
	n = resolve(n)
	if n == nil {
		return nil
	}
	candidates := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		candidates = n.Content
	}
	var sources []*yaml.Node
	for _, c := range candidates {
		if c = resolve(c); c != nil && c.Kind == yaml.MappingNode {
			sources = append(sources, c)
		}
	}
	return sources
}

func itemIs(item *yaml.Node, step string) bool {
	item = resolve(item)
	switch item.Kind {
	case yaml.ScalarNode:
		rest, ok := strings.CutPrefix(item.Value, step)
		return ok && (rest == "" || strings.ContainsAny(rest[:1], ":=/"))
	case yaml.MappingNode:
		for _, name := range []string{"source", "path", "target"} {
			if _, v, _ := member(item, name); v != nil && v.Value == step {
				return true
			}
		}
	}
	return false
}

// find goes down a path as far as it leads; whole says that it led to the end.
func (d document) find(path []string) (at place, whole bool) {
	at = place{doc: d, value: d.root}
	for _, step := range path {
		key, value, name := child(at.value, step)
		if value == nil {
			return at, false
		}
		at = place{doc: d, path: append(slices.Clone(at.path), name), key: key, value: value}
	}
	return at, true
}

// fileSet is the documents that a project is made of, read once more to find places in them.
type fileSet struct {
	main     []document // in the order in which they're merged
	included []document
	base     map[string][]document // of extends, by path
}

// documents parses all files of the project, those that it includes or extends as well. What can't be read or isn't
// valid YAML is left out.
func (in *input) documents() *fileSet {
	if in.parsed != nil {
		return in.parsed
	}
	all := &fileSet{base: map[string][]document{}}
	for _, path := range in.files {
		all.main = append(all.main, in.parseFile(path)...)
	}
	for _, doc := range all.main {
		in.follow(all, doc, in.dir, 0)
	}
	in.parsed = all
	return all
}

// all are the documents in the order in which they are read.
func (f *fileSet) all() []document {
	all := slices.Concat(f.main, f.included)
	for _, path := range sortedKeys(f.base) {
		all = append(all, f.base[path]...)
	}
	return all
}

func (in *input) parseFile(path string) []document {
	content, ok := in.content[path]
	if !ok {
		var err error
		if content, err = os.ReadFile(path); err != nil {
			return nil
		}
		in.content[path] = content
	}
	docs, err := parse(path, content)
	if err != nil {
		return nil
	}
	return docs
}

// depthLimit ends circles of include and extends.
const depthLimit = 20

// follow adds the files that a document includes and extends.
func (in *input) follow(all *fileSet, doc document, dir string, depth int) {
	if doc.root == nil || depth > depthLimit {
		return
	}
	for _, path := range includes(doc.root) {
		docs := in.parseFile(absolute(dir, in.plain(path)))
		all.included = append(all.included, docs...)
		for _, d := range docs {
			in.follow(all, d, filepath.Dir(d.path), depth+1)
		}
	}
	_, services, _ := child(doc.root, "services")
	if in.legacy {
		services = doc.root
	}
	for _, service := range mappingValues(services) {
		_, file, _ := child2(service, "extends", "file")
		if file == nil {
			continue
		}
		path := absolute(dir, in.plain(file.Value))
		if _, ok := all.base[path]; ok {
			continue
		}
		all.base[path] = in.parseFile(path)
		for _, d := range all.base[path] {
			in.follow(all, d, filepath.Dir(d.path), depth+1)
		}
	}
}

// plain is a text with its variables replaced, or as it is where that fails.
func (in *input) plain(text string) string {
	value, err := in.substitute(text, in.env.Resolve)
	if err != nil {
		return text
	}
	return value
}

func child2(n *yaml.Node, first, second string) (key, value *yaml.Node, name string) {
	_, v, _ := child(n, first)
	if v = resolve(v); v == nil || v.Kind != yaml.MappingNode {
		return nil, nil, ""
	}
	return child(v, second)
}

func mappingValues(n *yaml.Node) []*yaml.Node {
	n = resolve(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var values []*yaml.Node
	for i := 1; i < len(n.Content); i += 2 {
		values = append(values, n.Content[i])
	}
	return values
}

// includes are the paths of the include section.
func includes(root *yaml.Node) []string {
	_, list, _ := child(root, "include")
	list = resolve(list)
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	var paths []string
	for _, item := range list.Content {
		item = resolve(item)
		if item.Kind == yaml.ScalarNode {
			paths = append(paths, item.Value)
			continue
		}
		_, path, _ := child(item, "path")
		switch path = resolve(path); {
		case path == nil:
		case path.Kind == yaml.ScalarNode:
			paths = append(paths, path.Value)
		case path.Kind == yaml.SequenceNode:
			for _, p := range path.Content {
				paths = append(paths, p.Value)
			}
		}
	}
	return paths
}

// locate finds a path of the merged model in the files: in the last file that has it, else in what is included
// or extended, else as far as it goes.
func (in *input) locate(path ...string) (at place, whole bool) {
	all := in.documents()
	if len(all.main) == 0 {
		return place{doc: document{path: in.files[0]}}, false
	}
	if in.legacy {
		path = legacyPath(path)
	}
	for _, docs := range [][]document{all.main, all.included} {
		for _, doc := range slices.Backward(docs) {
			if at, ok := doc.find(path); ok {
				return at, true
			}
		}
	}
	for _, docs := range [][]document{all.main, all.included} {
		for _, doc := range slices.Backward(docs) {
			if at, ok := in.locateBase(all, doc, path, 0); ok {
				return at, true
			}
		}
	}
	for _, docs := range [][]document{all.main, all.included} {
		for _, doc := range docs {
			if candidate, _ := doc.find(path); at.doc.path == "" || len(candidate.path) > len(at.path) {
				at = candidate
			}
		}
	}
	return at, false
}

// locateBase finds a path of a service in the services that it extends.
func (in *input) locateBase(all *fileSet, doc document, path []string, depth int) (place, bool) {
	head := 2 // services.web
	if in.legacy {
		head = 1
	}
	if len(path) <= head || depth > depthLimit {
		return place{}, false
	}
	service, ok := doc.find(path[:head])
	if !ok {
		return place{}, false
	}
	_, ext, _ := child(service.value, "extends")
	if ext = resolve(ext); ext == nil {
		return place{}, false
	}
	docs, name := []document{doc}, ext.Value
	if ext.Kind == yaml.MappingNode {
		if _, ref, _ := child(ext, "service"); ref != nil {
			name = ref.Value
		}
		if _, file, _ := child(ext, "file"); file != nil {
			docs = all.base[absolute(filepath.Dir(doc.path), in.plain(file.Value))]
			if docs == nil {
				docs = all.base[absolute(in.dir, in.plain(file.Value))]
			}
		}
	}
	below := append(append(slices.Clone(path[:head-1]), name), path[head:]...)
	for _, d := range docs {
		if at, ok := d.find(below); ok {
			return at, true
		}
		if at, ok := in.locateBase(all, d, below, depth+1); ok {
			return at, true
		}
	}
	return place{}, false
}

// legacyPath is where a path of the current model comes from in a file in the v1 format.
func legacyPath(path []string) []string {
	if len(path) == 0 || path[0] != "services" {
		return path
	}
	path = slices.Clone(path[1:])
	if len(path) < 2 {
		return path
	}
	switch {
	case path[1] == "network_mode":
		path[1] = "net"
	case path[1] == "logging" && len(path) > 2 && path[2] == "driver":
		path = append(path[:1], append([]string{"log_driver"}, path[3:]...)...)
	case path[1] == "logging" && len(path) > 2:
		path = append(path[:1], append([]string{"log_opt"}, path[3:]...)...)
	case path[1] == "build" && len(path) > 2 && path[2] == "dockerfile":
		path = []string{path[0], "dockerfile"}
	case path[1] == "build":
		path = path[:2]
	}
	return path
}

// keyPath writes a path as messages have it: services.web.ports[0].
func keyPath(path []string) string {
	var b strings.Builder
	for _, step := range path {
		if b.Len() > 0 && !strings.HasPrefix(step, "[") {
			b.WriteByte('.')
		}
		b.WriteString(step)
	}
	return b.String()
}
