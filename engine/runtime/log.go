package runtime

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
)

// ordinary are messages of containerd's libraries that tell of nothing wrong, though at a level that says so: the beginnings
// of their texts, and of their errors where they may tell of something wrong as well. They are logged for debugging only.
var ordinary = []struct{ message, cause string }{
	// Few file systems have it, and what is checked with it is checked by digest all the same.
	{message: "failed check for fsverity support"},
	// A shim has answered a call that was given up before: its command was broken off, or took too long.
	{message: "ttrpc: received message on inactive stream"},
	// Two builds have unpacked one layer at the same time. BuildKit leaves it to the garbage collector to remove the second.
	{message: "extraction snapshot removal failed", cause: "calling snapshotter.Remove is forbidden"},
	// An image could not be unpacked, as its pull says itself, and the collector was quicker than who cleaned up.
	{message: `failed to cleanup "extract-`, cause: "snapshot extract-"},
	// A build from a repository says so itself.
	{message: "git source cannot be enabled: "},
}

func isOrdinary(e *logrus.Entry) bool {
	err, _ := e.Data[logrus.ErrorKey].(error)
	return slices.ContainsFunc(ordinary, func(o struct{ message, cause string }) bool {
		return strings.HasPrefix(e.Message, o.message) && (o.cause == "" || err != nil && strings.HasPrefix(err.Error(), o.cause))
	})
}

// bridge hands what containerd's libraries log, by logrus, to the engine's own log, so that it has one form and one place.
type bridge struct{ to *slog.Logger }

// bridgeLog has all that is logged with from go to another log, and nowhere else.
func bridgeLog(from *logrus.Logger, to *slog.Logger) {
	from.SetLevel(logrus.WarnLevel) // what containerd calls information is about each single object
	if to.Enabled(context.Background(), slog.LevelDebug) {
		from.SetLevel(logrus.DebugLevel)
	}
	from.SetFormatter(nothing{})
	from.ReplaceHooks(logrus.LevelHooks{})
	from.AddHook(bridge{to})
}

// Levels implements logrus.Hook.
func (bridge) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (b bridge) Fire(e *logrus.Entry) error {
	level := slog.LevelDebug
	switch {
	case isOrdinary(e):
	case e.Level <= logrus.ErrorLevel:
		level = slog.LevelError
	case e.Level == logrus.WarnLevel:
		level = slog.LevelWarn
	case e.Level == logrus.InfoLevel:
		level = slog.LevelInfo
	}
	var attrs []slog.Attr
	for _, key := range slices.Sorted(maps.Keys(e.Data)) {
		value := e.Data[key]
		if err, ok := value.(error); ok {
			value = err.Error() // some would print where they come from, over many lines
		}
		attrs = append(attrs, slog.Any(key, value))
	}
	b.to.LogAttrs(cmp.Or(e.Context, context.Background()), level, e.Message, attrs...)
	return nil
}

// nothing is the text of entries that the bridge has taken.
type nothing struct{}

// Format implements logrus.Formatter.
func (nothing) Format(*logrus.Entry) ([]byte, error) { return nil, nil }
