package api

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
)

// Service is the name of the gRPC service, APIVersion is what VersionResponse.API says.
const (
	Service    = "berth.v1.Engine"
	APIVersion = 1
)

// Stream is the engine's side of a two-way call; Recv gives io.EOF when the caller sends no more.
type Stream interface {
	Context() context.Context
	Send(*Frame) error
	Recv() (*Frame, error)
}

// Server is what the engine implements, a method for each verb. Errors that are an *Error travel whole.
type Server interface {
	Up(context.Context, *UpRequest, func(Event) error) error
	Down(context.Context, *DownRequest, func(Event) error) error
	Signal(context.Context, *SignalRequest, func(Event) error) error
	Pull(context.Context, *PullRequest, func(Event) error) error
	Containers(context.Context, *ContainersRequest) (*ContainersResponse, error)
	Projects(context.Context, *Empty) (*ProjectsResponse, error)
	KeptProject(context.Context, *ProjectSelector) (*KeptProjectResponse, error)
	Volumes(context.Context, *ProjectSelector) (*VolumesResponse, error)
	Top(context.Context, *ProjectSelector) (*TopResponse, error)
	Logs(context.Context, *LogsRequest, func(*LogBatch) error) error
	// Events sends an Event of kind "ready" when the subscription stands.
	Events(context.Context, *EventsRequest, func(Event) error) error
	Wait(context.Context, *WaitRequest, func(WaitResult) error) error
	Exec(Stream) error
	Run(Stream) error
	Version(context.Context, *Empty) (*VersionResponse, error)
	Shutdown(context.Context, *ShutdownRequest) (*ShutdownResponse, error)
	Images(context.Context, *Empty) (*ImagesResponse, error)
	ImageTag(context.Context, *ImageTagRequest) (*Empty, error)
	ImageRemove(context.Context, *ImageRemoveRequest) (*ImageRemoveResponse, error)
	// ImageLoad reads an archive from the Stdin frames and answers with a Names event. The first frame has an event whose Text is
	// the archive's name for messages.
	ImageLoad(Stream) error
	ImageSave(context.Context, *ImageSaveRequest, func(*Frame) error) error
	Push(context.Context, *PushRequest, func(Event) error) error
	Build(context.Context, *BuildRequest, func(Event) error) error
	BuildPrune(context.Context, *BuildPruneRequest) (*BuildPruneResponse, error)
	Login(context.Context, *LoginRequest) (*LoginResponse, error)
	ImageInspect(context.Context, *ImageRequest) (*ImageInspectResponse, error)
	ImageHistory(context.Context, *ImageRequest) (*ImageHistoryResponse, error)
	ImageDigests(context.Context, *ImageDigestsRequest) (*ImageDigestsResponse, error)
	ImagePrune(context.Context, *ImagePruneRequest) (*ImagePruneResponse, error)
	// VolumePrune removes anonymous volumes that no container has.
	VolumePrune(context.Context, *Empty) (*VolumePruneResponse, error)
	DiskUsage(context.Context, *Empty) (*DiskUsageResponse, error)
	Commit(context.Context, *CommitRequest) (*CommitResponse, error)
	// Export sends a tar archive in the Stdout frames.
	Export(context.Context, *ExportRequest, func(*Frame) error) error
	// Profile sends a profile of the engine in the Stdout frames.
	Profile(context.Context, *ProfileRequest, func(*Frame) error) error
}

// Register adds the service to a gRPC server; RegisterCodec must have been called. wrap turns
// an error of the engine into an *Error.
func Register(s grpc.ServiceRegistrar, srv Server, wrap func(error) *Error) {
	s.RegisterService(description(wrap), srv)
}

