// Program pack makes an image of one static program, as an archive that `berth image load` and `docker load` take.
//
//	pack -name NAME:TAG -out ARCHIVE PROGRAM
//
// It owns nothing and imports nothing but the standard library: an image is a tar of tars and some JSON. The program
// becomes /NAME-OF-FILE and the image's entrypoint.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

func main() {
	name := flag.String("name", "", "name of the image, with its tag")
	out := flag.String("out", "", "archive to write")
	flag.Parse()
	if *name == "" || *out == "" || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: pack -name NAME:TAG -out ARCHIVE PROGRAM")
		os.Exit(2)
	}
	if err := pack(*name, *out, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

type entry struct {
	name string
	mode int64
	data []byte
}

func pack(name, out, program string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	base := filepath.Base(program)
	layer, err := archive([]entry{{base, 0o755, content}})
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/" + base}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return err
	}
	configName, layerName := digest(config)+".json", digest(layer)+".tar"
	manifest, err := json.Marshal([]any{map[string]any{"Config": configName, "RepoTags": []string{name}, "Layers": []string{layerName}}})
	if err != nil {
		return err
	}
	whole, err := archive([]entry{{configName, 0o644, config}, {layerName, 0o644, layer}, {"manifest.json", 0o644, manifest}})
	if err != nil {
		return err
	}
	return os.WriteFile(out, whole, 0o644)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func archive(entries []entry) ([]byte, error) {
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	var errs []error
	for _, e := range entries {
		errs = append(errs, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.data))}))
		_, err := w.Write(e.data)
		errs = append(errs, err)
	}
	err := errors.Join(append(errs, w.Close())...)
	return text.Bytes(), err
}
