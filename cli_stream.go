package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"postern/gateway"
	"postern/gateway/stream"
)

// streamRow is a stream with the mode of the file and the one in force.
type streamRow struct {
	Name       string      `json:"name"`
	Number     uint16      `json:"number"`
	Kind       stream.Kind `json:"kind"`
	Controller string      `json:"controller"`
	Mode       stream.Mode `json:"mode"`
	FileMode   stream.Mode `json:"file_mode"`
	Retired    bool        `json:"retired,omitempty"`
}

type modeRequest struct {
	Stream string
	Mode   stream.Mode
	Actor  string
}

type reportRequest struct{ Since, Until time.Time }

func (n *node) streamOperations() []operation {
	return []operation{
		op("stream/list", func(context.Context, struct{}) ([]streamRow, error) {
			rows := []streamRow{}
			for _, s := range n.engine.Streams().Streams() {
				rows = append(rows, streamRow{s.Name, s.Number, s.Kind, s.Controller, n.engine.Mode(s.Name), s.Mode, s.Retired})
			}
			return rows, nil
		}),
		op("stream/mode", func(ctx context.Context, r modeRequest) (streamRow, error) {
			s, ok := n.engine.Streams().ByName(r.Stream)
			if !ok {
				return streamRow{}, fmt.Errorf("no stream has the name %q", r.Stream)
			}
			if err := n.engine.ChangeMode(ctx, r.Stream, r.Mode, r.Actor); err != nil {
				return streamRow{}, err
			}
			return streamRow{s.Name, s.Number, s.Kind, s.Controller, n.engine.Mode(s.Name), s.Mode, s.Retired}, nil
		}),
		op("report/would-block", func(ctx context.Context, r reportRequest) ([]gateway.Row, error) {
			if err := n.report.Flush(ctx); err != nil {
				return nil, err
			}
			return n.report.WouldBlock(ctx, r.Since, r.Until)
		}),
	}
}

func (c *cli) streamCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List streams with their modes", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]streamRow](ctx, call, "stream/list", struct{}{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				var cells [][]string
				for _, s := range rows {
					cells = append(cells, []string{strconv.Itoa(int(s.Number)), s.Name, string(s.Kind), s.Controller, string(s.Mode), string(s.FileMode)})
				}
				return c.table([]string{"NUMBER", "NAME", "KIND", "CONTROLLER", "MODE", "IN THE FILE"}, cells)
			})
		})}
	mode := &cobra.Command{Use: "mode NAME observe|annotate|enforce|file", Short: "Step a stream along the ladder; \"file\" returns to the configuration", Args: cobra.ExactArgs(2),
		RunE: verb(func(ctx context.Context, args []string) error {
			r := modeRequest{Stream: args[0], Mode: stream.Mode(args[1]), Actor: operatorName()}
			switch r.Mode {
			case stream.Observe, stream.Annotate, stream.Enforce:
			case "file":
				r.Mode = ""
			default:
				return fmt.Errorf("mode %q is none of observe, annotate, enforce, file", args[1])
			}
			return c.withNode(ctx, func(call caller) error {
				row, err := ask[streamRow](ctx, call, "stream/mode", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(row)
				}
				_, err = fmt.Fprintf(c.stdout, "%s: %s (in the file: %s)\n", row.Name, row.Mode, row.FileMode)
				return err
			})
		})}
	return group("stream", "List streams and set their modes", list, mode)
}

func (c *cli) reportCommand() *cobra.Command {
	days := 7
	would := &cobra.Command{Use: "would-block", Short: "What enforcing would have stopped, per stream, reason, sender and day", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			now := time.Now()
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]gateway.Row](ctx, call, "report/would-block", reportRequest{now.AddDate(0, 0, 1-days), now})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				if len(rows) == 0 {
					_, err := fmt.Fprintf(c.stdout, "Enforcing would have stopped nothing in the last %d days.\n", days)
					return err
				}
				var cells [][]string
				for _, r := range rows {
					cells = append(cells, []string{r.Day, r.Stream, string(r.Reason), r.Client, r.Sender, strconv.FormatInt(r.Count, 10)})
				}
				return c.table([]string{"DAY", "STREAM", "REASON", "CLIENT", "SENDER", "RECIPIENTS"}, cells)
			})
		})}
	would.Flags().IntVar(&days, "days", days, "how many days back, today included")
	return group("report", "Reports for operators", would, c.reportAudit(), c.reportMonth())
}
