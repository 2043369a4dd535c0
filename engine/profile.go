package engine

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/containerd/errdefs"

	"berth/engine/api"
)

const (
	// mutexShare: of so many waits for a lock one is noted.
	mutexShare = 10
	// blockRate: of waits one in so many nanoseconds of waiting is noted.
	blockRate = 10_000
)

// Profile sends a profile of the engine's process. It does not wait until the engine has taken over what ran: that may be what
// somebody wants to know about.
func (e *Engine) Profile(ctx context.Context, req *api.ProfileRequest, send func(*api.Frame) error) error {
	w := chunks(send)
	switch req.Kind {
	case "cpu":
		if err := pprof.StartCPUProfile(w); err != nil {
			return fmt.Errorf("profile the engine: %w: %w", err, errdefs.ErrFailedPrecondition)
		}
		e.elapse(ctx, req.Duration)
		pprof.StopCPUProfile()
		return ctx.Err()
	case "mutex":
		runtime.SetMutexProfileFraction(mutexShare)
		defer runtime.SetMutexProfileFraction(0)
		e.elapse(ctx, req.Duration)
	case "block":
		runtime.SetBlockProfileRate(blockRate)
		defer runtime.SetBlockProfileRate(0)
		e.elapse(ctx, req.Duration)
	case "heap":
		// What is in use is known as of the last collection.
		runtime.GC()
	}
	return lookUp(w, req.Kind)
}

// lookUp writes one of the profiles that Go keeps.
func lookUp(w io.Writer, kind string) error {
	p := pprof.Lookup(kind)
	if p == nil {
		return fmt.Errorf("profile the engine: %q is no kind of profile: %w", kind, errdefs.ErrInvalidArgument)
	}
	if err := p.WriteTo(w, 0); err != nil {
		return fmt.Errorf("profile the engine: %w", err)
	}
	return nil
}

// elapse waits for d, or for the end of the call or of the engine.
func (e *Engine) elapse(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-e.ctx.Done():
	}
}
