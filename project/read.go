package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project/model"
)

// input is what compose-go is given: the files' content, where paths start, and the variables.
type input struct {
	source
	configs   []types.ConfigFile
	workDir   string
	nameFixed bool // the files can't change the name
	legacy    bool
	content   map[string][]byte // of the files, as they were read
	parsed    *fileSet          // when an error asked for places
	unset     map[string]bool   // variables that were asked for and not set
}

var versionLine = lazily(`^version[ \t]*:[ \t]*["'0-9.]*[ \t]*(#.*)?\r?$`)

// read takes in the files, and converts those in the v1 format.
func (s *source) read(o Options) (*input, error) {
	in := &input{source: *s, workDir: o.WorkDir, unset: map[string]bool{},
		content: map[string][]byte{}}
	for _, path := range s.files {
		content, err := s.open(o, path)
		if err != nil {
			return nil, err
		}
		in.content[path] = content
		in.configs = append(in.configs, types.ConfigFile{Filename: path, Content: content})
	}
	if err := in.convert(o); err != nil {
		return nil, err
	}
	in.dropVersion()
	in.setName()
	return in, nil
}

func (s *source) open(o Options, path string) ([]byte, error) {
	if path == "-" {
		if o.Stdin == nil {
			return nil, errors.New("read the compose file from standard input: there is none")
		}
		content, err := io.ReadAll(o.Stdin)
		if err != nil {
			return nil, fmt.Errorf("read the compose file from standard input: %w", err)
		}
		return content, nil
	}
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &missingFile{path: path, near: neighbours(path)}
	case err != nil:
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			return nil, &missingFile{path: path, folder: true, near: neighbours(filepath.Join(path, "x"))}
		}
		return nil, fmt.Errorf("read %s: %w", path, errors.Unwrap(err))
	}
	return content, nil
}

// dropVersion blanks the obsolete key, which compose-go would tell of in its own log.
func (in *input) dropVersion() {
	for i, f := range in.configs {
		at := versionAt(f.Content, versionLine)
		if f.Config != nil || at < 0 {
			continue
		}
		content := slices.Clone(f.Content)
		content[at] = '#'
		in.configs[i].Content = content
		in.notes = append(in.notes, Notice{Key: "version", Text: in.shown(f.Filename) +
			": the key version is obsolete and has no effect; it can be removed"})
	}
}

// setName takes the name from the folder, unless the user or a file gives one.
func (in *input) setName() {
	if in.name != "" {
		in.nameFixed = true
		return
	}
	for _, f := range in.configs {
		if f.Config == nil && hasTopKey(f.Content, "name") {
			in.name = NormalizeName(filepath.Base(in.dir))
			return
		}
	}
	in.name = NormalizeName(filepath.Base(in.dir))
	in.nameFixed = true
}

// notices are what was noted while loading.
func (in *input) notices() []Notice {
	for _, name := range sortedKeys(in.unset) {
		in.notes = append(in.notes, Notice{Text: fmt.Sprintf("the variable %s is not set; an empty text stands in for it", name)})
	}
	return in.notes
}

// missingFile is a file that was named and isn't there.
type missingFile struct {
	path   string
	folder bool
	near   []string
}

func (e *missingFile) Error() string {
	if e.folder {
		return fmt.Sprintf("read %s: it is a folder", e.path)
	}
	return fmt.Sprintf("read %s: no such file", e.path)
}

// InvalidParameter marks the class for errdefs.
func (e *missingFile) InvalidParameter() {}

func (e *missingFile) Hint() string {
	if len(e.near) == 0 {
		return ""
	}
	return "there is " + e.near[0]
}

// neighbours are the compose files in the folder of path.
func neighbours(path string) []string {
	found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*compose*.y*ml"))
	if err != nil {
		return nil
	}
	return found
}

// NormalizeName makes a project name of a folder's name: lower case, and only letters, digits, "-" and "_".
func NormalizeName(dir string) string { return model.NormalizeName(dir) }

// ValidName tells whether a project may have this name.
func ValidName(name string) error {
	if name != "" && NormalizeName(name) == name {
		return nil
	}
	return &invalidName{name: name}
}

type invalidName struct{ name string }

func (e *invalidName) Error() string {
	return fmt.Sprintf("invalid project name %q: it must consist of lower case letters, digits, \"-\" and \"_\", and start with a letter or digit", e.name)
}

// InvalidParameter marks the class for errdefs.
func (e *invalidName) InvalidParameter() {}

func (e *invalidName) Hint() string {
	if clean := NormalizeName(e.name); clean != "" {
		return fmt.Sprintf("%q would do", clean)
	}
	return ""
}
