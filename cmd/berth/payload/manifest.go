package payload

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// ManifestName is the manifest's name in files.
const ManifestName = "manifest.json"

// Names of the programs.
const (
	Berthd = "berthd"
	Shim   = "berth-shim"
	Init   = "berth-init"
	Runc   = "runc"
	Enter  = "enter" // the shim looks for it beside itself
)

// A name with a dot in front, such as that of a file that pack is still writing, is left out.
//
//go:embed files
var files embed.FS

// Manifest is what pack writes and Unpack goes by.
type Manifest struct {
	Programs []Program
	// Versions of what is linked into the programs.
	Versions Versions
}

// Program is one program in files: <Name>.zst, a zstd stream of Size bytes whose digest is SHA256 (hex).
type Program struct {
	Name   string
	Size   int64
	SHA256 string
}

// Versions are those of the parts that berth is made of, as the programs' build information has them.
type Versions struct {
	Compose, Containerd, Runc, BuildKit, CNI, Go string // Compose is compose-go, which reads the files
}

// size is what the programs take when they are unpacked.
func (m Manifest) size() (bytes int64) {
	for _, p := range m.Programs {
		bytes += p.Size
	}
	return bytes
}

// missingError says that this file was built without its programs.
type missingError struct{}

func (missingError) Error() string { return "this berth was built without its engine" }
func (missingError) Hint() string  { return "run make build in berth's source folder and use bin/berth" }

// load reads the manifest; digest is that of its text.
func load(from fs.FS) (m Manifest, digest string, err error) {
	text, err := fs.ReadFile(from, "files/"+ManifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return m, "", missingError{}
	}
	if err != nil {
		return m, "", err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, "", fmt.Errorf("read the payload's manifest: %w", err)
	}
	sum := sha256.Sum256(text)
	return m, hex.EncodeToString(sum[:16]), nil
}

// Carried gives the versions of what this file carries; ok is false if it was built without.
func Carried() (v Versions, ok bool) {
	m, _, err := load(files)
	return m.Versions, err == nil
}
