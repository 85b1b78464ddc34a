package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"postern/queue"
)

// hookRow is a receiver of events: of the configuration, or subscribed by a
// program.
type hookRow struct {
	Name        string   `json:"name"`
	Host        string   `json:"host"` // the rest of its URL may be a secret
	Events      []string `json:"events"`
	Controllers []string `json:"controllers"`
	By          string   `json:"by"` // "" of the configuration, else who subscribed
	Failed      int      `json:"failed"`
}

type hookRequest struct {
	Name  string
	Actor string
}

func (n *node) hookOperations() []operation {
	return []operation{
		op("hooks/list", n.listHooks),
		op("hooks/test", func(ctx context.Context, r hookRequest) (struct{}, error) {
			err := n.queue.TestHook(ctx, r.Name, r.Actor)
			if errors.Is(err, queue.ErrUnknown) {
				return struct{}{}, errors.New("no receiver has that name; postern hooks list names them")
			}
			return struct{}{}, err
		}),
	}
}

func (n *node) listHooks(ctx context.Context, _ struct{}) ([]hookRow, error) {
	dead, err := n.queue.Dead(ctx)
	if err != nil {
		return nil, err
	}
	failed := map[string]int{}
	for _, d := range dead {
		if name, _ := d.Message(); name != "" {
			failed[name]++
		}
	}
	row := func(name, raw string, events, controllers []string, by string) hookRow {
		host := ""
		if u, err := url.Parse(raw); err == nil {
			host = u.Host
		}
		return hookRow{name, host, append([]string{}, events...), append([]string{}, controllers...), by, failed[name]}
	}
	out := []hookRow{}
	for _, h := range n.cfg.Hooks {
		out = append(out, row(h.Name, h.URL, h.Events, h.Controllers, ""))
	}
	subscribed, err := n.hooks.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range subscribed {
		out = append(out, row(s.ID, s.URL, s.Events, s.Controllers, s.By))
	}
	return out, nil
}

func (c *cli) hooksCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List receivers of events: those of [[hook]], and those programs subscribed", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]hookRow](ctx, call, "hooks/list", struct{}{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				var cells [][]string
				for _, r := range rows {
					by := r.By
					if by == "" {
						by = "configuration"
					}
					failed := ""
					if r.Failed > 0 {
						failed = fmt.Sprint(r.Failed)
					}
					cells = append(cells, []string{r.Name, r.Host, strings.Join(r.Events, " "), strings.Join(r.Controllers, " "), by, failed})
				}
				return c.table([]string{"NAME", "HOST", "EVENTS", "CONTROLLERS", "BY", "GIVEN UP"}, cells)
			})
		})}
	test := &cobra.Command{Use: "test NAME", Short: "Tell a receiver a signed event of the type " + queue.TestEvent + ", at once and once", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			return c.withNode(ctx, func(call caller) error {
				if _, err := ask[struct{}](ctx, call, "hooks/test", hookRequest{args[0], operatorName()}); err != nil {
					return err
				}
				if c.json {
					return c.printJSON(map[string]bool{"taken": true})
				}
				_, err := fmt.Fprintln(c.stdout, "taken")
				return err
			})
		})}
	return group("hooks", "Receivers of events", list, test)
}
