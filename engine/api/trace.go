package api

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"
)

// traceKey is the header of calls whose caller wants to know where their time went.
const traceKey = "berth-trace"

// AskTrace gives a context whose calls are answered with a Trace as well, in the last event of a verb that has events.
func AskTrace(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, traceKey, "1")
}

// TraceAsked says, on the engine's side, whether the caller wants a Trace.
func TraceAsked(ctx context.Context) bool {
	return len(metadata.ValueFromIncomingContext(ctx, traceKey)) > 0
}

// Trace is where the time of a verb went. All times but the first are since Began.
type Trace struct {
	Began time.Time // when the engine took the call
	Took  time.Duration
	// Spans are what the engine did beside the steps of plans, in the order in which it began.
	Spans []Span
	// Steps are those of all plans, one plan after the other; ID and After are unique in all of them. What was not begun is
	// not among them.
	Steps []TracedStep
	// Skipped is how many steps were not begun.
	Skipped int `json:",omitempty"`
}

// Span is something that took time. Parts may overlap each other, or leave gaps.
type Span struct {
	Name        string
	Began, Took time.Duration
	Parts       []Span `json:",omitempty"`
	// Beside: nothing waited for it to end, unless a step did, and says so.
	Beside bool `json:",omitempty"`
}

// TracedStep is a step as it was carried out.
type TracedStep struct {
	Step
	Status string // as in StepEvent
	// Ready is when the last of what it comes after had ended; from then on it waited for a place.
	Ready, Began, Took time.Duration
	Parts              []Span `json:",omitempty"`
	// Critical: the end of its plan waited for it; had it been shorter, so had the plan.
	Critical bool `json:",omitempty"`
}

// Ended is when the step ended.
func (s TracedStep) Ended() time.Duration { return s.Began + s.Took }
