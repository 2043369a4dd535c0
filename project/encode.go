package project

import (
	"errors"
	"fmt"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project/wire"
)

// Encode is the form in which a project goes from the command line to the engine, and in which the engine keeps it.
// The user's environment doesn't travel: what the project needs of it is in the services already.
func Encode(p *Project) ([]byte, error) {
	if p == nil || p.Project == nil {
		return nil, errors.New("encode project: there is none")
	}
	model := *p.Project
	model.Environment = nil
	whole := *p
	whole.Project = &model
	data, err := wire.Marshal(whole)
	if err != nil {
		return nil, fmt.Errorf("encode project %q: %w", p.Name, err)
	}
	return data, nil
}

// Decode reads what Encode wrote.
func Decode(data []byte) (*Project, error) {
	p := &Project{Project: &types.Project{}}
	if err := wire.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("decode project: %w", err)
	}
	return p, nil
}
