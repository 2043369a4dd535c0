package engine

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"berth/engine/api"
	"berth/engine/image"
	"berth/graph/plan"
)

// Pull fetches the images of a project, or plain references.
func (e *Engine) Pull(ctx context.Context, req *api.PullRequest, emit func(api.Event) error) (err error) {
	if len(req.Refs) > 0 {
		return e.pullRefs(ctx, req, emit)
	}
	ctx, v, err := e.openImages(ctx, "pull", req.ProjectSelector, req.Parallel, req.DryRun, emit)
	if err != nil {
		return err
	}
	defer joinClose(&err, func() error { return v.close(ctx) })
	have, err := v.have(ctx)
	if err != nil {
		return err
	}
	images, err := plan.Pull(v.project, have, plan.PullPolicy{
		Services: req.Services, IncludeDeps: req.IncludeDeps, Policy: req.Policy,
		IgnoreFailures: req.IgnoreFailures, IgnoreBuildable: req.IgnoreBuildable,
	})
	if err != nil {
		return err
	}
	v.session.Pull = v.pullOptions(req.Host)
	var missing failures
	v.session.Pull.Progress = missing.watch(v.session.Pull.Progress)
	v.announce(images)
	err = v.run(ctx, images)
	if names := missing.buildable(v.project, images); len(names) > 0 {
		v.session.Warn("", "some images must be built: berth build "+strings.Join(names, " "))
	}
	return err
}

// Images lists the images.
func (e *Engine) Images(ctx context.Context, _ *api.Empty) (*api.ImagesResponse, error) {
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	list, err := e.images.List(ctx)
	if err != nil {
		return nil, err
	}
	resp := &api.ImagesResponse{}
	for _, i := range list {
		resp.Images = append(resp.Images, apiImage(i, e.usersOf(i)))
	}
	slices.SortFunc(resp.Images, func(a, b api.Image) int { return cmp.Compare(a.Name, b.Name) })
	return resp, nil
}

func apiImage(i image.Image, users []string) api.Image {
	return api.Image{
		Name: i.Name, ID: i.ID.String(), Digest: i.Digest.String(), Size: i.Size, Created: i.Created, Labels: i.Labels, UsedBy: users,
		Platform: i.Platform.OS + "/" + i.Platform.Architecture,
	}
}

// ImageTag gives an image a further name.
func (e *Engine) ImageTag(ctx context.Context, req *api.ImageTagRequest) (*api.Empty, error) {
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, e.images.Tag(ctx, req.Source, req.Target)
}

// ImageRemove removes names, and images that have none left; what a container was made from is kept.
func (e *Engine) ImageRemove(ctx context.Context, req *api.ImageRemoveRequest) (*api.ImageRemoveResponse, error) {
	defer e.reserve.Use()()
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	needs, err := e.needs("")
	if err != nil {
		return nil, err
	}
	untagged, deleted, err := e.images.Remove(ctx, req.Refs, req.Force, needs)
	return &api.ImageRemoveResponse{Untagged: untagged, Deleted: deleted}, err
}

// ImageLoad reads an archive from the caller.
func (e *Engine) ImageLoad(stream api.Stream) error {
	ctx, err := e.begin(stream.Context())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() {
		for {
			f, err := stream.Recv()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					w.CloseWithError(err)
				}
				w.Close()
				return
			}
			if _, err := w.Write(f.Stdin); err != nil {
				return
			}
		}
	}()
	images, err := e.images.Load(ctx, r, nil)
	r.Close()
	var known *image.Error
	if errors.As(err, &known) && first.Event != nil {
		known.Ref = first.Event.Text
	}
	if err != nil {
		return err
	}
	var names []string
	for _, i := range images {
		names = append(names, i.Name)
	}
	return stream.Send(&api.Frame{Event: &api.Event{Names: names}})
}

// ImageSave writes an archive for the caller.
func (e *Engine) ImageSave(ctx context.Context, req *api.ImageSaveRequest, send func(*api.Frame) error) error {
	ctx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	return e.images.Save(ctx, req.Refs, req.Platform, chunks(send))
}

type chunks func(*api.Frame) error

// maxChunk is the largest piece of an archive in one message.
const maxChunk = 1 << 20

func (c chunks) Write(p []byte) (int, error) {
	n := 0
	for piece := range slices.Chunk(p, maxChunk) {
		if err := c(&api.Frame{Stdout: slices.Clone(piece)}); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}
