package main

import (
	"context"
	"fmt"
)

func verbCourses() []course {
	return []course{
		{
			rows: []row{{key: "version", what: "version", aim: "15 ms", quick: true}},
			run: func(ctx context.Context, l *lap) error {
				l.look("version", l.verb(ctx, "version"))
				return nil
			},
			limit: func(ctx context.Context, l *lap) error { l.look("version", l.bare.nothing(ctx)); return nil },
		},
		readers(30, "20 ms", true, "25 ms", true),
		readers(1000, "0.2 s", false, "", false),
		config(1000, "0.2 s"),
	}
}

// readers are the verbs that only look, at n services that have written 100 lines each.
func readers(n int, configAim string, quick bool, psAim string, withConfig bool) course {
	ps, logs, conf := fmt.Sprintf("ps%d", n), fmt.Sprintf("logs%d", n), fmt.Sprintf("config%d", n)
	c := course{
		rows: []row{
			{key: ps, what: fmt.Sprintf("ps of %d services", n), aim: psAim, quick: quick},
			{key: logs, what: fmt.Sprintf("logs --tail 100 of %d services", n), quick: quick},
		},
		run: func(ctx context.Context, l *lap) error {
			return l.with(ctx, services(n, "entrypoint: [/load, idle, \"100\"]"), func() error {
				l.look(ps, l.verb(ctx, "ps"))
				l.look(logs, l.verb(ctx, "logs", "--tail", "100"))
				l.look(conf, l.verb(ctx, "config"))
				return nil
			})
		},
		limit: func(ctx context.Context, l *lap) error {
			for _, key := range []string{ps, logs, conf} {
				l.look(key, l.bare.nothing(ctx))
			}
			return nil
		},
	}
	if withConfig {
		c.rows = append(c.rows, row{key: conf, what: fmt.Sprintf("config of %d services", n), aim: configAim, quick: quick})
	}
	return c
}

// config needs no containers: many services cost nothing but reading.
func config(n int, aim string) course {
	key := fmt.Sprintf("config%d", n)
	return course{
		rows: []row{{key: key, what: fmt.Sprintf("config of %d services", n), aim: aim, quick: true}},
		run: func(ctx context.Context, l *lap) error {
			if err := l.file(services(n, "")); err != nil {
				return err
			}
			l.look(key, l.verb(ctx, "config"))
			return nil
		},
		limit: func(ctx context.Context, l *lap) error { l.look(key, l.bare.nothing(ctx)); return nil },
	}
}
