package images

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

//go:embed all:recipes
var recipes embed.FS

// recipe is a Dockerfile, read: what to do in order, and the configuration that results.
type recipe struct {
	name   string // docker.io/library/mariadb:latest
	files  fs.FS  // for COPY
	steps  []step
	config ocispec.ImageConfig
}

// step is one of its fields.
type step struct {
	run  *runStep
	copy *copyStep
	dir  string // to be there
}

type runStep struct {
	command, dir string
	env          []string
}

type copyStep struct {
	sources []string
	target  string // with a final slash it is a folder
}

// Names are the recipes there are, by folder, with the names of their images.
func Names() map[string]string {
	names := map[string]string{}
	entries, _ := recipes.ReadDir("recipes") // embedded: it is there
	for _, e := range entries {
		if r, err := readRecipe(e.Name()); err == nil {
			names[e.Name()] = r.name
		}
	}
	return names
}

func readRecipe(folder string) (recipe, error) {
	files, err := fs.Sub(recipes, path.Join("recipes", folder))
	if err != nil {
		return recipe{}, err
	}
	text, err := fs.ReadFile(files, "Dockerfile")
	if err != nil {
		return recipe{}, fmt.Errorf("no recipe %q: %w", folder, err)
	}
	r, err := parseRecipe(string(text))
	r.files = files
	if err != nil {
		return r, fmt.Errorf("recipe %s: %w", folder, err)
	}
	return r, nil
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

var (
	comment      = regexp.MustCompile(`(?m)^[ \t]*#.*\n`)
	imageName    = regexp.MustCompile(`(?m)^# image: (\S+)$`)
	continuation = regexp.MustCompile(`\\\n`)
	variable     = regexp.MustCompile(`\$(\w+|\{\w+\})`)
)

// parseRecipe knows FROM (any name: it is the base), ENV, RUN, COPY, WORKDIR, USER, VOLUME, EXPOSE, STOPSIGNAL, ENTRYPOINT
// and CMD. A line "# image: NAME" names the result.
func parseRecipe(text string) (recipe, error) {
	r := recipe{config: ocispec.ImageConfig{Env: []string{defaultPath}, Cmd: []string{"bash"}}}
	if m := imageName.FindStringSubmatch(text); m != nil {
		r.name = m[1]
	} else {
		return r, fmt.Errorf("no line says \"# image: NAME\"")
	}
	dir := "/"
	text = continuation.ReplaceAllString(comment.ReplaceAllString(text, ""), " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		op, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch op = strings.ToUpper(op); op {
		case "FROM":
		case "ENV":
			for _, pair := range strings.Fields(rest) {
				r.setEnv(pair)
			}
		case "RUN":
			r.steps = append(r.steps, step{run: &runStep{command: rest, dir: dir, env: r.config.Env}})
		case "COPY":
			words := r.words(rest)
			target := words[len(words)-1]
			if !path.IsAbs(target) {
				target = path.Join(dir, target) + map[bool]string{true: "/"}[strings.HasSuffix(target, "/")]
			}
			r.steps = append(r.steps, step{copy: &copyStep{words[:len(words)-1], target}})
		case "WORKDIR":
			dir = path.Join(dir, r.expand(rest))
			r.config.WorkingDir = dir
			r.steps = append(r.steps, step{dir: dir})
		case "USER":
			r.config.User = rest
		case "VOLUME":
			for _, v := range r.words(rest) {
				r.config.Volumes = add(r.config.Volumes, v)
				r.steps = append(r.steps, step{dir: v})
			}
		case "EXPOSE":
			for _, p := range r.words(rest) {
				if !strings.Contains(p, "/") {
					p += "/tcp"
				}
				r.config.ExposedPorts = add(r.config.ExposedPorts, p)
			}
		case "STOPSIGNAL":
			r.config.StopSignal = rest
		case "ENTRYPOINT":
			r.config.Entrypoint, r.config.Cmd = command(rest), nil
		case "CMD":
			r.config.Cmd = command(rest)
		default:
			return r, fmt.Errorf("%s is not known here", op)
		}
	}
	return r, nil
}

func add(set map[string]struct{}, key string) map[string]struct{} {
	if set == nil {
		set = map[string]struct{}{}
	}
	set[key] = struct{}{}
	return set
}

// setEnv copies, since steps keep the environment that they had.
func (r *recipe) setEnv(pair string) {
	name, value, _ := strings.Cut(pair, "=")
	env := make([]string, 0, len(r.config.Env)+1)
	for _, e := range r.config.Env {
		if !strings.HasPrefix(e, name+"=") {
			env = append(env, e)
		}
	}
	r.config.Env = append(env, name+"="+r.expand(value))
}

func (r *recipe) expand(text string) string {
	return variable.ReplaceAllStringFunc(text, func(m string) string {
		name := strings.Trim(m, "${}")
		for _, e := range r.config.Env {
			if value, ok := strings.CutPrefix(e, name+"="); ok {
				return value
			}
		}
		return ""
	})
}

func (r *recipe) words(text string) []string {
	var list []string
	if json.Unmarshal([]byte(text), &list) == nil {
		return list
	}
	return strings.Fields(r.expand(text))
}

func command(text string) []string {
	var list []string
	if json.Unmarshal([]byte(text), &list) == nil {
		return list
	}
	return []string{"/bin/sh", "-c", text}
}
