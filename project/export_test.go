package project

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// LoadBothWays gives what package model makes of a project's files, and what compose-go's own loader does.
func LoadBothWays(o Options) (ours, theirs *types.Project, ourErr, theirErr error) {
	read := func() (*input, error) {
		src, err := find(o)
		if err != nil {
			return nil, err
		}
		return src.read(o)
	}
	a, err := read()
	if err != nil {
		return nil, nil, err, err
	}
	b, err := read()
	if err != nil {
		return nil, nil, err, err
	}
	ours, ourErr = a.load(o)
	theirs, theirErr = b.loadByComposeGo(o)
	return ours, theirs, ourErr, theirErr
}

func (in *input) loadByComposeGo(o Options) (p *types.Project, err error) {
	defer recoverLoad(&err)
	details := types.ConfigDetails{WorkingDir: in.dir, ConfigFiles: slices.Clone(in.configs), Environment: maps.Clone(in.env)}
	return loader.LoadWithContext(context.Background(), details, func(lo *loader.Options) {
		mo := in.modelOptions(o)
		lo.Interpolate.Substitute = mo.Substitute
		lo.SetProjectName(mo.Name, mo.NameFixed)
		lo.Profiles = mo.Profiles
		lo.ResolvePaths = !mo.NoPathResolution
		lo.ConvertWindowsPaths = mo.WindowsPaths
		lo.SkipInterpolation = mo.NoInterpolate
		lo.SkipNormalization = mo.NoNormalize
		lo.SkipConsistencyCheck = true
		lo.SkipResolveEnvironment = true
		lo.SkipResolveLabels = true
	})
}

// IsMisread tells whether an error stands for a panic.
func IsMisread(err error) bool {
	var m *misread
	return errors.As(err, &m)
}
