// Program pack compresses berth's programs into the folder that the payload package embeds.
//
//	pack -out cmd/berth/payload/files bin/parts/berthd bin/parts/berth-shim bin/parts/berth-init bin/parts/runc bin/parts/enter
//
// It owns the content of that folder but for its README. A program that is there already, unchanged, is
// not compressed again, and the manifest is written only if it differs: so the go command's cache sees no
// change where there is none.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"berth/cmd/berth/payload"
)

func main() {
	out := flag.String("out", "", "folder for the result")
	flag.Parse()
	if *out == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: pack -out FOLDER PROGRAM...")
		os.Exit(2)
	}
	if err := pack(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(out string, programs []string) error {
	manifest := filepath.Join(out, payload.ManifestName)
	old := readManifest(manifest)
	var m payload.Manifest
	for _, path := range programs {
		prog, err := describe(path)
		if err != nil {
			return err
		}
		packed := filepath.Join(out, prog.Name+".zst")
		if !unchanged(old, prog, packed) {
			// Without a manifest nothing counts as packed, if this is interrupted.
			if err := os.Remove(manifest); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := compress(path, packed); err != nil {
				return fmt.Errorf("compress %s: %w", path, err)
			}
		}
		if err := addVersions(&m.Versions, path); err != nil {
			return err
		}
		m.Programs = append(m.Programs, prog)
	}
	return writeManifest(manifest, m)
}

func readManifest(path string) (m payload.Manifest) {
	if text, err := os.ReadFile(path); err == nil {
		// What can't be read is as good as absent: everything is packed afresh.
		_ = json.Unmarshal(text, &m)
	}
	return m
}

func unchanged(old payload.Manifest, prog payload.Program, packed string) bool {
	if st, err := os.Stat(packed); err != nil || st.Size() == 0 {
		return false
	}
	for _, o := range old.Programs {
		if o == prog {
			return true
		}
	}
	return false
}

func describe(path string) (payload.Program, error) {
	f, err := os.Open(path)
	if err != nil {
		return payload.Program{}, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return payload.Program{}, fmt.Errorf("read %s: %w", path, err)
	}
	return payload.Program{Name: filepath.Base(path), Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

func compress(path, packed string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	return writeFile(packed, e.EncodeAll(content, nil))
}

// addVersions takes down the versions of the modules that matter from a program's build information. Init and Enter have none: they
// are C.
func addVersions(v *payload.Versions, path string) error {
	if name := filepath.Base(path); name == payload.Init || name == payload.Enter {
		return nil
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the build information of %s: %w", path, err)
	}
	v.Go = info.GoVersion
	modules := append(info.Deps, &info.Main)
	for _, m := range modules {
		version := m.Version
		if m.Replace != nil {
			version = m.Replace.Version
		}
		switch m.Path {
		case "github.com/compose-spec/compose-go/v2":
			v.Compose = version
		case "github.com/containerd/containerd/v2":
			v.Containerd = version
		case "github.com/opencontainers/runc":
			v.Runc = version
		case "github.com/moby/buildkit":
			v.BuildKit = version
		case "github.com/containernetworking/cni":
			v.CNI = version
		}
	}
	return nil
}

func writeManifest(path string, m payload.Manifest) error {
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return writeFile(path, text)
}

// writeFile makes the file appear complete or not at all: an interrupted make is run again.
func writeFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".pack-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
