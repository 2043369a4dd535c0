package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

func newImageCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image COMMAND",
		Short: "Look after images",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newImageLsCommand(a), newImageLoadCommand(a), newImageSaveCommand(a), newImageRmCommand(a), newImageTagCommand(a), newImagePullCommand(a),
		newImagePushCommand(a), newImageInspectCommand(a), newImageHistoryCommand(a), newImagePruneCommand(a))
	return cmd
}

type imageLsOptions struct {
	format  string
	quiet   bool
	noTrunc bool
	names   []string
}

func newImageLsCommand(a *app) *cobra.Command {
	var o imageLsOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS] [REPOSITORY...]",
		Aliases: []string{"list"},
		Short:   "List images",
		RunE: a.onEngine(func(ctx context.Context, e Engine, args []string) error {
			o.names = args
			return runImageLs(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&o.format, "format", "table", "table, json, or a Go template")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "ids only")
	cmd.Flags().BoolVar(&o.noTrunc, "no-trunc", false, "don't cut ids")
	return cmd
}

func runImageLs(ctx context.Context, o imageLsOptions, e Engine, u *ui.UI) error {
	r, err := e.Images(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(r.Images, func(a, b api.Image) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	l := listing{
		minWidth: 10,
		columns:  []column{{"REPOSITORY", "Repository"}, {"TAG", "Tag"}, {"IMAGE ID", "ID"}, {"CREATED", "CreatedSince"}, {"SIZE", "Size"}},
	}
	for _, img := range r.Images {
		repository, tag := splitReference(img.Name)
		if len(o.names) > 0 && !slices.Contains(o.names, repository) && !slices.Contains(o.names, repository+":"+tag) {
			continue
		}
		id := img.ID
		if !o.noTrunc {
			id = shortID(id)
		}
		created := "N/A"
		if !img.Created.IsZero() {
			created = ui.HumanDuration(u.Now().Sub(img.Created)) + " ago"
		}
		l.rows = append(l.rows, row{
			"Repository": repository, "Tag": tag, "ID": id, "Digest": img.Digest, "CreatedAt": img.Created.Format("2006-01-02 15:04:05 -0700 MST"),
			"CreatedSince": created, "Size": ui.HumanSize(img.Size), "Containers": len(img.UsedBy), "Platform": img.Platform, rawLabels: img.Labels,
		})
	}
	if o.quiet {
		var seen []string
		for _, r := range l.rows {
			id := r["ID"].(string)
			if slices.Contains(seen, id) {
				continue
			}
			seen = append(seen, id)
			if err := u.Printf("%s\n", id); err != nil {
				return err
			}
		}
		return nil
	}
	return l.print(u, o.format)
}

type imageLoadOptions struct {
	input string
	quiet bool
}

func newImageLoadCommand(a *app) *cobra.Command {
	var o imageLoadOptions
	cmd := &cobra.Command{
		Use:     "load [OPTIONS] [FILE]",
		PreRunE: a.noDryRun,
		Short:   "Load images from an archive",
		Long:    "Load images from an archive, of docker save or in the OCI layout, packed or not; from standard input without a file.",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.input = args[0]
			}
			in, err := a.archive(o.input)
			if err != nil {
				return err
			}
			defer in.Close()
			return a.onEngine(func(ctx context.Context, e Engine, _ []string) error {
				return runImageLoad(ctx, o, in, e, a.ui)
			})(cmd, nil)
		},
	}
	cmd.Flags().StringVarP(&o.input, "input", "i", "", "the archive")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "don't name the images")
	return cmd
}

// archive opens what is to be loaded; nobody types an archive.
func (a *app) archive(name string) (io.ReadCloser, error) {
	if name == "" || name == "-" {
		if a.ui.InTTY() {
			return nil, &ui.Problem{Text: "image load: there is no archive to read", Way: "name a file, or redirect one: berth image load < images.tar"}
		}
		return io.NopCloser(a.ui.In()), nil
	}
	f, err := os.Open(a.absolute(name))
	if err != nil {
		return nil, fmt.Errorf("image load: %w", err)
	}
	return f, nil
}

