package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"
)

// checkContent looks whether what configs, secrets and binds are made from is there, for the services in needed;
// nil stands for all.
func (in *input) checkContent(p *Project, needed map[string]bool) error {
	for _, name := range sortedKeys(p.Services) {
		if needed != nil && !needed[name] {
			continue
		}
		svc := p.Services[name]
		for _, ref := range svc.Configs {
			if err := in.checkObject("configs", ref.Source, types.FileObjectConfig(p.Configs[ref.Source])); err != nil {
				return err
			}
		}
		for _, ref := range svc.Secrets {
			if err := in.checkObject("secrets", ref.Source, types.FileObjectConfig(p.Secrets[ref.Source])); err != nil {
				return err
			}
		}
		if err := in.checkBinds(svc); err != nil {
			return err
		}
	}
	return nil
}

// checkBinds looks for the sources of binds that are not to be made where they are missing.
func (in *input) checkBinds(svc types.ServiceConfig) error {
	for i, v := range svc.Volumes {
		if v.Type != types.VolumeTypeBind || v.Bind == nil || bool(v.Bind.CreateHostPath) {
			continue
		}
		if _, err := os.Stat(v.Source); errors.Is(err, fs.ErrNotExist) {
			out := in.errorFor([]string{"services", svc.Name, "volumes", strconv.Itoa(i), "source"}, fmt.Sprintf("there is no %s to bind", in.shown(v.Source)))
			out.Allowed = "make it, or set bind.create_host_path: true"
			out.Err = err
			return out
		}
	}
	return nil
}

func (in *input) checkObject(section, key string, object types.FileObjectConfig) error {
	path := []string{section, key}
	switch {
	case bool(object.External):
		out := in.errorFor(append(path, "external"), "there is no store outside of the file to take it from")
		out.Allowed = "give its content with file or environment"
		return out
	case object.Environment != "":
		if _, ok := in.env[object.Environment]; !ok {
			out := in.errorFor(append(path, "environment"), fmt.Sprintf("the variable %s is not set", object.Environment))
			out.Allowed = fmt.Sprintf("set %s in the environment, in .env or with --env-file", object.Environment)
			return out
		}
	case object.File != "":
		if _, err := os.Stat(object.File); err != nil {
			out := in.errorFor(append(path, "file"), fileReason(in.workDir, object.File, err))
			out.Err = err
			return out
		}
	}
	return nil
}
