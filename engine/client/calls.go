package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	"berth/engine/api"
)

func method(name string) string { return "/" + api.Service + "/" + name }

func call[Q, R any](ctx context.Context, c *Client, name string, q *Q) (*R, error) {
	r := new(R)
	if err := c.conn.Invoke(ctx, method(name), q, r); err != nil {
		return nil, api.FromStatus(err)
	}
	return r, nil
}

// receive sends q and hands every answer to f, until the call ends or f fails.
func receive[Q, R any](ctx context.Context, c *Client, name string, q *Q, f func(*R) error) error {
	return receiveInto(ctx, c, name, q, func() *R { return new(R) }, f)
}

// receiveInto is receive with the answers put where into says.
func receiveInto[Q, R any](ctx context.Context, c *Client, name string, q *Q, into func() *R, f func(*R) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method(name))
	if err != nil {
		return api.FromStatus(err)
	}
	if err := s.SendMsg(q); err != nil && !errors.Is(err, io.EOF) {
		return api.FromStatus(err)
	}
	if err := s.CloseSend(); err != nil {
		return api.FromStatus(err)
	}
	for {
		r := into()
		if err := s.RecvMsg(r); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return api.FromStatus(err)
		}
		if err := f(r); err != nil {
			return err
		}
	}
}

func events(f func(api.Event)) func(*api.Event) error {
	return func(e *api.Event) error { e.Each(f); return nil }
}

// Up brings a project up; see api.UpRequest.
func (c *Client) Up(ctx context.Context, q *api.UpRequest, f func(api.Event)) error {
	return receive(ctx, c, "Up", q, events(f))
}

// Down takes a project down.
func (c *Client) Down(ctx context.Context, q *api.DownRequest, f func(api.Event)) error {
	return receive(ctx, c, "Down", q, events(f))
}

// Signal is start, stop, restart, kill, pause, unpause and rm.
func (c *Client) Signal(ctx context.Context, q *api.SignalRequest, f func(api.Event)) error {
	return receive(ctx, c, "Signal", q, events(f))
}

// Pull fetches images.
func (c *Client) Pull(ctx context.Context, q *api.PullRequest, f func(api.Event)) error {
	return receive(ctx, c, "Pull", q, events(f))
}

// Containers lists containers.
func (c *Client) Containers(ctx context.Context, q *api.ContainersRequest) (*api.ContainersResponse, error) {
	return call[api.ContainersRequest, api.ContainersResponse](ctx, c, "Containers", q)
}

// Projects lists the projects that the engine knows.
func (c *Client) Projects(ctx context.Context) (*api.ProjectsResponse, error) {
	return call[api.Empty, api.ProjectsResponse](ctx, c, "Projects", &api.Empty{})
}

// KeptProject gives the project as the engine keeps it from its last up.
func (c *Client) KeptProject(ctx context.Context, name string) (*api.KeptProjectResponse, error) {
	return call[api.ProjectSelector, api.KeptProjectResponse](ctx, c, "KeptProject", &api.ProjectSelector{Name: name})
}

// Volumes lists volumes of a project, or all.
func (c *Client) Volumes(ctx context.Context, q *api.ProjectSelector) (*api.VolumesResponse, error) {
	return call[api.ProjectSelector, api.VolumesResponse](ctx, c, "Volumes", q)
}

// Top gives the processes of a project's containers.
func (c *Client) Top(ctx context.Context, q *api.ProjectSelector) (*api.TopResponse, error) {
	return call[api.ProjectSelector, api.TopResponse](ctx, c, "Top", q)
}

// Logs hands over log lines, merged across containers in the order of time. A batch's data is f's until it returns.
func (c *Client) Logs(ctx context.Context, q *api.LogsRequest, f func(api.LogBatch) error) error {
	var b api.LogBatch
	return receiveInto(ctx, c, "Logs", q, func() *api.LogBatch { return &b }, func(b *api.LogBatch) error { return f(*b) })
}

// Events hands over what happens to containers until ctx ends or the time that was asked for comes; ready is called once nothing can be missed any more.
func (c *Client) Events(ctx context.Context, q *api.EventsRequest, ready func(), f func(api.Event) error) error {
	return receive(ctx, c, "Events", q, func(e *api.Event) error {
		if e.Kind == api.KindReady {
			if ready != nil {
				ready()
			}
			return nil
		}
		return f(*e)
	})
}

