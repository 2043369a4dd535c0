// Package observe reads what the host has of a project, as plan.Observed.
//
// It writes nothing, and knows nothing of what will be decided. Entry point: Host.Project.
package observe

import (
	"context"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"berth/engine/container"
	"berth/engine/image"
	"berth/graph/plan"
	"berth/netplan"
	"berth/project"
	"berth/volumes/local"
)

// Host is where things are read from.
type Host struct {
	Containers *container.Store
	Images     *image.Store
	Networks   func() []netplan.Network
	Volumes    *local.Driver
}

// Project reads all that belongs to a project by its labels, and what p names beside that (external networks,
// images). p is nil where the user has no files.
func (h Host) Project(ctx context.Context, name string, p *project.Project) (plan.Observed, error) {
	o := plan.Observed{Project: name, Images: map[string]string{}, ImageAges: map[string]time.Duration{}}
	for _, c := range h.Containers.List(func(c *container.Container) bool { return c.Project == name }) {
		o.Containers = append(o.Containers, Container(c))
	}
	for _, n := range h.Networks() {
		owned := n.Project == name
		if owned || (p != nil && namesNetwork(p, n.Name)) {
			o.Networks = append(o.Networks, plan.Network{Name: n.Name, Key: n.Key, Hash: n.ConfigHash, Owned: owned})
		}
	}
	vols, err := h.Volumes.List()
	if err != nil {
		return o, err
	}
	for _, v := range vols {
		owned := v.Project == name && !v.Anonymous
		if owned || (p != nil && namesVolume(p, v.Name)) {
			o.Volumes = append(o.Volumes, plan.Volume{Name: v.Name, Key: v.Key, Hash: v.Labels[project.LabelConfigHash], Owned: owned})
		}
	}
	if p == nil {
		return o, nil
	}
	type wanted struct{ ref, platform string }
	seen := map[wanted]bool{}
	for name, s := range p.Services {
		ref := plan.ImageRef(p, name)
		if seen[wanted{ref, s.Platform}] {
			continue // many services may share one
		}
		seen[wanted{ref, s.Platform}] = true
		img, err := h.Images.Get(ctx, ref, s.Platform)
		switch {
		case err == nil:
			o.Images[ref] = img.Digest.String()
			o.ImageAges[ref] = time.Since(img.Checked)
		case !errdefs.IsNotFound(err):
			return o, err
		}
	}
	return o, nil
}

// Container is one container as a plan sees it.
func Container(c *container.Container) plan.Container {
	st := c.Status()
	return plan.Container{
		ID: c.ID, Name: c.Name, Slot: c.Slot, Oneoff: c.Oneoff,
		State: st.State, Health: st.Health, Code: st.Code, Created: c.Created.UnixNano(),
		Hash: c.Hash, Image: c.ImageDigest,
		Networks: slices.Clone(c.Networks), Volumes: slices.Clone(c.Volumes),
		Needs: slices.Clone(c.Needs), Joins: slices.Clone(c.Joins),
	}
}

func namesNetwork(p *project.Project, name string) bool {
	for _, n := range p.Networks {
		if n.Name == name {
			return true
		}
	}
	return false
}

func namesVolume(p *project.Project, name string) bool {
	for _, v := range p.Volumes {
		if v.Name == name {
			return true
		}
	}
	return false
}
