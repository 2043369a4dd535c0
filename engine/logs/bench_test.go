package logs_test

import (
	"bytes"
	"os"
	"testing"

	"berth/engine/api"
	"berth/engine/logs"
)

// A million lines of 100 bytes.
const (
	benchLines = 1_000_000
	benchLine  = 100
)

// BenchmarkAMillionLinesThroughAPipe is what the shim does: read from the container's pipe, write to the log.
func BenchmarkAMillionLinesThroughAPipe(b *testing.B) {
	block := bytes.Repeat(append(bytes.Repeat([]byte("x"), benchLine-1), '\n'), 40)
	b.SetBytes(benchLines * benchLine)
	for b.Loop() {
		w := openWriter(b, b.TempDir(), logs.Options{})
		pr, pw, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			defer pw.Close()
			for range benchLines / 40 {
				if _, err := pw.Write(block); err != nil {
					b.Error(err)
					return
				}
			}
		}()
		var pool logs.ChunkPool
		for {
			c := pool.Get()
			n, err := pr.Read(c.Space())
			if err != nil {
				break
			}
			if err := w.WriteChunk(logs.Stdout, c, n); err != nil {
				b.Fatal(err)
			}
			pool.Put(c)
		}
		pr.Close()
	}
}

func benchLog(b *testing.B) string {
	dir := b.TempDir()
	w := openWriter(b, dir, logs.Options{})
	block := bytes.Repeat(append(bytes.Repeat([]byte("x"), benchLine-1), '\n'), 100)
	for range benchLines / 100 {
		if err := w.Write(logs.Stdout, block); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

func BenchmarkReadAMillionLines(b *testing.B) {
	dir := benchLog(b)
	b.SetBytes(benchLines * benchLine)
	for b.Loop() {
		n := 0
		if err := readLog(b.Context(), dir, all, nil, func(batch []byte) error {
			for len(batch) > 0 {
				_, rest, err := api.NextLog(batch)
				if err != nil {
					return err
				}
				batch = rest
				n++
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		if n != benchLines {
			b.Fatalf("%d lines", n)
		}
	}
}

func BenchmarkTailOfAMillionLines(b *testing.B) {
	dir := benchLog(b)
	for b.Loop() {
		if n := len(read(b, dir, logs.Query{Tail: 100})); n != 100 {
			b.Fatalf("%d lines", n)
		}
	}
}