// Wait reports the exit of each selected container.
func (c *Client) Wait(ctx context.Context, q *api.WaitRequest, f func(api.WaitResult)) error {
	return receive(ctx, c, "Wait", q, func(r *api.WaitResult) error { f(*r); return nil })
}

// Version describes the engine.
func (c *Client) Version(ctx context.Context) (*api.VersionResponse, error) {
	return call[api.Empty, api.VersionResponse](ctx, c, "Version", &api.Empty{})
}

// Shutdown ends the engine. When it returns, the engine has let go of its state folder: the next one can be started.
func (c *Client) Shutdown(ctx context.Context, q *api.ShutdownRequest) (*api.ShutdownResponse, error) {
	r, err := call[api.ShutdownRequest, api.ShutdownResponse](ctx, c, "Shutdown", q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if err := gone(ctx, c.state); err != nil {
		return nil, fmt.Errorf("wait for the engine's end: %w", err)
	}
	return r, nil
}

// shutdownTimeout is for an engine that has answered already, and only has to end.
const shutdownTimeout = 30 * time.Second

// Images lists images.
func (c *Client) Images(ctx context.Context) (*api.ImagesResponse, error) {
	return call[api.Empty, api.ImagesResponse](ctx, c, "Images", &api.Empty{})
}

// ImageTag gives an image a further name.
func (c *Client) ImageTag(ctx context.Context, q *api.ImageTagRequest) error {
	_, err := call[api.ImageTagRequest, api.Empty](ctx, c, "ImageTag", q)
	return err
}

// ImageRemove removes names of images, and images that have no other name.
func (c *Client) ImageRemove(ctx context.Context, q *api.ImageRemoveRequest) (*api.ImageRemoveResponse, error) {
	return call[api.ImageRemoveRequest, api.ImageRemoveResponse](ctx, c, "ImageRemove", q)
}

// Stream is the caller's side of a two-way call.
type Stream struct{ s grpc.ClientStream }

// Send sends a frame; io.EOF means that the call has ended, and Recv says why.
func (s Stream) Send(f api.Frame) error { return s.s.SendMsg(&f) }

// Recv gives the next frame, io.EOF at the end.
func (s Stream) Recv() (api.Frame, error) {
	var f api.Frame
	err := s.s.RecvMsg(&f)
	if err != nil && !errors.Is(err, io.EOF) {
		err = api.FromStatus(err)
	}
	return f, err
}

// CloseSend says that no more frames will be sent.
func (s Stream) CloseSend() error { return s.s.CloseSend() }

func (c *Client) stream(ctx context.Context, name string, first *api.Frame) (Stream, error) {
	s, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method(name))
	if err != nil {
		return Stream{}, api.FromStatus(err)
	}
	if first != nil {
		if err := s.SendMsg(first); err != nil && !errors.Is(err, io.EOF) {
			return Stream{}, api.FromStatus(err)
		}
	}
	return Stream{s}, nil
}

// Exec runs a further process in a container.
func (c *Client) Exec(ctx context.Context, q *api.ExecStart) (Stream, error) {
	return c.stream(ctx, "Exec", &api.Frame{Exec: q})
}

// Run runs a one-off container of a service.
func (c *Client) Run(ctx context.Context, q *api.RunStart) (Stream, error) {
	return c.stream(ctx, "Run", &api.Frame{Run: q})
}

// ImageLoad sends an archive. If it is a file, messages name it.
func (c *Client) ImageLoad(ctx context.Context, r io.Reader) (*api.ImageLoadResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.stream(ctx, "ImageLoad", nil)
	if err != nil {
		return nil, err
	}
	name := "standard input"
	if f, ok := r.(interface{ Name() string }); ok {
		name = f.Name()
	}
	// An error of Send means that the engine has ended the call; Recv tells why.
	sent := s.Send(api.Frame{Event: &api.Event{Text: name}}) == nil
	buf := make([]byte, 256<<10)
	for sent {
		n, rerr := r.Read(buf)
		if n > 0 {
			if s.Send(api.Frame{Stdin: buf[:n]}) != nil {
				break
			}
		}
		if rerr != nil {
			if !errors.Is(rerr, io.EOF) {
				return nil, rerr
			}
			break
		}
	}
	if err := s.CloseSend(); err != nil {
		return nil, err
	}
	out := new(api.ImageLoadResponse)
	for {
		f, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if f.Event != nil {
			out.Names = append(out.Names, f.Event.Names...)
		}
	}
}

