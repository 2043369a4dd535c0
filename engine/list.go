package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"berth/engine/api"
	"berth/engine/container"
	"berth/netplan"
	"berth/project"
	"berth/volumes"
)

// Containers lists containers of a project, or of all.
func (e *Engine) Containers(ctx context.Context, req *api.ContainersRequest) (*api.ContainersResponse, error) {
	if _, err := e.begin(ctx); err != nil {
		return nil, err
	}
	name, err := selectorName(req.ProjectSelector)
	if err != nil {
		return nil, err
	}
	resp := &api.ContainersResponse{}
	for _, c := range e.containers.List(selectContainers(name, req.ProjectSelector)) {
		if !req.All && !c.Running() {
			continue
		}
		resp.Containers = append(resp.Containers, e.apiContainer(c, req.Brief))
	}
	slices.SortFunc(resp.Containers, func(a, b api.Container) int { return cmp.Compare(a.Name, b.Name) })
	return resp, nil
}

// selectContainers: of a project ("" for all), of services where some are named, with one-offs if they are meant.
func selectContainers(projectName string, sel api.ProjectSelector) func(*container.Container) bool {
	return func(c *container.Container) bool {
		return (projectName == "" || c.Project == projectName) &&
			(len(sel.Services) == 0 || slices.Contains(sel.Services, c.Slot.Service)) &&
			(sel.Oneoffs || !c.Oneoff)
	}
}

// selectorName is the name of the project that a selector means.
func selectorName(sel api.ProjectSelector) (string, error) {
	if len(sel.Project) == 0 {
		return sel.Name, nil
	}
	p, err := project.Decode(sel.Project)
	if err != nil {
		return "", err
	}
	return p.Name, nil
}

// chosen lists the containers that a selector means; naming a service that has none is an error.
func (e *Engine) chosen(sel api.ProjectSelector) ([]*container.Container, error) {
	name, err := selectorName(sel)
	if err != nil {
		return nil, err
	}
	list := e.containers.List(selectContainers(name, sel))
	for _, s := range sel.Services {
		if !slices.ContainsFunc(list, func(c *container.Container) bool { return c.Slot.Service == s }) {
			return nil, &api.Error{
				Class: api.ClassNotFound, Message: fmt.Sprintf("service %q of project %q has no container", s, name),
				HintText: "make it first: berth up -d " + s,
			}
		}
	}
	return list, nil
}

func (e *Engine) apiContainer(c *container.Container, brief bool) api.Container {
	st := c.Status()
	out := api.Container{
		ID: c.ID, Name: c.Name, Project: c.Project, Service: c.Slot.Service, Number: c.Slot.Number, Oneoff: c.Oneoff,
		Image: c.Image, ImageID: c.ImageID, Platform: c.Platform, Command: c.Command, Created: c.Created,
		Started: st.Started, Finished: st.Finished, State: string(st.State), Health: string(st.Health), ExitCode: st.Code,
		OOMKilled: st.OOM, Restarts: st.Restarts, Error: st.Error, Pid: st.Pid, TTY: c.TTY, OpenStdin: c.Stdin,
		LogDriver: c.LogDriver, Ports: publishers(c, st),
	}
	if brief {
		return out
	}
	out.Labels = c.Labels
	for _, a := range e.networks.Addresses(c.Owner) {
		n := api.NetworkAddress{Name: a.Network, MAC: a.MAC}
		if a.IPv4.IsValid() {
			n.IPv4 = a.IPv4.String()
		}
		if a.IPv6.IsValid() {
			n.IPv6 = a.IPv6.String()
		}
		if a.Gateway.IsValid() {
			n.Gateway = a.Gateway.String()
		}
		for _, ep := range c.Endpoints {
			if ep.Network == a.Network {
				n.Aliases = ep.Aliases
			}
		}
		out.Networks = append(out.Networks, n)
	}
	for _, m := range c.Mounts {
		switch m.Kind {
		case volumes.Named, volumes.Anonymous:
			out.LocalVolumes++
			out.Mounts = append(out.Mounts, m.Source)
		case volumes.Bind:
			out.Mounts = append(out.Mounts, m.Source)
		}
	}
	return out
}

