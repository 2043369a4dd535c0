package container

import (
	"berth/engine/api"
	"berth/engine/event"
)

// Event describes something that happened to the container, for the bus.
func (c *Container) Event(action string) event.Event {
	return event.Event{ContainerEvent: api.ContainerEvent{
		Action: action, ID: c.ID, Name: c.Name, Project: c.Project, Service: c.Slot.Service, Number: c.Slot.Number, Image: c.Image,
		ExitCode: c.Status().Code,
	}}
}