func (a *app) absolute(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(a.host.WorkDir, name)
}

func runImageLoad(ctx context.Context, o imageLoadOptions, in io.Reader, e Engine, u *ui.UI) error {
	r, err := e.ImageLoad(ctx, in)
	if err != nil {
		return err
	}
	if len(r.Names) == 0 {
		return &ui.Problem{Text: "image load: the archive has no image"}
	}
	for _, name := range r.Names {
		if o.quiet {
			continue
		}
		repository, tag := splitReference(name)
		if err := u.Printf("Loaded image: %s:%s\n", repository, tag); err != nil {
			return err
		}
	}
	return nil
}

type imageSaveOptions struct {
	output   string
	platform string
	refs     []string
}

func newImageSaveCommand(a *app) *cobra.Command {
	var o imageSaveOptions
	cmd := &cobra.Command{
		Use:   "save [OPTIONS] IMAGE...",
		Short: "Write images to an archive",
		Args:  needArgs(1, "which image?"),
		RunE: a.onEngine(func(ctx context.Context, e Engine, args []string) error {
			o.refs = args
			if o.output != "" {
				o.output = a.absolute(o.output)
			}
			return runImageSave(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "the archive (default: standard output)")
	cmd.Flags().StringVar(&o.platform, "platform", "", "of images for several platforms, this one")
	return cmd
}

func runImageSave(ctx context.Context, o imageSaveOptions, e Engine, u *ui.UI) error {
	q := &api.ImageSaveRequest{Refs: o.refs, Platform: o.platform}
	if o.output == "" {
		if u.OutTTY() {
			return &ui.Problem{Text: "image save: an archive is not for a terminal", Way: "name a file with -o, or redirect the output"}
		}
		return e.ImageSave(ctx, q, u.Out())
	}
	return writeWhole("image save", o.output, func(w io.Writer) error { return e.ImageSave(ctx, q, w) })
}

// writeWhole writes a file that has its name only when it is complete. What is there and is no file, such as /dev/null or a
// pipe, stays what it is, and is written to. verb is for messages.
func writeWhole(verb, path string, write func(io.Writer) error) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".berth-save-*")
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

type imageRmOptions struct {
	force bool
	refs  []string
}

func newImageRmCommand(a *app) *cobra.Command {
	var o imageRmOptions
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] IMAGE...",
		PreRunE: a.noDryRun,
		Aliases: []string{"remove"},
		Short:   "Remove images",
		Args:    needArgs(1, "which image?"),
		RunE: a.onEngine(func(ctx context.Context, e Engine, args []string) error {
			o.refs = args
			return runImageRm(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "also those of stopped containers")
	return cmd
}

func runImageRm(ctx context.Context, o imageRmOptions, e Engine, u *ui.UI) error {
	r, err := e.ImageRemove(ctx, &api.ImageRemoveRequest{Refs: o.refs, Force: o.force})
	if err != nil {
		return err
	}
	return printRemoved(u, r.Untagged, r.Deleted)
}

func newImageTagCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "tag IMAGE NAME",
		PreRunE: a.noDryRun,
		Short:   "Give an image a further name",
		Args:    needArgs(2, "which image, and which name?"),
		RunE: a.onEngine(func(ctx context.Context, e Engine, args []string) error {
			return e.ImageTag(ctx, &api.ImageTagRequest{Source: args[0], Target: args[1]})
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}

func newImagePullCommand(a *app) *cobra.Command {
	var o pullOptions
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] IMAGE...",
		Short: "Pull images",
		Args:  needArgs(1, "which image?"),
		RunE: a.onEngine(func(ctx context.Context, e Engine, args []string) error {
			o.refs, o.dryRun, o.parallel, o.host = args, a.flags.dryRun, a.limit(), a.clientHost()
			return runPull(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&o.policy, "policy", "always", "missing or always")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "don't show how far it is")
	return cmd
}
