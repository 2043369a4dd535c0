package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Module is the path of the module whose tree is read.
const Module = "berth"

// Package is what the rules look at in one folder. Its own packages are named without the module's path,
// and are told from others by Own.
type Package struct {
	Dir     string // relative to the tree's root, with slashes
	Name    string
	Comment bool // some file has a package comment
	Imports []Import
	Inits   []string // files with a function init
	Clock   []string // "file: time.Now" for what reads the clock
}

// Import is one import line.
type Import struct {
	File string
	Path string // as written
	Test bool   // in a _test.go file
}

// Own gives the folder of an import of this module.
func (i Import) Own() (dir string, own bool) {
	if i.Path == Module {
		return ".", true
	}
	return strings.CutPrefix(i.Path, Module+"/")
}

// Read parses all Go files of a tree, except those in hidden folders, testdata, vendor and bin.
func Read(tree fs.FS) ([]*Package, error) {
	byDir := map[string]*Package{}
	var order []*Package
	err := fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			switch base := e.Name(); {
			case name == ".":
			case strings.HasPrefix(base, "."), base == "testdata", base == "vendor", name == "bin":
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		p := byDir[dir]
		if p == nil {
			p = &Package{Dir: dir}
			byDir[dir] = p
			order = append(order, p)
		}
		return p.add(name, text)
	})
	return order, err
}

func (p *Package) add(name string, text []byte) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("read imports: %w", err)
	}
	test := strings.HasSuffix(name, "_test.go")
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("read imports of %s: %w", name, err)
		}
		p.Imports = append(p.Imports, Import{File: name, Path: imported, Test: test})
	}
	if test {
		return nil
	}
	p.Name = file.Name.Name
	p.Comment = p.Comment || file.Doc != nil
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			p.Inits = append(p.Inits, name)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && readsClock[sel.Sel.Name] {
			p.Clock = append(p.Clock, name+": time."+sel.Sel.Name)
		}
		return true
	})
	return nil
}

var readsClock = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
	"Tick": true, "NewTimer": true, "NewTicker": true,
}
