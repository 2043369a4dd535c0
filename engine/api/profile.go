package api

import "time"

// ProfileRequest asks for a profile of the engine's process in pprof's format. Kind is "cpu", "block" or "mutex", of what
// happens from now on for Duration, or "heap", "allocs", "goroutine" or "threadcreate", of how it is now.
type ProfileRequest struct {
	Kind     string
	Duration time.Duration
}
