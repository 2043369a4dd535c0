package main

import (
	"context"
	"fmt"
)

func engineCourses() []course {
	return []course{
		{
			rows: []row{
				{key: "start0", what: "engine start, nothing to restore", aim: "150 ms", quick: true},
				{key: "mem0", what: "memory of the engine before the first container", unit: "MiB", aim: "50 MiB", quick: true},
			},
			takes: hasEngine,
			run: func(ctx context.Context, l *lap) error {
				if err := l.peer.Stop(ctx); err != nil {
					return err
				}
				if err := l.time("start0", func() error { return l.peer.Start(ctx) }); err != nil {
					return err
				}
				bytes, err := l.peer.Memory()
				l.set("mem0", mib(bytes))
				return err
			},
			limit: func(ctx context.Context, l *lap) error { l.look("start0", l.bare.nothing(ctx)); return nil },
		},
		readopt(30, false),
		readopt(300, false),
	}
}

// readopt is a new engine's way to n containers that run: it ends when ps has shown them.
func readopt(n int, quick bool) course {
	key := fmt.Sprintf("start%d", n)
	return course{
		rows:  []row{{key: key, what: fmt.Sprintf("engine start, then ps, with %d containers to take over", n), quick: quick}},
		takes: hasEngine,
		run: func(ctx context.Context, l *lap) error {
			return l.with(ctx, services(n), func() error {
				if err := l.peer.Stop(ctx); err != nil {
					return err
				}
				return l.time(key, func() error {
					if err := l.peer.Start(ctx); err != nil {
						return err
					}
					return l.verb(ctx, "ps")()
				})
			})
		},
	}
}
