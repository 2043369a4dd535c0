package apply

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"berth/engine/spec"
	"berth/graph"
	"berth/graph/plan"
	"berth/volumes"
)

// Check finds what makes it impossible to run containers of the services, as far as that can be known once their images
// are here and before anything is made: what no specification can say, and conditions that can't come.
func (s *Session) Check(ctx context.Context, services []string) error {
	g, err := s.needs()
	if err != nil {
		return err
	}
	for _, name := range services {
		if err := s.checkSpec(ctx, name); err != nil {
			return err
		}
		for _, e := range g.Dependencies(name) {
			if err := s.checkCondition(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSpec builds a specification from what is known before there are addresses, volumes and users.
func (s *Session) checkSpec(ctx context.Context, name string) error {
	svc := s.Project.Services[name]
	img, err := s.cfg.Images.Get(ctx, plan.ImageRef(s.Project, name), svc.Platform)
	if err != nil {
		return err
	}
	if svc.SecurityOpt, err = withProfiles(svc, s.Project.WorkingDir); err != nil {
		return err
	}
	for _, n := range volumes.Notices(svc) {
		s.Warn(n.Key, n.Text)
	}
	proc := spec.Merge(svc, specImage(img))
	if len(svc.VolumesFrom) == 0 {
		if _, err := volumes.Mounts(s.Project, svc, volumes.Inputs{ImageVolumes: proc.Volumes}); err != nil {
			return err
		}
	}
	in := spec.Input{ID: name, Name: name, Project: s.Project.Name, Service: svc, Process: proc, Host: s.cfg.Host, InitPath: s.cfg.Init}
	if in.Devices, in.BlockDevices, err = deviceNodes(svc); err != nil {
		return err
	}
	_, _, err = spec.Build(in)
	return err
}

func (s *Session) checkCondition(ctx context.Context, e graph.Edge) error {
	if plan.Condition(e.Condition) != plan.ConditionHealthy {
		return nil
	}
	svc, ok := s.Project.Services[e.To]
	if !ok {
		return nil
	}
	img, err := s.cfg.Images.Get(ctx, plan.ImageRef(s.Project, e.To), svc.Platform)
	if err != nil {
		// It isn't brought up now, or its pull has failed already.
		return ignoreNotFound(err)
	}
	if healthConfig(spec.Merge(svc, specImage(img))) == nil {
		return &conditionError{From: e.From, To: e.To}
	}
	return nil
}

// conditionError says that a service waits for a health that nobody looks at.
type conditionError struct{ From, To string }

func (e *conditionError) Error() string {
	return fmt.Sprintf("services.%s.depends_on.%s: %q has no healthcheck, in the file or its image, and can never be healthy", e.From, e.To, e.To)
}

// Hint is the way out.
func (e *conditionError) Hint() string {
	return fmt.Sprintf("give %q a healthcheck, or wait with condition: service_started", e.To)
}

// Unwrap gives the class.
func (e *conditionError) Unwrap() error { return errdefs.ErrInvalidArgument }
