package main

import (
	"context"
	"fmt"

	"berth/testing/bench/peers"
)

func verbCourses() []course {
	return []course{
		{
			rows: []row{{key: "version", what: "version", aim: "15 ms", quick: true}},
			run: func(ctx context.Context, l *lap) error {
				return l.timeSome("version", l.verb(ctx, "version"))
			},
			limit: func(ctx context.Context, l *lap) error { return l.timeSome("version", l.bare.nothing(ctx)) },
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
			down, err := l.up(ctx, services(n, "entrypoint: [/load, idle, \"100\"]"))
			if err != nil {
				return err
			}
			defer down()
			if err := l.timeSome(ps, l.verb(ctx, "ps")); err != nil {
				return err
			}
			if err := l.timeSome(logs, l.verb(ctx, "logs", "--tail", "100")); err != nil {
				return err
			}
			return l.timeSome(conf, l.verb(ctx, "config"))
		},
		limit: func(ctx context.Context, l *lap) error {
			for _, key := range []string{ps, logs, conf} {
				if err := l.timeSome(key, l.bare.nothing(ctx)); err != nil {
					return err
				}
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
			return l.timeSome(key, l.verb(ctx, "config"))
		},
		limit: func(ctx context.Context, l *lap) error { return l.timeSome(key, l.bare.nothing(ctx)) },
	}
}

// notShared leaves out peers that share an engine with another: what is measured is the engine's alone.
func notShared(p *peers.Peer) bool { return !p.Shared }
