package spec

import (
	"cmp"
	"path"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// minMemoryBytes is docker's: below it a container can't start.
	minMemoryBytes = 6 << 20
	cpuPeriodUsec  = 100_000
	minCPUQuota    = 1_000 // microseconds; the kernel's least
)

// resources are the limits of the container's control group.
func (b *builder) resources() error {
	b.spec.Linux.CgroupsPath = b.cgroupPath()
	for _, part := range []func() error{b.memory, b.cpu, b.pids, b.blkio} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// cgroupPath is a path, or "slice:prefix:name" where systemd owns the groups.
func (b *builder) cgroupPath() string {
	parent := cmp.Or(b.Service.CgroupParent, b.Host.CgroupParent)
	switch {
	case b.CgroupPath != "":
		return b.CgroupPath
	case b.Host.CgroupSystemd:
		return parent + ":berth:" + b.ID
	}
	return path.Join("/", parent, b.ID)
}

// limits are deploy.resources' with the service's own fields over them; the loader has seen to it that they
// agree where both are set.
func (b *builder) limits() (limits, reservations types.Resource) {
	if d := b.Service.Deploy; d != nil {
		if d.Resources.Limits != nil {
			limits = *d.Resources.Limits
		}
		if d.Resources.Reservations != nil {
			reservations = *d.Resources.Reservations
		}
	}
	limits.MemoryBytes = cmp.Or(b.Service.MemLimit, limits.MemoryBytes)
	limits.NanoCPUs = cmp.Or(types.NanoCPUs(b.Service.CPUS), limits.NanoCPUs)
	limits.Pids = cmp.Or(b.Service.PidsLimit, limits.Pids)
	reservations.MemoryBytes = cmp.Or(b.Service.MemReservation, reservations.MemoryBytes)
	return limits, reservations
}

func (b *builder) memory() error {
	limits, reservations := b.limits()
	limit, soft := int64(limits.MemoryBytes), int64(reservations.MemoryBytes)
	swap, swappiness := int64(b.Service.MemSwapLimit), int64(b.Service.MemSwappiness)
	if limit == 0 && soft == 0 && swap == 0 && swappiness == 0 && !b.Service.OomKillDisable {
		return nil
	}
	if !b.Host.Cgroup.Memory {
		b.notice("mem_limit", "the host's control groups have no memory controller; memory is not limited")
		return nil
	}
	if err := b.checkMemory(limit, soft, swap); err != nil {
		return err
	}
	m := &specs.LinuxMemory{}
	if limit > 0 {
		m.Limit = &limit
	}
	if soft > 0 {
		m.Reservation = &soft
	}
	m.Swap = b.swap(limit, swap)
	if swappiness != 0 {
		if err := b.swappiness(m, swappiness); err != nil {
			return err
		}
	}
	if b.Service.OomKillDisable {
		if b.Host.Cgroup.V2 || !b.Host.Cgroup.OOMKill {
			b.notice("oom_kill_disable", "the host's control groups can't do it; ignored")
		} else {
			m.DisableOOMKiller = ptr(true)
		}
	}
	b.spec.Linux.Resources.Memory = m
	return nil
}

func (b *builder) checkMemory(limit, soft, swap int64) error {
	switch {
	case limit != 0 && limit < minMemoryBytes:
		return b.invalid("mem_limit", "raise it", "%d bytes are less than 6 MiB, the least a container can start in", limit)
	case limit == 0 && swap > 0:
		return b.invalid("memswap_limit", "set mem_limit as well", "a limit on memory and swap needs one on memory")
	case swap > 0 && swap < limit:
		return b.invalid("memswap_limit", "it counts memory and swap together: make it at least mem_limit", "%d is less than mem_limit, %d", swap, limit)
	case limit > 0 && soft > limit:
		return b.invalid("mem_reservation", "make it at most mem_limit", "%d is more than mem_limit, %d", soft, limit)
	}
	return nil
}

// swap is memory and swap together: as much swap as memory unless the service says otherwise, -1 for no end.
func (b *builder) swap(limit, asked int64) *int64 {
	if !b.Host.Cgroup.Swap {
		if asked > 0 {
			b.notice("memswap_limit", "the host's kernel does not count swap; swap is not limited")
		}
		return nil
	}
	switch {
	case asked != 0:
		return &asked
	case limit > 0:
		return ptr(2 * limit)
	}
	return nil
}

func (b *builder) swappiness(m *specs.LinuxMemory, value int64) error {
	switch {
	case value < 0 || value > 100:
		return b.invalid("mem_swappiness", "use 0 to 100", "%d", value)
	case b.Host.Cgroup.V2 || !b.Host.Cgroup.Swappiness:
		b.notice("mem_swappiness", "the host's control groups can't do it; ignored")
	default:
		m.Swappiness = ptr(uint64(value))
	}
	return nil
}

func (b *builder) cpu() error {
	limits, _ := b.limits()
	s := b.Service
	c := &specs.LinuxCPU{Cpus: s.CPUSet}
	if s.CPUShares > 0 {
		c.Shares = ptr(uint64(s.CPUShares))
	}
	if s.CPUPeriod > 0 {
		c.Period = ptr(uint64(s.CPUPeriod))
	}
	if s.CPUQuota != 0 {
		c.Quota = ptr(s.CPUQuota)
	}
	if limits.NanoCPUs > 0 {
		if s.CPUPeriod != 0 || s.CPUQuota != 0 {
			return b.invalid("cpus", "leave cpu_period and cpu_quota out", "it is set together with cpu_period or cpu_quota")
		}
		c.Period = ptr(uint64(cpuPeriodUsec))
		// Rounded: 0.1 as a 32-bit float is a little more than it says.
		c.Quota = ptr(max(int64(float64(limits.NanoCPUs)*cpuPeriodUsec+0.5), minCPUQuota))
	}
	if s.CPURTPeriod != 0 {
		c.RealtimePeriod = ptr(uint64(s.CPURTPeriod))
	}
	if s.CPURTRuntime != 0 {
		c.RealtimeRuntime = ptr(s.CPURTRuntime)
	}
	b.dropCPU(c)
	if *c != (specs.LinuxCPU{}) {
		b.spec.Linux.Resources.CPU = c
	}
	return nil
}

// dropCPU leaves out what the host can't do.
func (b *builder) dropCPU(c *specs.LinuxCPU) {
	have := b.Host.Cgroup
	if !have.CPU && (c.Shares != nil || c.Quota != nil || c.Period != nil) {
		b.notice("cpus", "the host's control groups have no cpu controller; processor time is not limited")
		c.Shares, c.Quota, c.Period = nil, nil, nil
	}
	if !have.CPUSet && c.Cpus != "" {
		b.notice("cpuset", "the host's control groups have no cpuset controller; ignored")
		c.Cpus = ""
	}
	if !have.CPURealtime && (c.RealtimePeriod != nil || c.RealtimeRuntime != nil) {
		b.notice("cpu_rt_runtime", "the host's kernel has no realtime groups; ignored")
		c.RealtimePeriod, c.RealtimeRuntime = nil, nil
	}
}

func (b *builder) pids() error {
	limits, _ := b.limits()
	switch {
	case limits.Pids == 0:
	case !b.Host.Cgroup.Pids:
		b.notice("pids_limit", "the host's control groups have no pids controller; ignored")
	default:
		b.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: ptr(max(limits.Pids, -1))}
	}
	return nil
}

