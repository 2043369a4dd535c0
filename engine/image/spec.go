package image

import (
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image on this host, as one platform sees it.
type Image struct {
	// Name is the familiar name ("mariadb:latest"), "<none>" if it has none; Ref the full one of the record.
	Name, Ref string
	// Target is the manifest or index that the name stands for, Digest its digest.
	Target ocispec.Descriptor
	Digest digest.Digest
	// Manifest is the manifest for Platform; Target itself if that is no index.
	Manifest ocispec.Descriptor
	Layers   []ocispec.Descriptor
	// ID is the digest of the configuration: what docker shows as the image's id.
	ID digest.Digest
	// ChainID names the snapshot of the unpacked layers; "" if there are none.
	ChainID digest.Digest
	Config  Spec
	Created time.Time
	// Checked is when the name was given to this image on this host, or its registry last confirmed that it stands for it.
	Checked time.Time
	// Size is in bytes: the unpacked layers, or the packed ones as long as they are not unpacked.
	Size     int64
	Platform ocispec.Platform
	// Labels are those of the image's configuration.
	Labels map[string]string
}

// Spec is an image's configuration: the OCI one with what docker adds to it.
type Spec struct {
	ocispec.Platform
	Created *time.Time        `json:"created,omitempty"`
	Author  string            `json:"author,omitempty"`
	Config  ContainerConfig   `json:"config"`
	RootFS  ocispec.RootFS    `json:"rootfs"`
	History []ocispec.History `json:"history,omitempty"`
}

// ContainerConfig is what the image says about containers made from it.
type ContainerConfig struct {
	ocispec.ImageConfig
	Healthcheck *Healthcheck `json:",omitempty"`
	// OnBuild are triggers of builds on top of the image; Shell is of its RUN lines.
	OnBuild []string `json:",omitempty"`
	Shell   []string `json:",omitempty"`
}

// Healthcheck is docker's HEALTHCHECK. Test is empty (inherit), ["NONE"], ["CMD", ...] or ["CMD-SHELL", "..."].
// A duration of 0 means docker's default.
type Healthcheck struct {
	Test          []string      `json:",omitempty"`
	Interval      time.Duration `json:",omitempty"`
	Timeout       time.Duration `json:",omitempty"`
	StartPeriod   time.Duration `json:",omitempty"`
	StartInterval time.Duration `json:",omitempty"`
	Retries       int           `json:",omitempty"`
}
