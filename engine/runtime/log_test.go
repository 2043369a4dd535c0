package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/sirupsen/logrus"
)

func TestContainerdLogsIntoTheEnginesLog(t *testing.T) {
	speak := func(l *logrus.Logger) {
		l.WithError(errors.New("no such ioctl")).WithField("path", "/x").Warn("failed check for fsverity support")
		l.WithField("stream", 7).Error("ttrpc: received message on inactive stream")
		l.WithError(longError("calling snapshotter.Remove is forbidden")).Warn("extraction snapshot removal failed")
		l.WithError(errors.New("no space")).Warn("extraction snapshot removal failed")
		l.WithField("key", "a b").WithError(errors.New("busy")).Warn("unmount")
		l.Error("disk is full")
		l.Info("apply failure")
		l.Debug("look")
	}
	for _, tc := range []struct {
		name  string
		level slog.Level
		want  string
	}{
		{"an operator is told what is wrong, and nothing else", slog.LevelInfo, `level=WARN msg="extraction snapshot removal failed" error="no space"
level=WARN msg=unmount error=busy key="a b"
level=ERROR msg="disk is full"
`},
		{"who looks for a fault is told everything", slog.LevelDebug, `level=DEBUG msg="failed check for fsverity support" error="no such ioctl" path=/x
level=DEBUG msg="ttrpc: received message on inactive stream" stream=7
level=DEBUG msg="extraction snapshot removal failed" error="calling snapshotter.Remove is forbidden"
level=WARN msg="extraction snapshot removal failed" error="no space"
level=WARN msg=unmount error=busy key="a b"
level=ERROR msg="disk is full"
level=INFO msg="apply failure"
level=DEBUG msg=look
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got, direct bytes.Buffer
			l := logrus.New()
			l.SetOutput(&direct)
			bridgeLog(l, slog.New(slog.NewTextHandler(&got, &slog.HandlerOptions{Level: tc.level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})))
			speak(l)
			if got.String() != tc.want {
				t.Errorf("the engine's log has\n%s\nwant\n%s", got.String(), tc.want)
			}
			if direct.Len() > 0 {
				t.Errorf("written beside it: %s", direct.String())
			}
		})
	}
}

// longError prints where it comes from where it can.
type longError string

func (e longError) Error() string { return string(e) }

func (e longError) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%s\nmain.go:1\nmain.go:2", string(e))
}
