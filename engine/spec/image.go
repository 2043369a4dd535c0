package spec

import (
	"encoding/json"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is what an image says about running it.
type Image struct {
	ocispec.ImageConfig
	// Healthcheck and Shell are docker's additions to the format. Shell runs CMD-SHELL checks.
	Healthcheck *Healthcheck `json:",omitempty"`
	Shell       []string     `json:",omitempty"`
}

// Healthcheck is a check as an image has it (zero fields: not said) or, in Process, with every field set.
type Healthcheck struct {
	// Test is "CMD" and arguments, "CMD-SHELL" and a line, "NONE", or empty.
	Test          []string      `json:",omitempty"`
	Interval      time.Duration `json:",omitempty"`
	Timeout       time.Duration `json:",omitempty"`
	StartPeriod   time.Duration `json:",omitempty"`
	StartInterval time.Duration `json:",omitempty"`
	Retries       int           `json:",omitempty"`
}

// ParseImage reads an image's configuration blob, OCI's or docker's.
func ParseImage(blob []byte) (Image, error) {
	var parsed struct {
		Config Image `json:"config"`
	}
	if err := json.Unmarshal(blob, &parsed); err != nil {
		return Image{}, fmt.Errorf("read image configuration: %w", err)
	}
	return parsed.Config, nil
}
