package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"berth/cmd/ui"
	"berth/engine/api"
)

// show runs a verb and shows its progress, or in a dry run its plan.
func show(u *ui.UI, o ui.ProgressOptions, dryRun bool, verb func(func(api.Event)) error) error {
	if dryRun {
		return showPlan(u, "", verb)
	}
	p := u.Progress(o)
	err := verb(p.Event)
	p.Done(err)
	return err
}

// approving runs a verb, and once more with the approval of what it asked. Questions are about loss of data.
func approving(ctx context.Context, u *ui.UI, yes bool, verb func(a answers, report func(api.Event)) error, run func(func(func(api.Event)) error) error) error {
	var given answers
	for {
		var questions []api.Event
		err := run(func(report func(api.Event)) error {
			return verb(given, func(e api.Event) {
				if e.Kind == "question" {
					questions = append(questions, e)
					return
				}
				report(e)
			})
		})
		if len(questions) == 0 {
			return err
		}
		if err := given.ask(ctx, u, yes, questions); err != nil {
			return err
		}
	}
}

// answers are the keys of questions, by what the user said.
type answers struct{ approved, declined []string }

func (a *answers) ask(ctx context.Context, u *ui.UI, yes bool, questions []api.Event) error {
	for _, q := range questions {
		if slices.Contains(a.approved, q.Key) || slices.Contains(a.declined, q.Key) {
			return fmt.Errorf("the engine asks again: %s", q.Text)
		}
		ok := yes
		if !yes {
			if !u.CanAsk() {
				return &ui.Problem{Text: q.Text, Way: "give -y to agree; the data will be lost"}
			}
			var err error
			if ok, err = u.Ask(ctx, q.Text); err != nil {
				return err
			}
		}
		if ok {
			a.approved = append(a.approved, q.Key)
		} else {
			a.declined = append(a.declined, q.Key)
		}
	}
	return nil
}

// planSteps collects the steps of one or several plans that follow each other, numbered through.
type planSteps struct {
	steps    []api.Step
	verdicts []api.Verdict
	asked    []string
}

func (p *planSteps) event(e api.Event) {
	switch e.Kind {
	case "plan":
		offset := 0
		for _, s := range p.steps {
			offset = max(offset, s.ID)
		}
		for _, s := range e.Plan {
			s.ID += offset
			after := make([]int, 0, len(s.After))
			for _, id := range s.After {
				after = append(after, id+offset)
			}
			s.After = after
			p.steps = append(p.steps, s)
		}
	case "verdict":
		if e.Verdict != nil {
			p.verdicts = append(p.verdicts, *e.Verdict)
		}
	case "question":
		p.asked = append(p.asked, e.Text)
	}
}

// showPlan runs a verb as a dry run and prints what it would do.
func showPlan(u *ui.UI, format string, verb func(func(api.Event)) error) error {
	var p planSteps
	var orphans []string
	err := verb(func(e api.Event) {
		p.event(e)
		switch e.Kind {
		case "notice":
			u.Note(e.Text)
		case "warning":
			u.Warn(e.Text)
		case "orphans":
			orphans = e.Names
		}
	})
	if err != nil {
		return err
	}
	if format == "json" {
		enc := json.NewEncoder(u.Out())
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			Steps     []api.Step
			Verdicts  []api.Verdict
			Questions []string
			Orphans   []string
		}{p.steps, p.verdicts, p.asked, orphans})
	}
	if len(p.steps) == 0 {
		if err := u.Printf("Nothing to do.\n"); err != nil {
			return err
		}
	} else if err := u.Table(4, []string{"#", "STEP", "AFTER", "WHY"}, planRows(p.steps)); err != nil {
		return err
	}
	for _, q := range p.asked {
		u.Warn("will ask: " + q)
	}
	return nil
}

func planRows(steps []api.Step) [][]string {
	var rows [][]string
	for _, s := range steps {
		after := make([]string, len(s.After))
		for i, id := range s.After {
			after[i] = strconv.Itoa(id)
		}
		rows = append(rows, []string{strconv.Itoa(s.ID), fmt.Sprintf("%s %s", s.Verb, s.Object), strings.Join(after, ","), s.Why})
	}
	return rows
}
