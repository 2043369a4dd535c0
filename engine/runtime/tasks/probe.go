package tasks

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// These are engine/shim's ProbeService, ProbeRun and ProbeStop.
const (
	probeService = "berth.shim.v1.Probe"
	probeRun     = "Run"
	probeStop    = "Stop"
)

// probeEnd is how long a probe that is stopped may take to be gone.
const probeEnd = 10 * time.Second

// Probe runs a process in a task and gives its exit status and the beginning of what it printed, stdout and stderr
// together. When ctx ends, so does the process, before Probe returns with what ctx says. Where the shim can't run it this
// way the error is errdefs.ErrNotImplemented, and nothing has happened.
func (m *Manager) Probe(ctx context.Context, id string, process *anypb.Any) (status int, output []byte, err error) {
	t, err := m.get(ctx, id)
	if err != nil {
		return 0, nil, err
	}
	name := strconv.FormatUint(m.probes.Add(1), 10)
	// The call outlives ctx by the end of the process.
	call := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		call, cancel = context.WithDeadline(call, deadline.Add(probeEnd))
		defer cancel()
	}
	return t.probe(ctx, call, name, process)
}

// probe makes the call with one context, and the process's end with that of the other.
func (t *Task) probe(ctx, call context.Context, name string, process *anypb.Any) (status int, output []byte, err error) {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end, cancel := context.WithTimeout(call, probeEnd)
		defer cancel()
		r := &taskapi.KillRequest{ID: t.key.name, ExecID: name}
		if err := t.shim.client.Call(end, probeService, probeStop, r, &emptypb.Empty{}); err != nil && !closed(err) {
			log.G(ctx).WithError(err).WithField("id", t.key.name).Warn("stop a probe")
		}
	})
	defer func() {
		if !stop() {
			<-stopped // its answer comes behind that of the probe, and would be missed by who is gone
		}
	}()
	var resp wrapperspb.BytesValue
	err = t.shim.client.Call(call, probeService, probeRun, &taskapi.ExecProcessRequest{ID: t.key.name, ExecID: name, Spec: process}, &resp)
	if err = native(err); err != nil {
		return 0, nil, err
	}
	if len(resp.Value) < 4 {
		return 0, nil, fmt.Errorf("probe: an answer of %d bytes: %w", len(resp.Value), errdefs.ErrInternal)
	}
	return int(binary.LittleEndian.Uint32(resp.Value)), resp.Value[4:], ctx.Err()
}
