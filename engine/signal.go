package engine

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/graph/plan"
)

// Signal carries out the verbs on existing containers.
func (e *Engine) Signal(ctx context.Context, req *api.SignalRequest, emit func(api.Event) error) (err error) {
	switch req.Verb {
	case "stop", "kill", "rm": // they have to work on a full disk too
		defer e.reserve.Use()()
	}
	ctx, v, err := e.openVerb(ctx, req.Verb, req.ProjectSelector, req.Parallel, req.DryRun, emit)
	if err != nil {
		return err
	}
	defer joinClose(&err, func() error { return v.close(ctx) })
	have, err := v.have(ctx)
	if err != nil {
		return err
	}
	p, err := v.signalPlan(req, have)
	if err != nil {
		return err
	}
	v.announce(p)
	if req.Wait && req.WaitTimeout > 0 {
		limited, cancel := context.WithTimeout(ctx, req.WaitTimeout)
		defer cancel()
		err := v.run(limited, p)
		if limited.Err() != nil && ctx.Err() == nil {
			return &api.Error{Class: api.ClassFailedPrecondition, Message: fmt.Sprintf("application not healthy after %s", req.WaitTimeout)}
		}
		return err
	}
	return v.run(ctx, p)
}

func (v *verb) signalPlan(req *api.SignalRequest, have plan.Observed) (plan.Plan, error) {
	file := v.file()
	switch req.Verb {
	case "start":
		return plan.Start(file, have, plan.StartPolicy{Services: req.Services, Wait: req.Wait})
	case "stop":
		return plan.Stop(file, have, plan.StopPolicy{Services: req.Services, Oneoffs: req.Oneoffs, Timeout: req.Timeout})
	case "restart":
		return plan.Restart(file, have, plan.RestartPolicy{Services: req.Services, NoDeps: req.NoDeps, Timeout: req.Timeout})
	case "kill":
		return plan.Kill(file, have, plan.KillPolicy{Services: req.Services, Signal: req.Signal, RemoveOrphans: req.RemoveOrphans})
	case "pause":
		return plan.Pause(file, have, plan.PausePolicy{Services: req.Services})
	case "unpause":
		return plan.Unpause(file, have, plan.PausePolicy{Services: req.Services})
	case "rm":
		return plan.Remove(file, have, plan.RemovePolicy{Services: req.Services, Stop: req.Force, Oneoffs: req.Oneoffs, Volumes: req.Volumes, Timeout: req.Timeout})
	}
	return plan.Plan{}, fmt.Errorf("verb %q: %w", req.Verb, errdefs.ErrInvalidArgument)
}
