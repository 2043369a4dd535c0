package project

import (
	"fmt"
	"slices"
)

// envPlatform is docker's variable for the platform of what does not name one.
const envPlatform = "DOCKER_DEFAULT_PLATFORM"

// ResolvePlatforms gives the platform of DOCKER_DEFAULT_PLATFORM to the services that name none. It is done by what makes
// containers or images of a project; what shows the files leaves them as they are.
func (p *Project) ResolvePlatforms() error {
	platform := p.Environment[envPlatform]
	if platform == "" {
		return nil
	}
	for _, name := range sortedKeys(p.Services) {
		svc := p.Services[name]
		if svc.Platform != "" {
			continue
		}
		if svc.Build != nil && len(svc.Build.Platforms) > 0 && !slices.Contains(svc.Build.Platforms, platform) {
			return &platformError{service: name, platform: platform}
		}
		svc.Platform = platform
		p.Services[name] = svc
	}
	return nil
}

// platformError is a service that is not built for the platform of the environment.
type platformError struct{ service, platform string }

func (e *platformError) Error() string {
	return fmt.Sprintf("services.%s.build.platforms: %q of %s is not among them", e.service, e.platform, envPlatform)
}

// Hint is the way out.
func (e *platformError) Hint() string { return "add it there, or unset " + envPlatform }

// InvalidParameter marks the class for errdefs.
func (e *platformError) InvalidParameter() {}
