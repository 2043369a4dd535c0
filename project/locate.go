package project

import (
	"os"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"

	"berth/project/tree"
)

// fileSet is the documents that a project is made of, read once more to find places in them.
type fileSet struct {
	main     []tree.Document // in the order in which they're merged
	included []tree.Document
	base     map[string][]tree.Document // of extends, by path
}

// documents parses all files of the project, those that it includes or extends as well. What can't be read or isn't
// valid YAML is left out.
func (in *input) documents() *fileSet {
	if in.parsed != nil {
		return in.parsed
	}
	all := &fileSet{base: map[string][]tree.Document{}}
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
func (f *fileSet) all() []tree.Document {
	all := slices.Concat(f.main, f.included)
	for _, path := range sortedKeys(f.base) {
		all = append(all, f.base[path]...)
	}
	return all
}

func (in *input) parseFile(path string) []tree.Document {
	content, ok := in.content[path]
	if !ok {
		var err error
		if content, err = os.ReadFile(path); err != nil {
			return nil
		}
		in.content[path] = content
	}
	docs, err := tree.Parse(path, content)
	if err != nil {
		return nil
	}
	return docs
}

// depthLimit ends circles of include and extends.
const depthLimit = 20

// follow adds the files that a document includes and extends.
func (in *input) follow(all *fileSet, doc tree.Document, dir string, depth int) {
	if doc.Root == nil || depth > depthLimit {
		return
	}
	for _, path := range includes(doc.Root) {
		docs := in.parseFile(absolute(dir, in.plain(path)))
		all.included = append(all.included, docs...)
		for _, d := range docs {
			in.follow(all, d, filepath.Dir(d.Path), depth+1)
		}
	}
	_, services, _ := tree.Child(doc.Root, "services")
	if in.legacy {
		services = doc.Root
	}
	for _, service := range tree.Values(services) {
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
			in.follow(all, d, filepath.Dir(d.Path), depth+1)
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
	_, v, _ := tree.Child(n, first)
	if v = tree.Resolve(v); v == nil || v.Kind != yaml.MappingNode {
		return nil, nil, ""
	}
	return tree.Child(v, second)
}

// includes are the paths of the include section.
func includes(root *yaml.Node) []string {
	_, list, _ := tree.Child(root, "include")
	list = tree.Resolve(list)
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	var paths []string
	for _, item := range list.Content {
		item = tree.Resolve(item)
		if item.Kind == yaml.ScalarNode {
			paths = append(paths, item.Value)
			continue
		}
		_, path, _ := tree.Child(item, "path")
		switch path = tree.Resolve(path); {
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
func (in *input) locate(path ...string) (at tree.Place, whole bool) {
	all := in.documents()
	if len(all.main) == 0 {
		return tree.Place{Doc: tree.Document{Path: in.files[0]}}, false
	}
	if in.legacy {
		path = legacyPath(path)
	}
	for _, docs := range [][]tree.Document{all.main, all.included} {
		for _, doc := range slices.Backward(docs) {
			if at, ok := doc.Find(path); ok {
				return at, true
			}
		}
	}
	for _, docs := range [][]tree.Document{all.main, all.included} {
		for _, doc := range slices.Backward(docs) {
			if at, ok := in.locateBase(all, doc, path, 0); ok {
				return at, true
			}
		}
	}
	for _, docs := range [][]tree.Document{all.main, all.included} {
		for _, doc := range docs {
			if candidate, _ := doc.Find(path); at.Doc.Path == "" || len(candidate.Path) > len(at.Path) {
				at = candidate
			}
		}
	}
	return at, false
}

// locateBase finds a path of a service in the services that it extends.
func (in *input) locateBase(all *fileSet, doc tree.Document, path []string, depth int) (tree.Place, bool) {
	head := 2 // services.web
	if in.legacy {
		head = 1
	}
	if len(path) <= head || depth > depthLimit {
		return tree.Place{}, false
	}
	service, ok := doc.Find(path[:head])
	if !ok {
		return tree.Place{}, false
	}
	_, ext, _ := tree.Child(service.Value, "extends")
	if ext = tree.Resolve(ext); ext == nil {
		return tree.Place{}, false
	}
	docs, name := []tree.Document{doc}, ext.Value
	if ext.Kind == yaml.MappingNode {
		if _, ref, _ := tree.Child(ext, "service"); ref != nil {
			name = ref.Value
		}
		if _, file, _ := tree.Child(ext, "file"); file != nil {
			docs = all.base[absolute(filepath.Dir(doc.Path), in.plain(file.Value))]
			if docs == nil {
				docs = all.base[absolute(in.dir, in.plain(file.Value))]
			}
		}
	}
	below := append(append(slices.Clone(path[:head-1]), name), path[head:]...)
	for _, d := range docs {
		if at, ok := d.Find(below); ok {
			return at, true
		}
		if at, ok := in.locateBase(all, d, below, depth+1); ok {
			return at, true
		}
	}
	return tree.Place{}, false
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
