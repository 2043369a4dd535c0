package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"berth/cmd/ui"
	"berth/engine/api"
)

type attachOptions struct {
	target     *target
	service    string
	index      int
	noStdin    bool
	sigProxy   bool
	detachKeys string
	signals    <-chan os.Signal
}

func newAttachCommand(a *app) *cobra.Command {
	o := attachOptions{sigProxy: true}
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] SERVICE",
		Short: "Join the terminal to a container that runs",
		Args:  needArgs(1, "which service?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.service = args[0]
			return a.withSignals(cmd.Context(), args[:1], func(e Engine, t *target, signals <-chan os.Signal) error {
				o.target, o.signals = t, signals
				return runAttach(cmd.Context(), o, e, a.ui)
			})
		},
		ValidArgsFunction: a.completeFirstService,
	}
	f := cmd.Flags()
	f.IntVar(&o.index, "index", 0, "number of the container, where the service has several")
	f.BoolVar(&o.noStdin, "no-stdin", false, "send it nothing")
	f.BoolVar(&o.sigProxy, "sig-proxy", true, "send it the signals that berth gets")
	f.StringVar(&o.detachKeys, "detach-keys", "", "keys that leave it to itself (default ctrl-p,ctrl-q)")
	return cmd
}

// runAttach shows what the container writes from now on and sends it what is typed, until one of both ends.
func runAttach(ctx context.Context, o attachOptions, e Engine, u *ui.UI) error {
	keys, err := parseKeys(o.detachKeys)
	if err != nil {
		return err
	}
	r, err := e.Containers(ctx, &api.ContainersRequest{ProjectSelector: o.target.byName([]string{o.service})})
	if err != nil {
		return err
	}
	var c *api.Container
	for i := range r.Containers {
		if k := &r.Containers[i]; !k.Oneoff && (o.index == 0 || k.Number == o.index) && (c == nil || k.Number < c.Number) {
			c = k
		}
	}
	if c == nil {
		return &ui.Problem{Text: fmt.Sprintf("no container of service %q runs", o.service), Way: "see berth ps -a"}
	}
	q := &api.ExecStart{
		ProjectSelector: o.target.byName([]string{o.service}), Container: c.ID, Attach: true, TTY: c.TTY && u.InTTY() && u.OutTTY(),
		Stdin: c.OpenStdin && !o.noStdin,
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := e.Exec(ctx, q)
	if err != nil {
		return err
	}
	i := &interaction{stream: s, ui: u, tty: q.TTY, stdin: q.Stdin, signals: o.signals, keys: keys, keepStdin: true}
	if !o.sigProxy {
		var interrupted context.CancelFunc
		ctx, interrupted = context.WithCancel(ctx)
		defer interrupted()
		i.signals = nil
		go func() {
			select {
			case <-o.signals:
				interrupted()
			case <-ctx.Done():
			}
		}()
	}
	return exitWith(i.run(ctx))
}

// parseKeys takes keys as docker writes them: "ctrl-p,ctrl-q", "ctrl-c,x".
func parseKeys(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	var keys []byte
	for _, k := range strings.Split(text, ",") {
		name, ctrl := strings.CutPrefix(k, "ctrl-")
		switch {
		case len(name) != 1:
			return nil, &ui.Problem{Text: "--detach-keys: " + quote(k) + " is not a key", Way: "write them as ctrl-p,ctrl-q"}
		case !ctrl:
			keys = append(keys, name[0])
		case name[0] >= 'a' && name[0] <= 'z':
			keys = append(keys, name[0]-'a'+1)
		case name[0] >= '@' && name[0] <= '_':
			keys = append(keys, name[0]-'@')
		default:
			return nil, &ui.Problem{Text: "--detach-keys: " + quote(k) + " is not a key", Way: "write them as ctrl-p,ctrl-q"}
		}
	}
	return keys, nil
}
