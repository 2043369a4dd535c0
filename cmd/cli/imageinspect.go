package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type imageInspectOptions struct {
	refs     []string
	platform string
	format   string
}

func newImageInspectCommand(a *app) *cobra.Command {
	var o imageInspectOptions
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] IMAGE...",
		Short: "Show all that is known of images",
		Args:  needArgs(1, "which image?"),
		RunE: a.onEngine(func(ctx context.Context, e Engine, args []string) error {
			o.refs = args
			return runImageInspect(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&o.format, "format", "f", "json", "json, or a Go template")
	cmd.Flags().StringVar(&o.platform, "platform", "", "of images for several platforms, this one")
	return cmd
}

// runImageInspect shows what is found, and then fails if something was not.
func runImageInspect(ctx context.Context, o imageInspectOptions, e Engine, u *ui.UI) error {
	l := listing{array: true}
	var errs []error
	for _, ref := range o.refs {
		r, err := e.ImageInspect(ctx, &api.ImageRequest{Ref: ref, Platform: o.platform})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var one row
		dec := json.NewDecoder(bytes.NewReader(r.Image))
		dec.UseNumber() // a template is to show 123456789, not 1.23456789e+08
		if err := dec.Decode(&one); err != nil {
			return fmt.Errorf("read what the engine says of image %q: %w", ref, err)
		}
		l.rows = append(l.rows, one)
	}
	if o.format != "" && o.format != "json" {
		return errors.Join(append(errs, l.print(u, o.format))...)
	}
	rows := l.rows
	if rows == nil {
		rows = []row{}
	}
	enc := json.NewEncoder(u.Out())
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	return errors.Join(append(errs, enc.Encode(rows))...)
}
