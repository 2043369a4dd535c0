package build

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	solvererrors "github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
)

// Check looks at a Dockerfile and builds nothing: its findings come back in the order of the lines, worded as the warnings
// of a build are. The configurations of base images are looked up, so that what they set counts as well. A Dockerfile that
// can't be built is an *Error.
func (b *Builder) Check(ctx context.Context, req Request, progress func(Progress)) ([]Warning, error) {
	bk, leave, err := b.enter(ctx)
	if err != nil {
		return nil, buildError(req, err)
	}
	defer leave()
	opt, release, err := b.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	defer release()
	opt.Exports, opt.CacheExports = nil, nil
	ask := gateway.SolveRequest{Frontend: opt.Frontend, FrontendOpt: opt.FrontendAttrs}
	ask.FrontendOpt["requestid"] = lint.RequestLint
	ask.FrontendOpt["frontend.caps"] = "moby.buildkit.frontend.subrequests"
	statuses := make(chan *client.SolveStatus)
	seen, done := watch(statuses, progress)
	var found []byte
	_, err = bk.client.Build(ctx, opt, "", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		res, err := c.Solve(ctx, ask)
		if err != nil {
			return nil, err
		}
		found = res.Metadata["result.json"]
		return gateway.NewResult(), nil
	}, statuses)
	<-done
	if err != nil {
		return nil, solveError(req, err, seen)
	}
	return findings(req, found)
}

// findings reads what the frontend's check found.
func findings(req Request, text []byte) ([]Warning, error) {
	var results lint.LintResults
	if err := json.Unmarshal(text, &results); err != nil {
		return nil, fmt.Errorf("check %q: read the findings: %w", req.Service, err)
	}
	source := func(l *pb.Location) *pb.SourceInfo {
		if n := int(l.GetSourceIndex()); l != nil && n >= 0 && n < len(results.Sources) {
			return results.Sources[n]
		}
		return nil
	}
	if results.Error != nil {
		e := &Error{Service: req.Service, Reason: frames.ReplaceAllString(results.Error.Message, "")}
		e.at(source(&results.Error.Location), results.Error.Location.Ranges)
		e.hint = hintFor(req, e)
		return nil, e
	}
	var list []Warning
	for _, w := range results.Warnings {
		ranges := w.Location.GetRanges()
		list = append(list, warningOf(linter.LintFormatShort(w.RuleName, w.Detail, lineOf(ranges)), w.URL, []string{w.Description}, source(w.Location), ranges))
	}
	slices.SortStableFunc(list, func(a, b Warning) int { return a.Line - b.Line })
	return list, nil
}

// warningOf puts a warning together; the source may be unknown.
func warningOf(short, url string, detail []string, info *pb.SourceInfo, ranges []*pb.Range) Warning {
	w := Warning{Short: short, URL: url, Detail: slices.DeleteFunc(detail, func(s string) bool { return s == "" })}
	if line := lineOf(ranges); info != nil && line > 0 {
		w.File, w.Line = info.Filename, line
		if text := sourceLines(&solvererrors.Source{Info: info, Ranges: ranges}); text != "" {
			w.Source = strings.Split(text, "\n")
		}
	}
	return w
}
