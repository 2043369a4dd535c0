package engine

import (
	"context"
	"encoding/json"

	"golang.org/x/sync/errgroup"

	"berth/engine/api"
	"berth/engine/image"
)

// ImageInspect describes an image in docker's form.
func (e *Engine) ImageInspect(ctx context.Context, req *api.ImageRequest) (*api.ImageInspectResponse, error) {
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	i, err := e.images.Inspect(ctx, req.Ref, req.Platform)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(i)
	return &api.ImageInspectResponse{Image: b}, err
}

// ImageHistory lists how an image was made.
func (e *Engine) ImageHistory(ctx context.Context, req *api.ImageRequest) (*api.ImageHistoryResponse, error) {
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	steps, err := e.images.History(ctx, req.Ref, req.Platform)
	if err != nil {
		return nil, err
	}
	resp := &api.ImageHistoryResponse{}
	for _, s := range steps {
		resp.Steps = append(resp.Steps, api.ImageStep{
			ID: s.ID.String(), Created: s.Created, CreatedBy: s.CreatedBy, Comment: s.Comment, Size: s.Size, Tags: s.Tags,
		})
	}
	return resp, nil
}

// ImageDigests asks registries what names stand for.
func (e *Engine) ImageDigests(ctx context.Context, req *api.ImageDigestsRequest) (*api.ImageDigestsResponse, error) {
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	resp := &api.ImageDigestsResponse{Pinned: make([]string, len(req.Refs))}
	group, ctx := errgroup.WithContext(ctx)
	if req.Parallel > 0 {
		group.SetLimit(req.Parallel)
	}
	for i, ref := range req.Refs {
		group.Go(func() (err error) {
			resp.Pinned[i], err = e.images.Pinned(ctx, ref, credentialsOf(req.Host))
			return err
		})
	}
	return resp, group.Wait()
}

// ImagePrune removes images; one that a container or a project needs stays, whether it runs or not.
func (e *Engine) ImagePrune(ctx context.Context, req *api.ImagePruneRequest) (*api.ImagePruneResponse, error) {
	defer e.reserve.Use()()
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	needs, err := e.needs("")
	if err != nil {
		return nil, err
	}
	gone, err := e.images.Prune(ctx, image.PruneOptions{All: req.All, Before: req.Before, Labels: req.Labels, NotLabels: req.NotLabels}, needs)
	if err != nil {
		return nil, err
	}
	return &api.ImagePruneResponse{Untagged: gone.Untagged, Deleted: gone.Deleted, Reclaimed: gone.Reclaimed}, nil
}
