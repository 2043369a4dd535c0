package ui

import (
	"fmt"
	"slices"
	"strings"

	"berth/engine/api"
)

// buildWarning is advice about a Dockerfile, with the services that are built by it.
type buildWarning struct {
	api.BuildWarning
	services []string
}

func addWarning(list []buildWarning, service string, w api.BuildWarning) []buildWarning {
	for i, have := range list {
		if have.Short == w.Short && have.File == w.File && have.Line == w.Line && slices.Equal(have.Source, w.Source) {
			if !slices.Contains(have.services, service) {
				list[i].services = append(have.services, service)
				slices.Sort(list[i].services)
			}
			return list
		}
	}
	return append(list, buildWarning{w, []string{service}})
}

// summary is "JSONArgsRecommended: JSON arguments recommended for CMD (line 3)".
func (w buildWarning) summary(named bool) string {
	text := w.Short
	if place := fmt.Sprintf("(line %d)", w.Line); w.Line > 0 && !strings.HasSuffix(text, place) {
		text += " " + place
	}
	if named {
		text = strings.Join(w.services, ", ") + ": " + text
	}
	return text
}

// warningLines tells of the warnings of all builds, shortly.
func (b *builds) warningLines(p palette) []string {
	if len(b.warnings) == 0 {
		return nil
	}
	count := "1 warning found"
	if n := len(b.warnings); n > 1 {
		count = fmt.Sprintf("%d warnings found", n)
	}
	lines := []string{"", p.warning(" "+count) + " (build --check tells more):"}
	for _, w := range b.warnings {
		lines = append(lines, " - "+w.summary(len(b.open) > 1))
	}
	return lines
}

// Findings collects what is said against Dockerfiles.
type Findings struct{ list []buildWarning }

// Event takes in what an event says of Dockerfiles.
func (f *Findings) Event(e api.Event) {
	if e.Build == nil {
		return
	}
	for _, w := range e.Build.Warnings {
		f.list = addWarning(f.list, e.Build.Service, w)
	}
}

// Len is the number of findings.
func (f *Findings) Len() int { return len(f.list) }

// Show prints them in full, as the answer of build --check.
func (f *Findings) Show(u *UI) error {
	p := newPalette(u.Colored())
	switch n := len(f.list); n {
	case 0:
		return u.Printf("Check complete, no warnings found.\n")
	case 1:
		if err := u.Printf("Check complete, 1 warning has been found!\n"); err != nil {
			return err
		}
	default:
		if err := u.Printf("Check complete, %d warnings have been found!\n", n); err != nil {
			return err
		}
	}
	for _, w := range f.list {
		if err := u.Printf("\n%s\n", strings.Join(w.report(p), "\n")); err != nil {
			return err
		}
	}
	return nil
}

// report is a finding in full, with the lines of the Dockerfile that it is about.
func (w buildWarning) report(p palette) []string {
	name, _, _ := strings.Cut(w.Short, ":")
	head := p.warning("WARNING:") + " " + name
	if w.URL != "" {
		head += " - " + w.URL
	}
	lines := append([]string{head}, w.Detail...)
	if len(w.Detail) == 0 {
		lines = append(lines, w.Short)
	}
	where := w.File
	if w.Line > 0 {
		where = fmt.Sprintf("%s:%d", w.File, w.Line)
	}
	lines = append(lines, fmt.Sprintf("%s (%s)", where, strings.Join(w.services, ", ")))
	if len(w.Source) == 0 {
		return lines
	}
	const rule = "--------------------"
	lines = append(lines, rule)
	for i, text := range w.Source {
		lines = append(lines, fmt.Sprintf("%4d | %s %s", w.Line+i, p.failure(">>>"), text))
	}
	return append(lines, rule)
}
