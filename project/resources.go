package project

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"berth/project/hash"
)

// ContainerLabels are the labels of a slot's container: the service's own, and those by which docker compose and
// berth know it again. imageDigest is of the image that it is made from, version this program's.
func (p *Project) ContainerLabels(s Slot, imageDigest, version string) map[string]string {
	svc := p.Services[s.Service]
	labels := map[string]string{}
	maps.Copy(labels, svc.Labels)
	labels[LabelProject] = p.Name
	labels[LabelService] = s.Service
	labels[LabelNumber] = strconv.Itoa(s.Number)
	labels[LabelOneoff] = "False"
	labels[LabelConfigHash] = hash.Service(svc)
	labels[LabelDependsOn] = p.DependsOnLabel(s.Service)
	labels[LabelWorkingDir] = p.WorkingDir
	labels[LabelConfigFiles] = strings.Join(p.ComposeFiles, ",")
	labels[LabelVersion] = version
	if imageDigest != "" {
		labels[LabelImage] = imageDigest
	}
	if len(p.EnvFiles) > 0 {
		labels[LabelEnvFiles] = strings.Join(p.EnvFiles, ",")
	}
	return labels
}

// OneoffLabels are the labels of a container made by run; slug tells one from another.
func (p *Project) OneoffLabels(service, slug, imageDigest, version string) map[string]string {
	labels := p.ContainerLabels(Slot{Service: service}, imageDigest, version)
	delete(labels, LabelNumber)
	labels[LabelOneoff] = "True"
	labels[LabelSlug] = slug
	return labels
}

// DependsOnLabel tells what a service's containers wait for, as "db:service_healthy:false,...", in order.
func (p *Project) DependsOnLabel(service string) string {
	dependencies := p.Services[service].DependsOn
	var parts []string
	for _, name := range sortedKeys(dependencies) {
		d := dependencies[name]
		parts = append(parts, fmt.Sprintf("%s:%s:%t", name, d.Condition, d.Restart))
	}
	return strings.Join(parts, ",")
}

// NetworkLabels are the labels of the network with this key in the file.
func (p *Project) NetworkLabels(key, version string) map[string]string {
	n := p.Networks[key]
	labels := map[string]string{}
	maps.Copy(labels, n.Labels)
	labels[LabelProject] = p.Name
	labels[LabelNetwork] = key
	labels[LabelConfigHash] = hash.Network(n)
	labels[LabelVersion] = version
	return labels
}

// VolumeLabels are the labels of the volume with this key in the file. A volume of a v1-format file belongs to no
// project: several may share it, and it stays when one of them goes.
func (p *Project) VolumeLabels(key, version string) map[string]string {
	v := p.Volumes[key]
	labels := map[string]string{}
	maps.Copy(labels, v.Labels)
	if p.Legacy {
		return labels
	}
	labels[LabelProject] = p.Name
	labels[LabelVolume] = key
	labels[LabelConfigHash] = hash.Volume(v)
	labels[LabelVersion] = version
	return labels
}
