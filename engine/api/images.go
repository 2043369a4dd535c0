package api

import (
	"encoding/json"
	"time"
)

// PushRequest is push: the images of a project's services that are built, or plain references.
type PushRequest struct {
	ProjectSelector
	IncludeDeps    bool
	IgnoreFailures bool
	Refs           []string // instead of a project: plain references
	Parallel       int
	DryRun         bool
	Host           ClientHost
}

// PushedEvent is what a registry has after a push.
type PushedEvent struct {
	Name, Digest string
	Size         int64
	// Only is the platform that was pushed of an image for several, "" for all.
	Only string `json:",omitempty"`
}

// LoginRequest has the engine show user and secret to a registry; it keeps neither.
type LoginRequest struct{ Host, User, Secret string }

// LoginResponse: IdentityToken is to be kept instead of the secret, unless it is "".
type LoginResponse struct{ Host, IdentityToken string }

// ImageRequest names one image; Platform "" is the host's.
type ImageRequest struct{ Ref, Platform string }

// ImageInspectResponse has the image as docker image inspect shows it.
type ImageInspectResponse struct{ Image json.RawMessage }

// ImageDigestsRequest asks what names stand for in their registries.
type ImageDigestsRequest struct {
	Refs     []string
	Parallel int // 0 is no limit
	Host     ClientHost
}

// ImageDigestsResponse has the names, in the order of the request, with the digests.
type ImageDigestsResponse struct{ Pinned []string }

// ImageHistoryResponse has the steps of an image's making, the last one first.
type ImageHistoryResponse struct{ Steps []ImageStep }
type ImageStep struct {
	ID                 string // "" for all but the last step
	Created            time.Time
	CreatedBy, Comment string
	Size               int64
	Tags               []string
}

// ImagePruneRequest: without All, images without a name go; Before spares younger ones, zero spares none. What a container
// was made from always stays. Labels and NotLabels are "key" or "key=value".
type ImagePruneRequest struct {
	All               bool
	Before            time.Time
	Labels, NotLabels []string
}
type ImagePruneResponse struct {
	Untagged, Deleted []string // names; ids
	Reclaimed         int64    // bytes
}

// VolumePruneResponse names the anonymous volumes that went.
type VolumePruneResponse struct {
	Removed   []string
	Reclaimed int64
}

// DiskUsageResponse is the space on disk, in bytes.
type DiskUsageResponse struct {
	Images []ImageUsage
	// ImagesTotal counts what images share once; Other is what belongs to no image that is listed.
	ImagesTotal, Other int64
	Containers         []ContainerUsage
	Volumes            []VolumeUsage
	BuildCache         BuildCacheUsage
}

// ImageUsage is of one image with all its names; Shared is used by other images too.
type ImageUsage struct {
	Image
	Names          []string
	Shared, Unique int64
}

// ContainerUsage is what a container has changed in its file system.
type ContainerUsage struct {
	Container
	Written int64
}

// VolumeUsage is a volume's content; -1 for one that is elsewhere (driver_opts).
type VolumeUsage struct {
	Volume
	Size int64
}

// CommitRequest makes an image of the container of one service.
type CommitRequest struct {
	ProjectSelector
	Index           int    // 0: the first
	Ref             string // "": the image has no name
	Author, Message string
	Changes         []string
	Pause           bool
}
type CommitResponse struct{ ID, Container string }

// ExportRequest asks for the file system of the container of one service.
type ExportRequest struct {
	ProjectSelector
	Index int
}
