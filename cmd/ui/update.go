package ui

import (
	"strings"
	"time"

	"berth/engine/api"
)

type state int

const (
	working state = iota
	done
	warned
	failed
)

// update is a change of one line of progress. What a line is about is its ID: "Container shop-web-1", "Image mariadb".
type update struct {
	id, parent     string
	state          state
	text, details  string
	current, total int64
	at             time.Time
}

// translator makes updates out of the engine's events. It folds the steps of a replacement into one line and shows waits on
// the lines of the containers that are waited for.
type translator struct {
	containersOf func(service string) []string
	// restart: stop and start are one "Restarting".
	restart bool
	// ups: what is kept runs.
	ups bool
	// pushes: images go to their registries. pulls: images are all that the verb is about.
	pushes, pulls bool
	// checks: Dockerfiles are looked at, and nothing is built.
	checks    bool
	unpulled  map[string]bool // images that could not be pulled, by object
	replaced  map[string]bool // objects that are replaced
	byService map[string][]string
	created   map[string]bool
	built     map[string]bool // by image: whether the build is over
}

func newTranslator(o ProgressOptions) *translator {
	return &translator{
		containersOf: o.ContainersOf, restart: o.Operation == "restart", ups: o.bringsUp(), pushes: o.Operation == "push" || o.Operation == "build",
		pulls: o.Operation == "pull", unpulled: map[string]bool{},
		replaced: map[string]bool{}, byService: map[string][]string{}, created: map[string]bool{},
		built: map[string]bool{}, checks: o.Operation == "check",
	}
}

func (t *translator) translate(e api.Event) []update {
	switch {
	case e.Step != nil:
		return t.step(e.Step, e.Time)
	case e.Pull != nil:
		if t.pushes {
			return []update{push(e.Pull, e.Time)}
		}
		if e.Pull.Layer == "" && e.Pull.Status == "error" {
			t.unpulled["image "+e.Pull.Ref] = true
		}
		return []update{pull(e.Pull, e.Time)}
	case e.Verdict != nil:
		return t.verdict(e.Verdict, e.Time)
	case e.Build != nil:
		return t.build(e.Build.Ref, false, e.Time)
	case e.Built != nil:
		return t.build(e.Built.Ref, true, e.Time)
	}
	return nil
}

// building and checking are what is said of an image while its Dockerfile is at work.
const (
	building = "Building"
	checking = "Checking"
)

// build says once that an image is built or its Dockerfile looked at, and once that it was.
func (t *translator) build(ref string, over bool, at time.Time) []update {
	id := "Image " + ref
	was, begun := t.built[id]
	if ref == "" || was || begun && !over {
		return nil
	}
	t.built[id] = over
	words := [2]string{building, "Built"}
	if t.checks {
		words = [2]string{checking, "Checked"}
	}
	if over {
		return []update{{id: id, state: done, text: words[1], at: at}}
	}
	return []update{{id: id, text: words[0], at: at}}
}

// title gives "Container shop-web-1" for "container shop-web-1".
func title(object string) string {
	if object == "" {
		return ""
	}
	return strings.ToUpper(object[:1]) + object[1:]
}

func (t *translator) verdict(v *api.Verdict, at time.Time) []update {
	if t.pulls && v.Outcome == "keep" && strings.HasPrefix(v.Object, "image ") {
		return []update{{id: title(v.Object), state: done, text: "Skipped", details: v.Why, at: at}}
	}
	if !strings.HasPrefix(v.Object, "container ") {
		return nil
	}
	switch v.Outcome {
	case "replace":
		t.replaced[v.Object] = true
	case "keep":
		if !t.ups {
			return nil
		}
		return []update{{id: title(v.Object), state: done, text: "Running", at: at}}
	}
	return nil
}

func (t *translator) step(s *api.StepEvent, at time.Time) []update {
	if s.Verb == "wait" {
		return t.wait(s, at)
	}
	if ref, ok := strings.CutPrefix(s.Object, "image "); ok && s.Verb == "build" && (s.Status == "working" || s.Status == "done") {
		return t.build(ref, s.Status == "done", at)
	}
	t.remember(s)
	u := update{id: title(s.Object), at: at}
	words := wordsOf(s.Verb)
	if t.restart && (s.Verb == "stop" || s.Verb == "start") {
		words = [2]string{"Restarting", "Restarted"}
		if s.Verb == "stop" && s.Status == "done" || s.Verb == "start" && s.Status == "working" {
			return nil
		}
	}
	if t.replaced[s.Object] && (s.Verb == "stop" || s.Verb == "remove" || s.Verb == "create") && s.Status != "error" {
		words = [2]string{"Recreate", "Recreated"}
		if s.Status == "done" && s.Verb != "create" || t.created[s.Object] {
			return nil
		}
	}
	if s.Verb == "create" && s.Status == "done" {
		t.created[s.Object] = true
	}
	switch s.Status {
	case "working":
		u.text = words[0]
	case "done":
		u.state, u.text = done, words[1]
		if s.Verb == "pull" && t.unpulled[s.Object] {
			u.state, u.text = warned, "Not pulled" // it can be done without
		}
	case "skipped":
		u.state, u.text = warned, "Skipped"
	case "error":
		u.state, u.text = failed, "Error"
		if s.Error != nil {
			u.details = firstLine(s.Error.Message)
		}
	}
	return []update{u}
}

// remember learns which container belongs to which service.
func (t *translator) remember(s *api.StepEvent) {
	name, ok := strings.CutPrefix(s.Object, "container ")
	if !ok || s.Service == "" {
		return
	}
	for _, n := range t.byService[s.Service] {
		if n == name {
			return
		}
	}
	t.byService[s.Service] = append(t.byService[s.Service], name)
}

func (t *translator) wait(s *api.StepEvent, at time.Time) []update {
	service := s.Service
	condition := ""
	if rest, ok := strings.CutPrefix(s.Object, "service "); ok {
		name, after, _ := strings.Cut(rest, " (")
		condition = strings.TrimSuffix(after, ")")
		if service == "" {
			service = name
		}
	}
	if condition == "service_started" {
		return nil
	}
	u := update{at: at}
	switch s.Status {
	case "working":
		u.text = "Waiting"
	case "done":
		u.state, u.text = done, "Healthy"
		if condition == "service_completed_successfully" {
			u.text = "Exited"
		}
	case "skipped":
		return nil
	case "error":
		u.state, u.text = failed, "Error"
		if s.Error != nil {
			u.details = firstLine(s.Error.Message)
		}
	}
	names := t.byService[service]
	if len(names) == 0 && t.containersOf != nil {
		names = t.containersOf(service)
	}
	if len(names) == 0 {
		u.id = "Service " + service
		return []update{u}
	}
	var all []update
	for _, n := range names {
		one := u
		one.id = "Container " + n
		all = append(all, one)
	}
	return all
}

func wordsOf(verb string) [2]string {
	switch verb {
	case "create":
		return [2]string{"Creating", "Created"}
	case "start":
		return [2]string{"Starting", "Started"}
	case "stop":
		return [2]string{"Stopping", "Stopped"}
	case "kill":
		return [2]string{"Killing", "Killed"}
	case "remove":
		return [2]string{"Removing", "Removed"}
	case "pause":
		return [2]string{"Pausing", "Paused"}
	case "unpause":
		return [2]string{"Unpausing", "Unpaused"}
	case "pull":
		return [2]string{"Pulling", "Pulled"}
	case "build":
		return [2]string{building, "Built"}
	}
	if verb == "" {
		return [2]string{"Working", "Done"}
	}
	return [2]string{title(verb), title(verb)}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
