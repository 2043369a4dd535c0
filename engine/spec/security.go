package spec

import (
	"strconv"
	"strings"
)

// securityOptions is security_opt, read.
type securityOptions struct {
	noNewPrivileges       bool
	seccomp               string // "", "unconfined", or the JSON of a profile
	apparmor              string
	systemPathsUnconfined bool
	writableCgroups       bool
}

// readSecurityOptions takes docker's forms: "no-new-privileges", "name=value" and the older "name:value".
func (b *builder) readSecurityOptions() error {
	for _, option := range b.Service.SecurityOpt {
		name, value, ok := strings.Cut(option, "=")
		if colonName, colonValue, colon := strings.Cut(option, ":"); colon && (!ok || len(colonName) < len(name)) {
			name, value = colonName, colonValue
		}
		if err := b.securityOption(name, value, option); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) securityOption(name, value, option string) error {
	switch name {
	case "no-new-privileges":
		return b.flag(&b.opts.noNewPrivileges, value, option)
	case "writable-cgroups":
		return b.flag(&b.opts.writableCgroups, value, option)
	case "seccomp":
		if value != "builtin" {
			b.opts.seccomp = value
		}
	case "apparmor":
		b.opts.apparmor = value
	case "systempaths":
		if value != "unconfined" {
			return b.invalid("security_opt", "use systempaths=unconfined", "%q", option)
		}
		b.opts.systemPathsUnconfined = true
	case "label":
		if value != "disable" {
			b.notice("security_opt", option+": SELinux labels are not set")
		}
	default:
		return b.invalid("security_opt", "known are no-new-privileges, seccomp, apparmor, label, systempaths and writable-cgroups", "%q", option)
	}
	return nil
}

func (b *builder) flag(to *bool, value, option string) error {
	*to = true
	if value == "" {
		return nil
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		return b.invalid("security_opt", "use true or false", "%q", option)
	}
	*to = on
	return nil
}

// apparmor is the profile's name: none without AppArmor, nothing confined when privileged.
func (b *builder) apparmor() string {
	switch {
	case b.Host.AppArmor == "":
		if b.opts.apparmor != "" && b.opts.apparmor != "unconfined" {
			b.notice("security_opt", "apparmor="+b.opts.apparmor+": the host has no AppArmor")
		}
		return ""
	case b.opts.apparmor != "":
		return b.opts.apparmor
	case b.Service.Privileged:
		return "unconfined"
	}
	return b.Host.AppArmor
}
