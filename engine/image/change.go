package image

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Change gives the configuration with instructions of a Dockerfile done to it: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK,
// LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR. Other instructions are refused. config itself stays as it is.
func Change(config ContainerConfig, changes []string) (ContainerConfig, error) {
	config.Env = slices.Clone(config.Env)
	config.OnBuild = slices.Clone(config.OnBuild)
	config.ExposedPorts = maps.Clone(config.ExposedPorts)
	config.Volumes = maps.Clone(config.Volumes)
	config.Labels = maps.Clone(config.Labels)
	for _, text := range changes {
		if err := change(&config, text); err != nil {
			return ContainerConfig{}, &Error{Op: "read change", Ref: text, Class: errdefs.ErrInvalidArgument, cause: err, Reason: err.Error(),
				hint: `a change is an instruction of a Dockerfile, for example CMD ["app", "-v"] or ENV name=value`}
		}
	}
	return config, nil
}

func change(config *ContainerConfig, text string) error {
	file, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return err
	}
	for _, node := range file.AST.Children {
		command, err := instructions.ParseCommand(node)
		if err != nil {
			return err
		}
		if err := instruct(config, command); err != nil {
			return err
		}
	}
	return nil
}

func instruct(config *ContainerConfig, command instructions.Command) error {
	switch c := command.(type) {
	case *instructions.CmdCommand:
		config.Cmd = commandLine(config, c.ShellDependantCmdLine)
	case *instructions.EntrypointCommand:
		config.Entrypoint = commandLine(config, c.ShellDependantCmdLine)
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			config.Env = slices.DeleteFunc(config.Env, func(e string) bool { return strings.HasPrefix(e, kv.Key+"=") })
			config.Env = append(config.Env, kv.Key+"="+kv.Value)
		}
	case *instructions.LabelCommand:
		for _, kv := range c.Labels {
			config.Labels = with(config.Labels, kv.Key, kv.Value)
		}
	case *instructions.ExposeCommand:
		for _, port := range c.Ports {
			if !strings.Contains(port, "/") {
				port += "/tcp"
			}
			config.ExposedPorts = with(config.ExposedPorts, port, struct{}{})
		}
	case *instructions.VolumeCommand:
		for _, v := range c.Volumes {
			config.Volumes = with(config.Volumes, v, struct{}{})
		}
	case *instructions.UserCommand:
		config.User = c.User
	case *instructions.WorkdirCommand:
		config.WorkingDir = c.Path
	case *instructions.StopSignalCommand:
		config.StopSignal = c.Signal
	case *instructions.OnbuildCommand:
		config.OnBuild = append(config.OnBuild, c.Expression)
	case *instructions.ShellCommand:
		config.Shell = c.Shell
	case *instructions.HealthCheckCommand:
		h := c.Health
		config.Healthcheck = &Healthcheck{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod,
			StartInterval: h.StartInterval, Retries: h.Retries}
	default:
		return fmt.Errorf("%s does not change how containers run", strings.ToUpper(command.Name()))
	}
	return nil
}

// commandLine is the command as it is run: in shell form, by the image's shell.
func commandLine(config *ContainerConfig, c instructions.ShellDependantCmdLine) []string {
	if !c.PrependShell {
		return c.CmdLine
	}
	shell := config.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), c.CmdLine...)
}

func with[V any](m map[string]V, key string, value V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[key] = value
	return m
}
