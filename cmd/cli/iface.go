package cli

import (
	"context"
	"io"

	"berth/engine/api"
	"berth/engine/client"
)

// Engine is what commands ask of the engine; engine/client's Client is one.
type Engine interface {
	Up(context.Context, *api.UpRequest, func(api.Event)) error
	Down(context.Context, *api.DownRequest, func(api.Event)) error
	Signal(context.Context, *api.SignalRequest, func(api.Event)) error
	Pull(context.Context, *api.PullRequest, func(api.Event)) error
	Containers(context.Context, *api.ContainersRequest) (*api.ContainersResponse, error)
	Projects(context.Context) (*api.ProjectsResponse, error)
	KeptProject(ctx context.Context, name string) (*api.KeptProjectResponse, error)
	Volumes(context.Context, *api.ProjectSelector) (*api.VolumesResponse, error)
	Top(context.Context, *api.ProjectSelector) (*api.TopResponse, error)
	Logs(context.Context, *api.LogsRequest, func(api.LogBatch) error) error
	Events(ctx context.Context, q *api.EventsRequest, ready func(), f func(api.Event) error) error
	Wait(context.Context, *api.WaitRequest, func(api.WaitResult)) error
	Exec(context.Context, *api.ExecStart) (Stream, error)
	Run(context.Context, *api.RunStart) (Stream, error)
	Version(context.Context) (*api.VersionResponse, error)
	Shutdown(context.Context, *api.ShutdownRequest) (*api.ShutdownResponse, error)
	Images(context.Context) (*api.ImagesResponse, error)
	ImageTag(context.Context, *api.ImageTagRequest) error
	ImageRemove(context.Context, *api.ImageRemoveRequest) (*api.ImageRemoveResponse, error)
	ImageLoad(context.Context, io.Reader) (*api.ImageLoadResponse, error)
	ImageSave(context.Context, *api.ImageSaveRequest, io.Writer) error
	Push(context.Context, *api.PushRequest, func(api.Event)) error
	Build(context.Context, *api.BuildRequest, func(api.Event)) error
	BuildPrune(context.Context, *api.BuildPruneRequest) (*api.BuildPruneResponse, error)
	Login(context.Context, *api.LoginRequest) (*api.LoginResponse, error)
	ImageInspect(context.Context, *api.ImageRequest) (*api.ImageInspectResponse, error)
	ImageDigests(context.Context, *api.ImageDigestsRequest) (*api.ImageDigestsResponse, error)
	ImageHistory(context.Context, *api.ImageRequest) (*api.ImageHistoryResponse, error)
	ImagePrune(context.Context, *api.ImagePruneRequest) (*api.ImagePruneResponse, error)
	VolumePrune(context.Context) (*api.VolumePruneResponse, error)
	DiskUsage(context.Context) (*api.DiskUsageResponse, error)
	Commit(context.Context, *api.CommitRequest) (*api.CommitResponse, error)
	Export(context.Context, *api.ExportRequest, io.Writer) error
	Profile(context.Context, *api.ProfileRequest, io.Writer) error
	Close() error
}

// Stream is a two-way call.
type Stream interface {
	Send(api.Frame) error
	Recv() (api.Frame, error)
	CloseSend() error
}

// clientEngine is a Client whose streams are of this package's interface.
type clientEngine struct{ *client.Client }

func (e clientEngine) Exec(ctx context.Context, q *api.ExecStart) (Stream, error) {
	return e.Client.Exec(ctx, q)
}

func (e clientEngine) Run(ctx context.Context, q *api.RunStart) (Stream, error) {
	return e.Client.Run(ctx, q)
}
