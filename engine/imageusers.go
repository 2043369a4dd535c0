package engine

import (
	"fmt"

	"github.com/containerd/errdefs"

	"berth/engine/container"
	"berth/engine/image"
	"berth/graph/plan"
)

// usersOf names the containers that were made from an image.
func (e *Engine) usersOf(img image.Image) []string {
	var names []string
	for _, c := range e.containers.List(func(c *container.Container) bool { return c.ImageID == img.ID.String() }) {
		names = append(names, c.Name)
	}
	return names
}

// madeOf names the containers that were made from an image by this name of it.
func (e *Engine) madeOf(name string) []string {
	ref, err := image.ParseRef(name)
	if err != nil {
		return nil
	}
	var names []string
	for _, c := range e.containers.List(nil) {
		if own, err := image.ParseRef(c.Image); err == nil && own == ref {
			names = append(names, c.Name)
		}
	}
	return names
}

// needs gives who needs an image: the containers that were made from it, else the services that containers will be made for
// when their project is started or scaled the next time. The services of one project (except) don't count.
func (e *Engine) needs(except string) (func(image.Image) []string, error) {
	services := map[string][]string{} // by the image's full name
	for _, name := range e.kept.Names() {
		if name == except || len(e.containers.List(func(c *container.Container) bool { return c.Project == name })) == 0 {
			continue
		}
		p, err := e.kept.Get(name)
		if errdefs.IsNotFound(err) { // taken down meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		for service := range p.Services {
			if ref, err := image.ParseRef(plan.ImageRef(p, service)); err == nil {
				services[ref.String()] = append(services[ref.String()], fmt.Sprintf("service %q of project %q", service, name))
			}
		}
	}
	return func(img image.Image) []string {
		if users := e.usersOf(img); len(users) > 0 {
			return users
		}
		return services[img.Ref]
	}, nil
}
