package spec

import (
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is what an image says about running it.
type Image struct {
	ocispec.ImageConfig
	// Healthcheck and Shell are docker's additions to the format. Shell runs CMD-SHELL checks.
	Healthcheck *Healthcheck
	Shell       []string
}

// Healthcheck is a check as an image has it (zero fields: not said) or, in Process, with every field set.
type Healthcheck struct {
	// Test is "CMD" and arguments, "CMD-SHELL" and a line, "NONE", or empty.
	Test          []string
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration
	StartInterval time.Duration
	Retries       int
}
