package spec

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// Process is what a container runs: its image's configuration under its service's.
type Process struct {
	Entrypoint, Cmd []string
	Args            []string // Entrypoint and Cmd
	Env             []string // without the variables that Build adds
	Unset           []string // names that the service wants to have no value, not even a default one
	WorkingDir      string   // absolute
	User            string   // as written: name or number, with or without group
	StopSignal      string
	Exposed         []Port // sorted by number, tcp first
	Health          *Healthcheck
	// Shell runs a CMD-SHELL check.
	Shell   []string
	Volumes []string // the image's VOLUMEs, sorted
	Labels  map[string]string
}

// Port is an exposed port of a container.
type Port struct {
	Number   uint16
	Protocol string // "tcp", "udp", "sctp"
}

func (p Port) String() string { return strconv.Itoa(int(p.Number)) + "/" + p.Protocol }

// Merge puts a service over its image by docker's rules.
func Merge(svc types.ServiceConfig, img Image) Process {
	entrypoint, cmd := mergeCommand(svc, img)
	return Process{
		Entrypoint: entrypoint,
		Cmd:        cmd,
		Args:       slices.Concat(entrypoint, cmd),
		Env:        overrideEnv(img.Env, serviceEnv(svc)),
		Unset:      unset(svc),
		WorkingDir: path.Join("/", cmp.Or(svc.WorkingDir, img.WorkingDir)),
		User:       cmp.Or(svc.User, img.User),
		StopSignal: cmp.Or(svc.StopSignal, img.StopSignal, "SIGTERM"),
		Exposed:    exposed(svc, img),
		Health:     mergeHealth(svc.HealthCheck, img.Healthcheck),
		Shell:      slices.Clone(img.Shell),
		Volumes:    slices.Sorted(maps.Keys(img.Volumes)),
		Labels:     mergeLabels(img.Labels, svc.Labels, svc.CustomLabels),
	}
}

// mergeCommand: an entrypoint of the service drops the image's command as well; an empty one drops only
// the image's entrypoint, and an empty command nothing. That is what docker does with an empty list,
// whatever the compose specification says.
func mergeCommand(svc types.ServiceConfig, img Image) (entrypoint, cmd []string) {
	entrypoint, cmd = slices.Clone([]string(svc.Entrypoint)), slices.Clone([]string(svc.Command))
	if len(entrypoint) > 0 {
		return entrypoint, cmd
	}
	if len(cmd) == 0 {
		cmd = slices.Clone(img.Cmd)
	}
	if svc.Entrypoint == nil {
		entrypoint = slices.Clone(img.Entrypoint)
	}
	return entrypoint, cmd
}

// serviceEnv is the service's environment in the order of names; a name without a value has none in the
// container.
func serviceEnv(svc types.ServiceConfig) []string {
	env := make([]string, 0, len(svc.Environment))
	for _, name := range slices.Sorted(maps.Keys(svc.Environment)) {
		if value := svc.Environment[name]; value != nil {
			name += "=" + *value
		}
		env = append(env, name)
	}
	return env
}

// unset are the names without a value, sorted.
func unset(svc types.ServiceConfig) []string {
	return slices.DeleteFunc(serviceEnv(svc), func(entry string) bool { return strings.Contains(entry, "=") })
}

// overrideEnv replaces variables of base in their place, appends new ones, and takes away those that over
// names without a value.
func overrideEnv(base, over []string) []string {
	at := map[string]int{}
	var merged []string
	for _, list := range [][]string{base, over} {
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			if i, ok := at[name]; ok {
				merged[i] = entry
				continue
			}
			at[name] = len(merged)
			merged = append(merged, entry)
		}
	}
	return slices.DeleteFunc(merged, func(entry string) bool { return !strings.Contains(entry, "=") })
}

func mergeLabels(all ...map[string]string) map[string]string {
	merged := map[string]string{}
	for _, labels := range all {
		maps.Copy(merged, labels)
	}
	return merged
}

// Docker's defaults for a health check.
const (
	defaultInterval      = 30 * time.Second
	defaultTimeout       = 30 * time.Second
	defaultStartInterval = 5 * time.Second
	defaultRetries       = 3
)

// mergeHealth gives the check with every field set, or nil if there is none or it is off.
func mergeHealth(svc *types.HealthCheckConfig, img *Healthcheck) *Healthcheck {
	if svc != nil && svc.Disable {
		return nil
	}
	var h Healthcheck
	if img != nil {
		h = *img
	}
	if svc != nil {
		if len(svc.Test) > 0 {
			h.Test = svc.Test
		}
		override(&h.Interval, svc.Interval)
		override(&h.Timeout, svc.Timeout)
		override(&h.StartPeriod, svc.StartPeriod)
		override(&h.StartInterval, svc.StartInterval)
		if svc.Retries != nil && *svc.Retries > 0 {
			h.Retries = int(min(*svc.Retries, 1<<30))
		}
	}
	if len(h.Test) == 0 || h.Test[0] == "NONE" {
		return nil
	}
	h.Test = slices.Clone(h.Test)
	h.Interval = cmp.Or(h.Interval, defaultInterval)
	h.Timeout = cmp.Or(h.Timeout, defaultTimeout)
	h.StartInterval = cmp.Or(h.StartInterval, defaultStartInterval)
	h.Retries = cmp.Or(h.Retries, defaultRetries)
	return &h
}

func override(to *time.Duration, from *types.Duration) {
	if from != nil && *from != 0 {
		*to = time.Duration(*from)
	}
}

// exposed are the image's EXPOSE, the service's expose and the container side of its ports.
func exposed(svc types.ServiceConfig, img Image) []Port {
	set := map[Port]bool{}
	for _, spec := range slices.Concat(slices.Sorted(maps.Keys(img.ExposedPorts)), svc.Expose) {
		ports, err := parseExpose(spec)
		if err != nil {
			continue // an image with a malformed EXPOSE still runs; the file was checked when it was read
		}
		for _, p := range ports {
			set[p] = true
		}
	}
	for _, p := range svc.Ports {
		if p.Target > 0 && p.Target < 1<<16 {
			set[Port{uint16(p.Target), cmp.Or(strings.ToLower(p.Protocol), "tcp")}] = true
		}
	}
	all := slices.Collect(maps.Keys(set))
	sortPorts(all)
	return all
}

// parseExpose reads "80", "80/udp" and "8000-8002/tcp".
func parseExpose(spec string) ([]Port, error) {
	numbers, protocol, _ := strings.Cut(strings.ToLower(spec), "/")
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", spec, err)
	}
	to, err := strconv.ParseUint(last, 10, 16)
	if err != nil || to < from || from == 0 {
		return nil, fmt.Errorf("port %q is no port and no range", spec)
	}
	var all []Port
	for n := from; n <= to; n++ {
		all = append(all, Port{uint16(n), cmp.Or(protocol, "tcp")})
	}
	return all, nil
}

// sortPorts orders by number; of two with one number, tcp comes first.
func sortPorts(all []Port) {
	slices.SortFunc(all, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(protocolRank(a), protocolRank(b)), cmp.Compare(a.Protocol, b.Protocol))
	})
}

func protocolRank(p Port) int {
	if p.Protocol == "tcp" {
		return 0
	}
	return 1
}
