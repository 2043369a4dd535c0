package tasks

import (
	"bytes"
	"context"
	"strings"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/log"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// unknownStatus is the exit status of what ended nobody knows how.
const unknownStatus = 255

// clear removes a task whose shim has died, with the processes that it has left, and tells of its end.
func (m *Manager) clear(ctx context.Context, t *Task) {
	m.clearing <- struct{}{}
	defer func() { <-m.clearing }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTimeout)
	defer cancel()
	exit, err := m.remains(ctx, t)
	if err == nil {
		err = removeBundle(t.bundle)
	}
	if err != nil {
		log.G(ctx).WithError(err).WithField("id", t.key.name).Error("clear away after a dead shim")
	}
	t.exit = exit
	close(t.cleared)
	if exit == nil {
		m.mu.Lock()
		pid := t.pid
		m.mu.Unlock()
		exit = &runtime.Exit{Pid: pid, Status: unknownStatus, Timestamp: time.Now()}
	}
	at := timestamppb.New(exit.Timestamp)
	m.publish(ctx, runtime.TaskExitEventTopic, &eventsapi.TaskExit{ContainerID: t.key.name, ID: t.key.name, Pid: exit.Pid, ExitStatus: exit.Status, ExitedAt: at})
	m.publish(ctx, runtime.TaskDeleteEventTopic, &eventsapi.TaskDelete{ContainerID: t.key.name, Pid: exit.Pid, ExitStatus: exit.Status, ExitedAt: at})
}

func (m *Manager) publish(ctx context.Context, topic string, e events.Event) {
	if err := m.cfg.Events.Publish(ctx, topic, e); err != nil {
		log.G(ctx).WithError(err).WithField("topic", topic).Error("publish an event")
	}
}

// remains has the shim's program kill and delete what runc knows of a task, and gives the exit that it has found.
func (m *Manager) remains(ctx context.Context, t *Task) (*runtime.Exit, error) {
	var stdout, stderr bytes.Buffer
	cmd := m.clearCommand(ctx, t)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, describe(err, strings.TrimSpace(stderr.String()))
	}
	var r taskapi.DeleteResponse
	if err := proto.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, err
	}
	return &runtime.Exit{Pid: r.Pid, Status: r.ExitStatus, Timestamp: r.ExitedAt.AsTime()}, nil
}
