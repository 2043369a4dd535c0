package project

import "github.com/compose-spec/compose-go/v2/types"

// Scale is how many containers a service is to have: scale, else deploy.replicas, else 1.
func Scale(svc types.ServiceConfig) int { return svc.GetScale() }

// Slots are the places of a service's containers, numbered from 1; none if there is no such service.
func (p *Project) Slots(service string) []Slot {
	svc, ok := p.Services[service]
	if !ok {
		return nil
	}
	slots := make([]Slot, 0, max(Scale(svc), 0))
	for n := 1; n <= Scale(svc); n++ {
		slots = append(slots, Slot{Service: service, Number: n})
	}
	return slots
}

// ImageName is the reference of the image that a service runs: its image, or the name under which it is built.
func (p *Project) ImageName(svc types.ServiceConfig) string {
	if svc.Image != "" {
		return svc.Image
	}
	return p.Name + p.Separator + svc.Name
}