func (b *builder) blkio() error {
	c := b.Service.BlkioConfig
	if c == nil {
		return nil
	}
	if !b.Host.Cgroup.BlkIO {
		b.notice("blkio_config", "the host's control groups have no block device controller; ignored")
		return nil
	}
	io := &specs.LinuxBlockIO{}
	if c.Weight != 0 || len(c.WeightDevice) > 0 {
		if err := b.blkioWeights(io, c); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		from []types.ThrottleDevice
		to   *[]specs.LinuxThrottleDevice
	}{
		{c.DeviceReadBps, &io.ThrottleReadBpsDevice},
		{c.DeviceWriteBps, &io.ThrottleWriteBpsDevice},
		{c.DeviceReadIOps, &io.ThrottleReadIOPSDevice},
		{c.DeviceWriteIOps, &io.ThrottleWriteIOPSDevice},
	} {
		for _, d := range list.from {
			number, err := b.blockDevice(d.Path)
			if err != nil {
				return err
			}
			t := specs.LinuxThrottleDevice{Rate: uint64(max(d.Rate, 0))}
			t.Major, t.Minor = number[0], number[1]
			*list.to = append(*list.to, t)
		}
	}
	b.spec.Linux.Resources.BlockIO = io
	return nil
}

func (b *builder) blkioWeights(io *specs.LinuxBlockIO, c *types.BlkioConfig) error {
	weights := []uint16{c.Weight}
	for _, d := range c.WeightDevice {
		weights = append(weights, d.Weight)
	}
	if slices.ContainsFunc(weights, func(w uint16) bool { return w != 0 && (w < 10 || w > 1000) }) {
		return b.invalid("blkio_config", "use 10 to 1000", "weights %v", weights)
	}
	if !b.Host.Cgroup.BlkIOWeight {
		b.notice("blkio_config.weight", "the host's control groups have no weights for block devices; ignored")
		return nil
	}
	if c.Weight != 0 {
		io.Weight = ptr(c.Weight)
	}
	for _, d := range c.WeightDevice {
		number, err := b.blockDevice(d.Path)
		if err != nil {
			return err
		}
		w := specs.LinuxWeightDevice{Weight: ptr(d.Weight)}
		w.Major, w.Minor = number[0], number[1]
		io.WeightDevice = append(io.WeightDevice, w)
	}
	return nil
}

func (b *builder) blockDevice(path string) ([2]int64, error) {
	number, ok := b.BlockDevices[path]
	if !ok {
		return number, b.invalid("blkio_config", "check the path on the host", "%q is no block device", path)
	}
	return number, nil
}
