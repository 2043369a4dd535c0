package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type imagesOptions struct {
	target   *target
	services []string
	format   string
	quiet    bool
}

func newImagesCommand(a *app) *cobra.Command {
	var o imagesOptions
	cmd := &cobra.Command{
		Use:   "images [OPTIONS] [SERVICE...]",
		Short: "List the images of containers",
		RunE: a.onProject(func(ctx context.Context, e Engine, t *target, services []string) error {
			o.target, o.services = t, services
			return runImages(ctx, o, e, a.ui)
		}),
		ValidArgsFunction: a.completeServices,
	}
	cmd.Flags().StringVar(&o.format, "format", "table", "table, json, or a Go template")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "ids only")
	return cmd
}

func runImages(ctx context.Context, o imagesOptions, e Engine, u *ui.UI) error {
	r, err := e.Containers(ctx, &api.ContainersRequest{ProjectSelector: o.target.byName(o.services), All: true})
	if err != nil {
		return err
	}
	known, err := e.Images(ctx)
	if err != nil {
		return err
	}
	byID := map[string]api.Image{}
	for _, img := range known.Images {
		byID[img.ID] = img
	}
	list := slices.DeleteFunc(slices.Clone(r.Containers), func(c api.Container) bool { return c.Oneoff })
	slices.SortFunc(list, func(a, b api.Container) int { return cmp.Compare(a.Name, b.Name) })
	if o.quiet {
		var seen []string
		for _, c := range list {
			_, hex, _ := strings.Cut(c.ImageID, ":")
			if slices.Contains(seen, hex) {
				continue
			}
			seen = append(seen, hex)
			if err := u.Printf("%s\n", hex); err != nil {
				return err
			}
		}
		return nil
	}
	l := listing{
		minWidth: 20, array: true,
		columns: []column{
			{"CONTAINER", "ContainerName"}, {"REPOSITORY", "Repository"}, {"TAG", "Tag"}, {"PLATFORM", "Platform"},
			{"IMAGE ID", "ShortID"}, {"SIZE", "HumanSize"}, {"CREATED", "CreatedSince"},
		},
	}
	for _, c := range list {
		l.rows = append(l.rows, imageOfContainer(c, byID[c.ImageID], u.Now()))
	}
	if o.target.classic() && (o.format == "" || o.format == "table") {
		return classicImages(u, l.rows)
	}
	if o.format == "json" {
		for _, r := range l.rows {
			delete(r, "ShortID")
			delete(r, "HumanSize")
			delete(r, "CreatedSince")
		}
	}
	return l.print(u, o.format)
}

func imageOfContainer(c api.Container, img api.Image, now time.Time) row {
	repository, tag := splitReference(c.Image)
	created := "N/A"
	if !img.Created.IsZero() {
		created = ui.HumanDuration(now.Sub(img.Created)) + " ago"
	}
	return row{
		"ID": c.ImageID, "ShortID": shortID(c.ImageID), "ContainerName": c.Name, "Repository": repository, "Tag": tag,
		"Platform": cmp.Or(c.Platform, img.Platform), "Size": img.Size, "HumanSize": ui.HumanSize(img.Size), "Created": img.Created, "CreatedSince": created,
	}
}

func classicImages(u *ui.UI, rows []row) error {
	var cells [][]string
	for _, r := range rows {
		size, _ := r["Size"].(int64)
		cells = append(cells, []string{r["ContainerName"].(string), r["Repository"].(string), r["Tag"].(string), r["ShortID"].(string), ui.ClassicSize(size)})
	}
	return u.ClassicTable([]string{"Container", "Repository", "Tag", "Image Id", "Size"}, cells)
}

// splitReference gives repository and tag as users write them: "docker.io/library/mariadb:10" is mariadb and 10.
func splitReference(ref string) (repository, tag string) {
	ref, digest, byDigest := strings.Cut(ref, "@")
	repository = ref
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		repository, tag = ref[:i], ref[i+1:]
	}
	if rest, ok := strings.CutPrefix(repository, "docker.io/"); ok {
		repository = strings.TrimPrefix(rest, "library/")
	}
	switch {
	case repository == "" || repository == "<none>" || strings.HasPrefix(repository, "sha256") || byDigest && digest == "":
		return "<none>", "<none>"
	case tag == "" && byDigest:
		tag = "<none>"
	case tag == "":
		tag = "latest"
	}
	return repository, tag
}
