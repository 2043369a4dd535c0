package peers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"berth/engine/client"
)

// Berth is the program that all this is about, with an engine of its own: what lasts is below dir, what ends with the host below run.
func Berth(ctx context.Context, program, dir, run string) (*Peer, error) {
	// A copy: another build may replace the file while it is measured.
	copied := filepath.Join(dir, "berth")
	if err := copyProgram(copied, program); err != nil {
		return nil, err
	}
	place, err := NewPlace()
	if err != nil {
		return nil, err
	}
	// The folders' names are short because they are part of the paths of sockets, which have at most 107 bytes.
	p := &Peer{Name: "berth", Socket: client.Socket(run + "/state"), argv: []string{copied}, place: place, env: []string{
		"HOME=" + dir, "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"BERTH_ROOT=" + dir + "/root", "BERTH_STATE=" + run + "/state", "BERTH_CONFIG=" + dir + "/config"}}
	verb := func(args ...string) func(context.Context) error {
		return func(ctx context.Context) error { return p.Stream(ctx, dir, io.Discard, args...) }
	}
	p.Start, p.Stop = verb("engine", "start"), verb("engine", "stop")
	p.Load = func(ctx context.Context, archive string) error { return verb("image", "load", "-i", archive)(ctx) }
	p.close = func(ctx context.Context) error {
		return errors.Join(verb("engine", "stop", "--all")(ctx), place.Close())
	}
	var out bytes.Buffer
	if err := p.Stream(ctx, dir, &out, "version"); err != nil {
		return nil, errors.Join(err, place.Close())
	}
	p.Version = strings.TrimSuffix(oneLine(out.String()), " engine not running")
	return p, nil
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