// publishers lists published ports, each for IPv4 and IPv6 where it is open on every address, and exposed ones without.
func publishers(c *container.Container, st container.Status) []api.Publisher {
	if !c.Running() {
		return nil
	}
	var out []api.Publisher
	published := map[string]bool{}
	for _, p := range st.Ports {
		for i := range p.Count {
			target, host := int(p.Target+i), int(p.Published+i)
			published[fmt.Sprint(target, "/", p.Protocol)] = true
			for _, url := range hostAddresses(p) {
				out = append(out, api.Publisher{URL: url, TargetPort: target, PublishedPort: host, Protocol: p.Protocol})
			}
		}
	}
	for _, p := range c.Exposed {
		if !published[fmt.Sprint(p.Number, "/", p.Protocol)] {
			out = append(out, api.Publisher{TargetPort: int(p.Number), Protocol: p.Protocol})
		}
	}
	slices.SortStableFunc(out, func(a, b api.Publisher) int {
		return cmp.Or(cmp.Compare(a.TargetPort, b.TargetPort), strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.PublishedPort, b.PublishedPort))
	})
	return out
}

func hostAddresses(p netplan.Port) []string {
	if p.HostIP.IsValid() {
		return []string{p.HostIP.String()}
	}
	return []string{"0.0.0.0", "::"}
}

// Projects lists every project that has containers or was kept.
func (e *Engine) Projects(ctx context.Context, _ *api.Empty) (*api.ProjectsResponse, error) {
	if _, err := e.begin(ctx); err != nil {
		return nil, err
	}
	byName := map[string]*api.ProjectInfo{}
	for _, c := range e.containers.List(func(c *container.Container) bool { return !c.Oneoff }) {
		info := byName[c.Project]
		if info == nil {
			info = &api.ProjectInfo{Name: c.Project, Status: map[string]int{}, WorkingDir: c.Labels[project.LabelWorkingDir]}
			if files := c.Labels[project.LabelConfigFiles]; files != "" {
				info.ConfigFiles = strings.Split(files, ",")
			}
			byName[c.Project] = info
		}
		info.Status[string(c.Status().State)]++
	}
	resp := &api.ProjectsResponse{}
	for _, info := range byName {
		resp.Projects = append(resp.Projects, *info)
	}
	slices.SortFunc(resp.Projects, func(a, b api.ProjectInfo) int { return cmp.Compare(a.Name, b.Name) })
	return resp, nil
}

// KeptProject gives a project as its last up resolved it.
func (e *Engine) KeptProject(_ context.Context, req *api.ProjectSelector) (*api.KeptProjectResponse, error) {
	p, err := e.kept.Get(req.Name)
	if err != nil {
		return nil, err
	}
	b, err := project.Encode(p)
	if err != nil {
		return nil, err
	}
	return &api.KeptProjectResponse{Project: b}, nil
}

// Volumes lists volumes: of a project, of some of its services, or all.
func (e *Engine) Volumes(ctx context.Context, req *api.ProjectSelector) (*api.VolumesResponse, error) {
	if _, err := e.begin(ctx); err != nil {
		return nil, err
	}
	name, err := selectorName(*req)
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	wanted := map[string]bool{}
	for _, c := range e.containers.List(nil) {
		for _, m := range c.Mounts {
			if m.Kind != volumes.Named && m.Kind != volumes.Anonymous {
				continue
			}
			users[m.Source] = append(users[m.Source], c.Name)
			if c.Project == name && slices.Contains(req.Services, c.Slot.Service) {
				wanted[m.Source] = true
			}
		}
	}
	all, err := e.volumes.List()
	if err != nil {
		return nil, err
	}
	resp := &api.VolumesResponse{}
	for _, v := range all {
		if name != "" && v.Project != name && !wanted[v.Name] || len(req.Services) > 0 && !wanted[v.Name] {
			continue
		}
		resp.Volumes = append(resp.Volumes, api.Volume{
			Name: v.Name, Driver: "local", Mountpoint: v.Mountpoint, Project: v.Project, Key: v.Key, Labels: v.Labels,
			Options: v.DriverOpts, Created: v.Created, Anonymous: v.Anonymous, UsedBy: users[v.Name],
		})
	}
	slices.SortFunc(resp.Volumes, func(a, b api.Volume) int { return cmp.Compare(a.Name, b.Name) })
	return resp, nil
}

// Top lists the processes of a project's running containers.
func (e *Engine) Top(ctx context.Context, req *api.ProjectSelector) (*api.TopResponse, error) {
	ctx, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	list, err := e.chosen(*req)
	if err != nil {
		return nil, err
	}
	resp := &api.TopResponse{}
	for _, c := range list {
		if !c.Running() {
			continue
		}
		titles, rows, err := e.containers.Top(ctx, c)
		if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) {
			continue // it has just ended
		}
		if err != nil {
			return nil, fmt.Errorf("list the processes of container %q: %w", c.Name, err)
		}
		resp.Containers = append(resp.Containers, api.ContainerTop{Name: c.Name, Service: c.Slot.Service, Number: c.Slot.Number, Titles: titles, Processes: rows})
	}
	return resp, nil
}
