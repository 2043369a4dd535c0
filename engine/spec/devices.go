package spec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// defaultDeviceRules are docker's: nothing but the harmless nodes, which every container has. The runtime
// adds its own list of the same kind.
func defaultDeviceRules() []specs.LinuxDeviceCgroup {
	allow := func(major, minor int64) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "rwm"}
	}
	return []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		allow(1, 5), allow(1, 3), allow(1, 9), allow(1, 8), // zero, null, urandom, random
		allow(5, 0), allow(5, 1), // tty, console
		{Allow: false, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(229)), Access: "rwm"}, // fuse
	}
}

func ptr[T any](v T) *T { return &v }

// devices are the nodes in /dev and what may be done with them.
func (b *builder) devices() error {
	res := b.spec.Linux.Resources
	if b.Service.Privileged {
		res.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		b.spec.Linux.Devices = append(b.spec.Linux.Devices, b.Host.Devices...)
	} else {
		res.Devices = defaultDeviceRules()
	}
	for _, d := range b.Service.Devices {
		if isCDI(d.Source) {
			return b.invalid("devices", "name a path below /dev", "%q: CDI devices are not supported", d.Source)
		}
		nodes, ok := b.Devices[d.Source]
		if !ok || len(nodes) == 0 {
			return b.invalid("devices", "check the path on the host", "%q is no device and no folder with devices", d.Source)
		}
		access := d.Permissions
		if access == "" {
			access = "rwm"
		}
		if strings.Trim(access, "rwm") != "" {
			return b.invalid("devices", "use some of r, w and m", "permissions %q", access)
		}
		for _, node := range nodes {
			b.addDevice(node, d.Source, d.Target, access)
		}
	}
	return b.deviceRules()
}

// isCDI tells names such as "vendor.com/class=name" from paths.
func isCDI(source string) bool {
	return !strings.HasPrefix(source, "/") && strings.Contains(source, "=")
}

// addDevice puts a node found at or below source at the same place at or below target.
func (b *builder) addDevice(node specs.LinuxDevice, source, target, access string) {
	if target == "" {
		target = source
	}
	if below, ok := strings.CutPrefix(node.Path, source); ok {
		node.Path = target + below
	} else {
		node.Path = target
	}
	all := b.spec.Linux.Devices[:0:0]
	for _, have := range b.spec.Linux.Devices {
		if have.Path != node.Path {
			all = append(all, have)
		}
	}
	b.spec.Linux.Devices = append(all, node)
	if !b.Service.Privileged {
		b.spec.Linux.Resources.Devices = append(b.spec.Linux.Resources.Devices, specs.LinuxDeviceCgroup{
			Allow: true, Type: node.Type, Major: ptr(node.Major), Minor: ptr(node.Minor), Access: access,
		})
	}
}

var deviceRule = regexp.MustCompile(`^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$`)

// deviceRules adds device_cgroup_rules: "c 13:* rwm".
func (b *builder) deviceRules() error {
	for _, text := range b.Service.DeviceCgroupRules {
		m := deviceRule.FindStringSubmatch(text)
		if m == nil {
			return b.invalid("device_cgroup_rules", `write type, major:minor and access: "c 13:* rwm"`, "%q", text)
		}
		major, err := deviceNumber(m[2])
		if err != nil {
			return b.invalid("device_cgroup_rules", "", "%q: %v", text, err)
		}
		minor, err := deviceNumber(m[3])
		if err != nil {
			return b.invalid("device_cgroup_rules", "", "%q: %v", text, err)
		}
		b.spec.Linux.Resources.Devices = append(b.spec.Linux.Resources.Devices,
			specs.LinuxDeviceCgroup{Allow: true, Type: m[1], Major: major, Minor: minor, Access: m[4]})
	}
	return nil
}

// deviceNumber is nil for "*".
func deviceNumber(text string) (*int64, error) {
	if text == "*" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%q is no device number", text)
	}
	return &n, nil
}
