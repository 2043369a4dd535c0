package apply

import (
	"context"
	"io"

	"github.com/containerd/errdefs"

	"berth/engine/build"
	"berth/graph/plan"
)

// Builds say how images are built.
type Builds struct {
	// Complete adds to what the file asks for; it may refuse.
	Complete func(*build.Request) error
	// Progress takes what changed in the build of an image; nil: nobody is interested.
	Progress func(do plan.BuildImage, p build.Progress)
	// Built takes what came out.
	Built func(do plan.BuildImage, r build.Result)
}

// build makes an image of a service's build section.
func (s *Session) build(ctx context.Context, do plan.BuildImage) error {
	req, err := s.request(ctx, do)
	if err != nil {
		return err
	}
	defer closeArchive(req)
	result, err := s.cfg.Builder.Build(ctx, req, s.buildProgress(do))
	if err == nil && s.Builds.Built != nil {
		s.Builds.Built(do, result)
	}
	return err
}

// CheckBuild looks at the Dockerfile of a service's build section and builds nothing.
func (s *Session) CheckBuild(ctx context.Context, do plan.BuildImage) ([]build.Warning, error) {
	req, err := s.request(ctx, do)
	if err != nil {
		return nil, err
	}
	defer closeArchive(req)
	return s.cfg.Builder.Check(ctx, req, s.buildProgress(do))
}

func (s *Session) buildProgress(do plan.BuildImage) func(build.Progress) {
	if s.Builds.Progress == nil {
		return nil
	}
	return func(p build.Progress) { s.Builds.Progress(do, p) }
}

// request is what the file asks for, and the caller.
func (s *Session) request(ctx context.Context, do plan.BuildImage) (build.Request, error) {
	req, err := build.FromCompose(s.Project, do.Service)
	if err != nil {
		return req, err
	}
	if req.Built, err = s.contexts(ctx, req.Needs()); err != nil {
		return req, err
	}
	if s.Builds.Complete != nil {
		err = s.Builds.Complete(&req)
	}
	return req, err
}

// closeArchive ends the reading of a context that Complete has opened.
func closeArchive(req build.Request) {
	if c, ok := req.Archive.(io.Closer); ok {
		_ = c.Close() // it was read, or is of no use any more
	}
}

// contexts finds the images of services that a build has as further contexts. The plan has them built before; where
// nothing is built, one may be missing.
func (s *Session) contexts(ctx context.Context, services []string) (map[string]build.Result, error) {
	all := map[string]build.Result{}
	for _, name := range services {
		img, err := s.cfg.Images.Get(ctx, plan.ImageRef(s.Project, name), "")
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[name] = build.Result{Ref: img.Ref, Digest: img.Digest, ImageID: img.ID}
	}
	return all, nil
}
