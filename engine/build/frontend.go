package build

import (
	"context"
	"regexp"

	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
)

// stockSyntax are the names of the Dockerfile frontend that is linked in. What once were its "labs" is in it as well.
var stockSyntax = regexp.MustCompile(`^(docker\.io/)?docker/dockerfile(-upstream)?(:(1(\.\d+){0,2}|latest|master|labs|1(\.\d+){0,2}-labs))?$`)

// buildDockerfile is BuildKit's Dockerfile frontend. A Dockerfile that asks for just that by "# syntax=" gets it as it is
// here, in place of an image of it from a registry.
func buildDockerfile(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
	return dockerfile.Build(ctx, withoutFetch{c})
}

// withoutFetch answers the wish for another frontend if that is the stock one.
type withoutFetch struct{ gateway.Client }

// Solve is gateway.Client's.
func (c withoutFetch) Solve(ctx context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	if req.Frontend == "gateway.v0" && stockSyntax.MatchString(req.FrontendOpt["source"]) {
		return dockerfile.Build(ctx, withOptions{c.Client, req.FrontendOpt})
	}
	return c.Client.Solve(ctx, req)
}

// withOptions has a frontend see other options. With "cmdline" among them, it doesn't look for "# syntax=" again.
type withOptions struct {
	gateway.Client
	options map[string]string
}

// BuildOpts is gateway.Client's.
func (c withOptions) BuildOpts() gateway.BuildOpts {
	o := c.Client.BuildOpts()
	o.Opts = c.options
	return o
}