// ImageSave writes an archive of images to w.
func (c *Client) ImageSave(ctx context.Context, q *api.ImageSaveRequest, w io.Writer) error {
	return receive(ctx, c, "ImageSave", q, func(f *api.Frame) error {
		_, err := w.Write(f.Stdout)
		return err
	})
}

// Push sends images to their registries.
func (c *Client) Push(ctx context.Context, q *api.PushRequest, f func(api.Event)) error {
	return receive(ctx, c, "Push", q, events(f))
}

// Build makes images of services.
func (c *Client) Build(ctx context.Context, q *api.BuildRequest, f func(api.Event)) error {
	return receive(ctx, c, "Build", q, events(f))
}

// BuildPrune gives space of the build cache back.
func (c *Client) BuildPrune(ctx context.Context, q *api.BuildPruneRequest) (*api.BuildPruneResponse, error) {
	return call[api.BuildPruneRequest, api.BuildPruneResponse](ctx, c, "BuildPrune", q)
}

// Login shows a user's secret to a registry.
func (c *Client) Login(ctx context.Context, q *api.LoginRequest) (*api.LoginResponse, error) {
	return call[api.LoginRequest, api.LoginResponse](ctx, c, "Login", q)
}

// ImageInspect describes an image.
func (c *Client) ImageInspect(ctx context.Context, q *api.ImageRequest) (*api.ImageInspectResponse, error) {
	return call[api.ImageRequest, api.ImageInspectResponse](ctx, c, "ImageInspect", q)
}

// ImageDigests asks registries what names stand for.
func (c *Client) ImageDigests(ctx context.Context, q *api.ImageDigestsRequest) (*api.ImageDigestsResponse, error) {
	return call[api.ImageDigestsRequest, api.ImageDigestsResponse](ctx, c, "ImageDigests", q)
}

// ImageHistory lists how an image was made.
func (c *Client) ImageHistory(ctx context.Context, q *api.ImageRequest) (*api.ImageHistoryResponse, error) {
	return call[api.ImageRequest, api.ImageHistoryResponse](ctx, c, "ImageHistory", q)
}

// ImagePrune removes images that no container needs.
func (c *Client) ImagePrune(ctx context.Context, q *api.ImagePruneRequest) (*api.ImagePruneResponse, error) {
	return call[api.ImagePruneRequest, api.ImagePruneResponse](ctx, c, "ImagePrune", q)
}

// VolumePrune removes anonymous volumes that no container has.
func (c *Client) VolumePrune(ctx context.Context) (*api.VolumePruneResponse, error) {
	return call[api.Empty, api.VolumePruneResponse](ctx, c, "VolumePrune", &api.Empty{})
}

// DiskUsage measures images, containers and volumes.
func (c *Client) DiskUsage(ctx context.Context) (*api.DiskUsageResponse, error) {
	return call[api.Empty, api.DiskUsageResponse](ctx, c, "DiskUsage", &api.Empty{})
}

// Commit makes an image of a container.
func (c *Client) Commit(ctx context.Context, q *api.CommitRequest) (*api.CommitResponse, error) {
	return call[api.CommitRequest, api.CommitResponse](ctx, c, "Commit", q)
}

// Export writes a container's file system to w, as a tar archive.
func (c *Client) Export(ctx context.Context, q *api.ExportRequest, w io.Writer) error {
	return receive(ctx, c, "Export", q, func(f *api.Frame) error {
		_, err := w.Write(f.Stdout)
		return err
	})
}

// Profile writes a profile of the engine to w.
func (c *Client) Profile(ctx context.Context, q *api.ProfileRequest, w io.Writer) error {
	return receive(ctx, c, "Profile", q, func(f *api.Frame) error {
		_, err := w.Write(f.Stdout)
		return err
	})
}
