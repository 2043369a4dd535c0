package shim

import (
	"encoding/json"
	"runtime/debug"
	"sync"

	eventsapi "github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	ttrpcevents "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/ttrpc"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"berth/engine/shim/creation"
)

// collect is how far the heap may grow before it is collected, in percent of what is in use. It is what containerd's shims have.
const collect = 40

// collectAtFirst is how far it may grow until there is a container: to 16 MiB, as Go takes it to be 4 MiB at least. Not at all would be
// no good: a collection that is asked for meanwhile would take the heap for one that will be huge, and prepare for it with huge
// pages, of which one is in memory then: 2 MiB.
const collectAtFirst = 400

// warm does ahead what the first container would wait for, while the engine makes its network: finding out how the types of messages
// and of JSON are laid out, and where the host's cgroups are. All of it is needed, and kept, in any case.
func warm() {
	message := &anypb.Any{}
	at := &timestamppb.Timestamp{}
	for _, m := range []proto.Message{
		&ttrpc.Request{Metadata: []*ttrpc.KeyValue{{}}}, &ttrpc.Response{},
		&taskapi.CreateTaskRequest{Rootfs: []*types.Mount{{}}, Options: message}, &taskapi.CreateTaskResponse{Pid: 1},
		&taskapi.StartRequest{ID: "x"}, &taskapi.StartResponse{Pid: 1}, &options.Options{Root: "x"},
		&eventsapi.TaskCreate{IO: &eventsapi.TaskIO{}}, &eventsapi.TaskStart{Pid: 1},
		&ttrpcevents.ForwardRequest{Envelope: &types.Envelope{Timestamp: at, Event: message}},
	} {
		if b, err := proto.Marshal(m); err == nil {
			_ = proto.Unmarshal(b, m)
		}
	}
	_ = json.Unmarshal([]byte("{}"), &creation.Spec{})
	_ = json.Unmarshal([]byte("{}"), &specs.LinuxSeccomp{})
	_, _ = json.Marshal(&configs.Config{Seccomp: &configs.Seccomp{}})
	_, _ = cgroups.GetCgroupMounts(false)
}

// laterCollect puts the first collections off until the function that comes back is called for the first time. The heap of
// a shim that starts grows from nothing, which has it collected for some 3 ms of processor time although there is hardly any garbage.
func laterCollect() (now func()) {
	debug.SetGCPercent(collectAtFirst)
	return sync.OnceFunc(func() { debug.SetGCPercent(collect) })
}
