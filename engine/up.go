package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"berth/engine/api"
	"berth/engine/trace"
	"berth/graph"
	"berth/graph/plan"
	"berth/netplan"
	"berth/netplan/cni"
	"berth/project"
)

// Up brings a project up: an images plan, then a containers plan.
func (e *Engine) Up(ctx context.Context, req *api.UpRequest, emit func(api.Event) error) (err error) {
	name := "up"
	if req.NoStart {
		name = "create"
	}
	ctx, v, err := e.openVerb(ctx, name, req.ProjectSelector, req.Parallel, req.DryRun, emit)
	if err != nil {
		return err
	}
	defer joinClose(&err, func() error { return v.close(ctx) })
	return v.up(ctx, req)
}

func (v *verb) up(ctx context.Context, req *api.UpRequest) error {
	have, err := v.have(ctx)
	if err != nil {
		return err
	}
	imagesPol := imagesPolicy(req)
	var images plan.Plan
	if err := trace.Do(ctx, "plan the images", func(context.Context) error {
		images, err = plan.Images(v.project, have, imagesPol)
		return err
	}); err != nil {
		return err
	}
	pol := upPolicy(req)
	if v.dryRun {
		// What pulls and builds will give is not known: the plan is made as if nothing changes by them.
		builds, err := plan.Builds(v.project, have, imagesPol)
		if err != nil {
			return err
		}
		p, err := plan.Up(v.project, plan.Wanted(v.project), have, pol)
		if err != nil {
			return err
		}
		v.announce(p)
		return v.run(ctx, plan.Join(plan.Join(images, builds), p))
	}
	// Before anything is fetched, what can be known to be wrong is found.
	if err := trace.Do(ctx, "check the ports", func(ctx context.Context) error { return v.checkPorts(ctx, req) }); err != nil {
		return err
	}
	if have, err = v.bringImages(ctx, have, images, req, imagesPol); err != nil {
		return err
	}
	var p plan.Plan
	if err := trace.Do(ctx, "plan", func(context.Context) error {
		p, err = plan.Up(v.project, plan.Wanted(v.project), have, pol)
		return err
	}); err != nil {
		return err
	}
	if open := unanswered(p.Questions, req.Declined); len(open) > 0 {
		return v.ask(open)
	}
	if err := trace.Do(ctx, "check the services", func(ctx context.Context) error { return v.session.Check(ctx, created(p)) }); err != nil {
		return err
	}
	v.session.Expect(p.Steps)
	v.announce(p)
	v.session.AnonymousRenewed = req.RenewAnonVolumes
	if err := trace.Do(ctx, "keep the project", func(context.Context) error { return v.kept.Put(v.project) }); err != nil {
		return fmt.Errorf("keep project %q: %w", v.project.Name, err)
	}
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

// bringImages pulls what a plan says, builds what is still missing or asked for, and observes again.
func (v *verb) bringImages(ctx context.Context, have plan.Observed, images plan.Plan, req *api.UpRequest, pol plan.ImagesPolicy) (plan.Observed, error) {
	v.session.Pull, v.session.Builds = v.pullOptions(req.Host), v.builds(req.BuildOptions, req.Host, false)
	again := func(p plan.Plan) (err error) {
		if len(p.Steps) == 0 {
			return nil
		}
		if err = v.run(ctx, p); err == nil {
			have, err = v.have(ctx)
		}
		return err
	}
	if err := again(images); err != nil {
		return have, err
	}
	builds, err := plan.Builds(v.project, have, pol)
	if err != nil {
		return have, err
	}
	return have, again(builds)
}

func imagesPolicy(req *api.UpRequest) plan.ImagesPolicy {
	return plan.ImagesPolicy{Services: req.Services, NoDeps: req.NoDeps, Pull: req.Pull, Build: req.Build}
}

// created names the services that a plan makes containers of.
func created(p plan.Plan) []string {
	var out []string
	for _, s := range p.Steps {
		if c, ok := s.Do.(plan.CreateContainer); ok && !slices.Contains(out, c.Slot.Service) {
			out = append(out, c.Slot.Service)
		}
	}
	return out
}

// unanswered are the questions that were not answered with no; those answered with yes the plan doesn't ask again. A plan
// with a question keeps what the question is about.
func unanswered(questions []plan.Question, declined []string) []plan.Question {
	return slices.DeleteFunc(slices.Clone(questions), func(q plan.Question) bool { return slices.Contains(declined, q.Key) })
}

// ask hands questions to the caller, who comes again with answers.
func (v *verb) ask(questions []plan.Question) error {
	var texts []string
	for _, q := range questions {
		v.emit(api.Event{Kind: api.KindQuestion, Key: q.Key, Text: q.Text})
		texts = append(texts, q.Text)
	}
	return &api.Error{Class: api.ClassFailedPrecondition, Message: strings.Join(texts, "; "), HintText: "answer with yes (-y), or keep the old configuration"}
}

func upPolicy(req *api.UpRequest) plan.UpPolicy {
	pol := plan.UpPolicy{
		Services: req.Services, NoDeps: req.NoDeps, RenewAnonVolumes: req.RenewAnonVolumes,
		RemoveOrphans: req.RemoveOrphans, IgnoreOrphans: req.IgnoreOrphans, NoStart: req.NoStart, Wait: req.Wait, Timeout: req.Timeout, Approved: map[string]bool{},
	}
	switch {
	case req.ForceRecreate:
		pol.Recreate = plan.RecreateForce
	case req.NoRecreate:
		pol.Recreate, pol.RecreateDeps = plan.RecreateNever, plan.RecreateNever
	}
	if req.AlwaysRecreateDeps {
		pol.RecreateDeps = plan.RecreateForce
	}
	if req.RenewAnonVolumes && pol.Recreate == plan.RecreateDiverged {
		pol.Recreate = plan.RecreateForce
	}
	for _, k := range req.Approved {
		pol.Approved[k] = true
	}
	return pol
}

// checkPorts finds host ports that are taken, before anything starts.
func (v *verb) checkPorts(ctx context.Context, req *api.UpRequest) error {
	if req.NoStart {
		return nil
	}
	names := req.Services
	if len(names) == 0 {
		names = v.project.ServiceNames()
	} else if !req.NoDeps {
		g, err := graph.Build(v.project)
		if err != nil {
			return err
		}
		if names, err = g.Closure(names...); err != nil {
			return err
		}
	}
	var claims []cni.Claim
	for _, name := range names {
		svc := v.project.Services[name]
		if mode, _ := netplan.Mode(svc); mode == "host" || mode == "none" || mode == "service" || mode == "container" {
			continue
		}
		for _, slot := range v.project.Slots(name) {
			ports, err := netplan.Ports(svc, slot.Number)
			if err != nil {
				return err
			}
			if len(ports) > 0 {
				claims = append(claims, cni.Claim{Owner: owner(v.project, slot), Ports: ports})
			}
		}
	}
	return v.networks.CheckPorts(ctx, claims)
}

// owner is the key of a slot's addresses.
func owner(p *project.Project, s project.Slot) string { return p.Name + "/" + s.String() }
