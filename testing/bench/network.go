package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"berth/testing/bench/peers"
	"berth/testing/host"
)

// How long streams and questions go on.
const flow = time.Second

func networkCourses() []course {
	return []course{{
		rows: []row{
			{key: "tcpport", what: "TCP from another host through a published port", unit: "Gbit/s", aim: "the kernel's path", quick: true},
			{key: "tcplocal", what: "TCP from 127.0.0.1 through a published port", unit: "Gbit/s", aim: "the kernel's path", quick: true},
			{key: "tcppeer", what: "TCP from container to container", unit: "Gbit/s", aim: "the kernel's path", quick: true},
			{key: "dns", what: "questions for a service's name, 8 workers", unit: "per second", aim: "100000", quick: true},
			{key: "dnsp99", what: "... 99 % are answered within", unit: "ms", aim: "1 ms", quick: true},
			{key: "dnslost", what: "... without an answer", unit: "questions", aim: "0", quick: true},
		},
		run:   streams,
		limit: bareStreams,
	}}
}

const sinkAndSource = `services:
  server:
    image: %[1]q
    entrypoint: [/load, sink, ":5000"]
    ports: ["5000:5000"]
  client:
    image: %[1]q
`

func streams(ctx context.Context, l *lap) error {
	return l.with(ctx, fmt.Sprintf(sinkAndSource, image), func() error { return l.streams(ctx) })
}

func (l *lap) streams(ctx context.Context) error {
	outside, err := otherHost(l.peer.Place())
	if err != nil {
		return err
	}
	defer outside.Close()
	load := filepath.Join(l.workshop.dir, "rootfs/load")
	for _, way := range []struct {
		key  string
		from *host.Namespace
		to   string
	}{{"tcpport", outside, hereAddress}, {"tcplocal", l.peer.Place().Network, "127.0.0.1"}} {
		if err := l.stream(ctx, way.key, func() (string, error) {
			return inNamespace(ctx, way.from, load, "source", way.to+":5000", flow.String())
		}); err != nil {
			return err
		}
	}
	if err := l.stream(ctx, "tcppeer", func() (string, error) {
		return l.peer.Compose(ctx, l.dir, "exec", "-T", "client", "/load", "source", "server:5000", flow.String())
	}); err != nil {
		return err
	}
	return l.questions(func() (string, error) {
		return l.peer.Compose(ctx, l.dir, "exec", "-T", "client", "/load", "ask", "server", "8", flow.String())
	})
}

// bareStreams is the limit: the same between two network namespaces that a pair of links joins.
func bareStreams(ctx context.Context, l *lap) error {
	a, err := host.OpenNamespace()
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := host.OpenNamespace()
	if err != nil {
		return err
	}
	defer b.Close()
	if err := a.Connect("a", "198.51.100.1/24", b, "b", "198.51.100.2/24"); err != nil {
		return err
	}
	load := filepath.Join(l.workshop.dir, "rootfs/load")
	for _, server := range [][]string{{"sink", "198.51.100.2:5000"}, {"answer", "198.51.100.2:53"}} {
		end, err := serve(ctx, b, load, server...)
		if err != nil {
			return err
		}
		defer end()
	}
	for _, key := range []string{"tcpport", "tcplocal", "tcppeer"} {
		if err := l.stream(ctx, key, func() (string, error) {
			return inNamespace(ctx, a, load, "source", "198.51.100.2:5000", flow.String())
		}); err != nil {
			return err
		}
	}
	return l.questions(func() (string, error) {
		return inNamespace(ctx, a, load, "ask", "server", "8", flow.String(), "198.51.100.2:53")
	})
}

// stream notes what load source prints.
func (l *lap) stream(_ context.Context, key string, source func() (string, error)) error {
	if !l.wanted[key] {
		return nil
	}
	out, err := source()
	if err != nil {
		return err
	}
	var bits float64
	if _, err := fmt.Sscan(out, &bits); err != nil {
		return fmt.Errorf("%s: %q is not a number: %w", key, out, err)
	}
	l.set(key, bits/1e9)
	return nil
}

// questions notes what load ask prints.
func (l *lap) questions(ask func() (string, error)) error {
	if !l.wanted["dns"] && !l.wanted["dnsp99"] {
		return nil
	}
	out, err := ask()
	if err != nil {
		return err
	}
	var rate, p99, lost float64
	if _, err := fmt.Sscan(out, &rate, &p99, &lost); err != nil {
		return fmt.Errorf("dns: %q are not three numbers: %w", out, err)
	}
	l.set("dns", rate)
	l.set("dnsp99", p99/1000)
	l.set("dnslost", lost)
	return nil
}

const hereAddress = "198.51.100.1"

// otherHost is a network namespace with a link to the place where a peer runs, and a route through it.
func otherHost(p *peers.Place) (*host.Namespace, error) {
	n, err := host.OpenNamespace()
	if err != nil {
		return nil, err
	}
	if err := p.Network.Connect("bench0", hereAddress+"/24", n, "eth0", "198.51.100.2/24"); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func inNamespace(ctx context.Context, n *host.Namespace, argv ...string) (string, error) {
	var out, stderr strings.Builder
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv[1:], " "), err, strings.TrimSpace(stderr.String()))
	}
	return out.String(), nil
}

// serve starts load as a server, and returns when it listens; end ends it.
func serve(ctx context.Context, n *host.Namespace, load string, args ...string) (end func(), err error) {
	cmd := exec.CommandContext(ctx, load, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.Start(cmd); err != nil {
		return nil, err
	}
	end = func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed, as was wanted
	}
	if _, err := io.ReadFull(out, make([]byte, len("listening"))); err != nil {
		end()
		return nil, fmt.Errorf("%s does not listen: %w", args[0], err)
	}
	return end, nil
}