func description(wrap func(error) *Error) *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{ServiceName: Service, HandlerType: (*Server)(nil), Metadata: "berth"}
	d.Methods = []grpc.MethodDesc{
		unary("Containers", wrap, Server.Containers),
		unary("Projects", wrap, Server.Projects),
		unary("KeptProject", wrap, Server.KeptProject),
		unary("Volumes", wrap, Server.Volumes),
		unary("Top", wrap, Server.Top),
		unary("Version", wrap, Server.Version),
		unary("Shutdown", wrap, Server.Shutdown),
		unary("Images", wrap, Server.Images),
		unary("ImageTag", wrap, Server.ImageTag),
		unary("ImageRemove", wrap, Server.ImageRemove),
		unary("Login", wrap, Server.Login),
		unary("ImageInspect", wrap, Server.ImageInspect),
		unary("ImageHistory", wrap, Server.ImageHistory),
		unary("ImageDigests", wrap, Server.ImageDigests),
		unary("ImagePrune", wrap, Server.ImagePrune),
		unary("VolumePrune", wrap, Server.VolumePrune),
		unary("BuildPrune", wrap, Server.BuildPrune),
		unary("DiskUsage", wrap, Server.DiskUsage),
		unary("Commit", wrap, Server.Commit),
	}
	d.Streams = []grpc.StreamDesc{
		serverStream("Up", wrap, gathered(Server.Up)),
		serverStream("Down", wrap, gathered(Server.Down)),
		serverStream("Signal", wrap, gathered(Server.Signal)),
		serverStream("Pull", wrap, gathered(Server.Pull)),
		serverStream("Logs", wrap, Server.Logs),
		serverStream("Events", wrap, byValue(Server.Events)),
		serverStream("Wait", wrap, byValue(Server.Wait)),
		serverStream("ImageSave", wrap, Server.ImageSave),
		serverStream("Push", wrap, gathered(Server.Push)),
		serverStream("Export", wrap, Server.Export),
		serverStream("Profile", wrap, Server.Profile),
		serverStream("Build", wrap, gathered(Server.Build)),
		twoWay("Exec", wrap, Server.Exec),
		twoWay("Run", wrap, Server.Run),
		twoWay("ImageLoad", wrap, Server.ImageLoad),
	}
	return d
}

func toStatus(err error, wrap func(error) *Error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		e = wrap(err)
	}
	return ToStatus(e)
}

func unary[Q, R any](name string, wrap func(error) *Error, f func(Server, context.Context, *Q) (*R, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		q := new(Q)
		if err := dec(q); err != nil {
			return nil, err
		}
		r, err := f(srv.(Server), ctx, q)
		if err != nil {
			return nil, toStatus(err, wrap)
		}
		return r, nil
	}}
}

// byValue adapts a method that sends values: gRPC wants pointers.
func byValue[Q, R any](f func(Server, context.Context, *Q, func(R) error) error) func(Server, context.Context, *Q, func(*R) error) error {
	return func(s Server, ctx context.Context, q *Q, send func(*R) error) error {
		return f(s, ctx, q, func(r R) error { return send(&r) })
	}
}

// gathered is byValue for events of which many come close together.
func gathered[Q any](f func(Server, context.Context, *Q, func(Event) error) error) func(Server, context.Context, *Q, func(*Event) error) error {
	return func(s Server, ctx context.Context, q *Q, send func(*Event) error) error {
		g := gatherer{send: send}
		defer g.end()
		return f(s, ctx, q, g.put)
	}
}

// serverStream hands on one message at a time, whoever sends it: gRPC allows no two at once on a stream, and the layers of
// several images tell of their progress side by side.
func serverStream[Q, R any](name string, wrap func(error) *Error, f func(Server, context.Context, *Q, func(*R) error) error) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: name, ServerStreams: true, Handler: func(srv any, s grpc.ServerStream) error {
		q := new(Q)
		if err := s.RecvMsg(q); err != nil {
			return err
		}
		var one sync.Mutex
		return toStatus(f(srv.(Server), s.Context(), q, func(r *R) error {
			one.Lock()
			defer one.Unlock()
			return s.SendMsg(r)
		}), wrap)
	}}
}

func twoWay(name string, wrap func(error) *Error, f func(Server, Stream) error) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: name, ServerStreams: true, ClientStreams: true, Handler: func(srv any, s grpc.ServerStream) error {
		return toStatus(f(srv.(Server), frames{s}), wrap)
	}}
}

type frames struct{ grpc.ServerStream }

func (f frames) Send(m *Frame) error { return f.SendMsg(m) }

func (f frames) Recv() (*Frame, error) {
	m := new(Frame)
	if err := f.RecvMsg(m); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, err
	}
	return m, nil
}
