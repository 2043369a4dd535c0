package project

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"

	"berth/project/tree"
)

// shortForms are the texts of a service that compose-go takes apart without saying where a bad one stands.
var shortForms = map[string]struct {
	parse   func(text string) error
	allowed string
}{
	"ports": {func(s string) error { _, err := types.ParsePortConfig(s); return err },
		"[HOST_IP:][HOST_PORT[-RANGE]:]CONTAINER_PORT[-RANGE][/PROTOCOL], for example 8080:80 or 127.0.0.1:8001-8003:1-3/udp"},
	"volumes": {func(s string) error { _, err := format.ParseVolume(s); return err },
		"[SOURCE:]PATH[:MODE], for example ./data:/var/lib/data:ro"},
	"devices": {parseDevice, "HOST_PATH[:CONTAINER_PATH[:PERMISSIONS]], with permissions of r, w and m"},
}

func parseDevice(s string) error {
	if strings.Count(s, ":") > 2 {
		return fmt.Errorf("has too many parts")
	}
	return nil
}

// checkShort is the first text in the files that can't be taken apart, or nil.
func (in *input) checkShort(docs []tree.Document) error {
	var out error
	for _, doc := range docs {
		tree.Walk(doc.Root, nil, func(path []string, key, value *yaml.Node) bool {
			n := len(path)
			if in.legacy {
				n++
			}
			if n != 4 || value.Kind != yaml.ScalarNode {
				return true
			}
			form, ok := shortForms[path[len(path)-2]]
			if !ok {
				return true
			}
			text := in.plain(value.Value)
			if err := form.parse(text); err != nil {
				placed := in.errorIn(tree.Place{Doc: doc, Path: path, Key: key, Value: value}, shortReason(path[len(path)-2], text, err))
				placed.Allowed = form.allowed
				out = placed
			}
			return out == nil
		})
		if out != nil {
			return out
		}
	}
	return nil
}

var portWords = lazily(`^(?i)invalid (containerPort|hostPort|ip address|proto|start port|end port)[^:]*: (.*)$`)

// shortReason says in plain words why a text can't be taken apart.
func shortReason(key, text string, err error) string {
	if m := portWords().FindStringSubmatch(err.Error()); m != nil {
		what := map[string]string{"containerport": "container port", "hostport": "host port", "ip address": "IP address",
			"proto": "protocol", "start port": "first port", "end port": "last port"}[strings.ToLower(m[1])]
		return fmt.Sprintf("%q is not a valid port: %s is no %s", text, m[2], what)
	}
	what := map[string]string{"ports": "port", "volumes": "volume", "devices": "device"}[key]
	reason := strings.TrimPrefix(err.Error(), "invalid spec: "+text+": ")
	return fmt.Sprintf("%q is not a valid %s: %s", text, what, strings.ToLower(reason[:1])+reason[1:])
}

// directoryOf is the folder of a file, or dir for standard input.
func directoryOf(path, dir string) string {
	if path == "-" {
		return dir
	}
	return filepath.Dir(path)
}
