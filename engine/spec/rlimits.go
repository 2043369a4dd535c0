package spec

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// rlimitNames are the limits that setrlimit(2) knows.
var rlimitNames = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
	"rss", "rtprio", "rttime", "sigpending", "stack",
}

// rlimits are the service's ulimits, sorted by name. A hard limit above the engine's own is asked for only
// where the engine may raise it.
func (b *builder) rlimits() error {
	for _, name := range slices.Sorted(maps.Keys(b.Service.Ulimits)) {
		limit := b.Service.Ulimits[name]
		if limit == nil {
			continue
		}
		if !slices.Contains(rlimitNames, name) {
			return b.invalid("ulimits", "known are "+strings.Join(rlimitNames, ", "), "no limit %q", name)
		}
		soft, hard := softHard(limit)
		if soft > hard {
			return b.invalid("ulimits."+name, "make soft at most hard", "soft limit %d is above the hard one, %d", limit.Soft, limit.Hard)
		}
		if most, ok := b.Host.Ulimits[name]; ok && !b.Host.Unlimited && hard > most {
			b.notice("ulimits."+name, fmt.Sprintf("the engine may not go beyond its own hard limit, %d, which is used", most))
			soft, hard = min(soft, most), most
		}
		b.spec.Process.Rlimits = append(b.spec.Process.Rlimits, specs.POSIXRlimit{
			Type: "RLIMIT_" + strings.ToUpper(name), Soft: soft, Hard: hard,
		})
	}
	return nil
}

func softHard(u *types.UlimitsConfig) (soft, hard uint64) {
	if u.Single != 0 {
		return rlimit(u.Single), rlimit(u.Single)
	}
	return rlimit(u.Soft), rlimit(u.Hard)
}

// rlimit is -1 for no limit.
func rlimit(n int) uint64 {
	if n < 0 {
		return math.MaxUint64
	}
	return uint64(n)
}
