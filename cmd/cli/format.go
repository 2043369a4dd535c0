package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"berth/cmd/ui"
)

// listing is a table that can be printed as docker's --format has it: table, json, a template for each row, or
// "table" and a template for columns.
type listing struct {
	columns  []column // of the table, unless a template chooses others
	headers  map[string]string
	rows     []row
	minWidth int
	// array: json is one array instead of an object a line.
	array bool
}

type column struct{ header, key string }

// row has the values of a row by their names in templates.
type row map[string]any

// Label gives the value of a label, for templates.
func (r row) Label(name string) string {
	labels, _ := r[rawLabels].(map[string]string)
	return labels[name]
}

// rawLabels is a key that templates can't name and JSON leaves out.
const rawLabels = "\x00labels"

// MarshalJSON leaves out what is for templates only.
func (r row) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(r))
	for k, v := range r {
		if k != rawLabels {
			m[k] = v
		}
	}
	return marshalPlain(m)
}

// marshalPlain keeps <, > and & readable: "0.0.0.0:80->80/tcp".
func marshalPlain(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return []byte(strings.TrimSuffix(b.String(), "\n")), err
}

func (l listing) print(u *ui.UI, format string) error {
	kind, tmpl, _ := strings.Cut(format, " ")
	switch {
	case format == "" || format == "table":
		header := make([]string, len(l.columns))
		for i, c := range l.columns {
			header[i] = c.header
		}
		var rows [][]string
		for _, r := range l.rows {
			cells := make([]string, len(l.columns))
			for i, c := range l.columns {
				cells[i] = fmt.Sprint(r[c.key])
			}
			rows = append(rows, cells)
		}
		return u.Table(l.minWidth, header, rows)
	case format == "json":
		return l.printJSON(u)
	case kind == "table":
		return l.printColumns(u, tmpl)
	}
	t, err := parseTemplate(format)
	if err != nil {
		return err
	}
	for _, r := range l.rows {
		line, err := execute(t, r)
		if err != nil {
			return err
		}
		if err := u.Printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

func (l listing) printJSON(u *ui.UI) error {
	if l.array {
		rows := l.rows
		if rows == nil {
			rows = []row{}
		}
		b, err := marshalPlain(rows)
		if err != nil {
			return err
		}
		return u.Printf("%s\n", b)
	}
	for _, r := range l.rows {
		b, err := r.MarshalJSON()
		if err != nil {
			return err
		}
		if err := u.Printf("%s\n", b); err != nil {
			return err
		}
	}
	return nil
}

// printColumns makes a table of a template whose columns are separated by tabs.
func (l listing) printColumns(u *ui.UI, tmpl string) error {
	t, err := parseTemplate(tmpl)
	if err != nil {
		return err
	}
	titles := row{}
	for k, v := range l.headers {
		titles[k] = v
	}
	for _, c := range l.columns {
		titles[c.key] = c.header
	}
	if len(l.rows) > 0 {
		for k := range l.rows[0] {
			if _, ok := titles[k]; !ok {
				titles[k] = strings.ToUpper(k)
			}
		}
	}
	header, err := execute(t, titles)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range l.rows {
		line, err := execute(t, r)
		if err != nil {
			return err
		}
		rows = append(rows, strings.Split(line, "\t"))
	}
	return u.Table(l.minWidth, strings.Split(header, "\t"), rows)
}

func parseTemplate(text string) (*template.Template, error) {
	// What a shell leaves of "\t" is meant as a tab.
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	t, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := marshalPlain(v)
			return string(b), err
		},
		"join": strings.Join, "split": strings.Split, "lower": strings.ToLower, "upper": strings.ToUpper,
		"title": func(s string) string {
			if s == "" {
				return s
			}
			return strings.ToUpper(s[:1]) + s[1:]
		},
		"truncate": func(s string, n int) string {
			r := []rune(s)
			return string(r[:min(n, len(r))])
		},
		"pad": func(s string, before, after int) string {
			if s == "" {
				return s
			}
			return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
		},
	}).Parse(text)
	if err != nil {
		return nil, &ui.Problem{Text: "--format: " + strings.TrimPrefix(err.Error(), "template: "), Way: "give table, json, or a Go template such as '{{.Name}}'"}
	}
	return t, nil
}

func execute(t *template.Template, r row) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, r); err != nil {
		return "", &ui.Problem{Text: "--format: " + strings.TrimPrefix(err.Error(), "template: "), Way: "fields are " + strings.Join(fields(r), ", ")}
	}
	return b.String(), nil
}

func fields(r row) []string {
	names := sortedKeys(r)
	if len(names) > 0 && names[0] == rawLabels {
		names = names[1:]
	}
	return names
}
