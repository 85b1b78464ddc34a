package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/gateway/consent"
	nodestore "postern/gateway/node"
	"postern/gateway/spool"
)

// spoolRow is one spooled message for listings; forward-paths only in show.
type spoolRow struct {
	ID         string         `json:"id"`
	Received   time.Time      `json:"received"`
	Stream     string         `json:"stream"`
	Client     string         `json:"client"`
	Size       int64          `json:"size"`
	States     map[string]int `json:"states"`
	Next       time.Time      `json:"next,omitzero"`
	Code       int            `json:"code,omitempty"` // of the last reply to who is tried next
	Status     string         `json:"status,omitempty"`
	Reply      string         `json:"reply,omitempty"`
	Recipients []spoolRcpt    `json:"recipients,omitempty"`
}

type spoolRcpt struct {
	Address  string      `json:"address"`
	State    spool.State `json:"state"`
	Attempts int         `json:"attempts"`
	Next     time.Time   `json:"next,omitzero"`
	Code     int         `json:"code,omitempty"`
	Status   string      `json:"status,omitempty"`
	Reply    string      `json:"reply,omitempty"`
	Host     string      `json:"host,omitempty"`
}

type spoolRequest struct {
	Filter spool.Filter
	Stream string // name, for Filter.Stream
	Actor  string
}

type adoptRequest struct{ Dir string }

// adoptReply is what was taken over from a dead node.
type adoptReply struct {
	Count   int `json:"count"`    // messages
	OptOuts int `json:"opt_outs"` // events of its journal that are in Redis now
}

type countReply struct {
	Count int `json:"count"`
}

func (n *node) spoolOperations() []operation {
	change := func(f func(ctx context.Context, r spoolRequest) (int, error)) func(context.Context, spoolRequest) (countReply, error) {
		return func(ctx context.Context, r spoolRequest) (countReply, error) {
			if err := n.streamFilter(&r); err != nil {
				return countReply{}, err
			}
			count, err := f(ctx, r)
			return countReply{count}, err
		}
	}
	return []operation{
		op("spool/list", n.listSpool),
		op("spool/show", n.showSpool),
		op("spool/adopt", n.adopt),
		op("spool/retry", change(func(ctx context.Context, r spoolRequest) (int, error) { return n.spool.Retry(ctx, r.Filter) })),
		op("spool/hold", change(func(ctx context.Context, r spoolRequest) (int, error) { return n.spool.Hold(ctx, r.Filter, r.Actor) })),
		op("spool/release", change(func(ctx context.Context, r spoolRequest) (int, error) { return n.spool.Release(ctx, r.Filter, r.Actor) })),
		op("spool/drop", change(func(ctx context.Context, r spoolRequest) (int, error) { return n.spool.Drop(ctx, r.Filter, r.Actor) })),
	}
}

// adopt takes over what waits in the data folder of a dead node, its opt-outs
// first: Redis may not have some, as those it took while Redis was away, and
// its mail may be for who said no.
func (n *node) adopt(ctx context.Context, r adoptRequest) (out adoptReply, err error) {
	db, err := nodestore.Open(r.Dir)
	if err != nil {
		return out, err
	}
	dead, err := consent.New(n.rdb, n.ring, db, nil, consent.Options{Log: n.log.With("room", "consent")})
	if err == nil {
		out.OptOuts, err = dead.Replay(ctx)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return out, fmt.Errorf("adopt opt-outs: %w", err)
	}
	out.Count, err = n.spool.Adopt(ctx, r.Dir)
	return out, err
}

func (n *node) streamFilter(r *spoolRequest) error {
	if r.Stream == "" {
		return nil
	}
	st, ok := n.engine.Streams().ByName(r.Stream)
	if !ok {
		return fmt.Errorf("no stream has the name %q", r.Stream)
	}
	r.Filter.Stream = st.Number
	return nil
}

func (n *node) listSpool(ctx context.Context, r spoolRequest) ([]spoolRow, error) {
	if err := n.streamFilter(&r); err != nil {
		return nil, err
	}
	list, err := n.spool.List(ctx, r.Filter)
	if err != nil {
		return nil, err
	}
	rows := make([]spoolRow, len(list))
	for i := range list {
		rows[i] = n.spoolRow(&list[i])
	}
	return rows, nil
}

func (n *node) showSpool(ctx context.Context, r spoolRequest) ([]spoolRow, error) {
	rows := []spoolRow{}
	for _, id := range r.Filter.IDs {
		m, err := n.spool.Get(ctx, id)
		if err != nil {
			return nil, err // names the id
		}
		row := n.spoolRow(m)
		for _, rcpt := range m.Recipients {
			row.Recipients = append(row.Recipients, spoolRcpt{
				rcpt.Address.Plain(), rcpt.State, rcpt.Attempts, rcpt.Next, rcpt.Code, rcpt.Status, rcpt.Reply, rcpt.Host,
			})
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (n *node) spoolRow(m *spool.Message) spoolRow {
	row := waitingRow(m)
	if st, ok := n.engine.Streams().ByNumber(m.Stream); ok {
		row.Stream = st.Name
	}
	return row
}

// waitingRow is all of a row but the name of the stream.
func waitingRow(m *spool.Message) spoolRow {
	row := spoolRow{ID: m.ID, Received: m.Received, Client: m.Client, Size: int64(len(m.Header)) + m.BodySize, States: map[string]int{}}
	for _, rcpt := range m.Recipients {
		row.States[string(rcpt.State)]++
		first := rcpt.State == spool.Queued && (row.Next.IsZero() || rcpt.Next.Before(row.Next))
		if first {
			row.Next = rcpt.Next
		}
		if first || rcpt.State == spool.Held && row.Reply == "" { // why it waits
			row.Code, row.Status, row.Reply = rcpt.Code, rcpt.Status, rcpt.Reply
		}
	}
	return row
}

// lastReply is an SMTP reply as it came; the parts that are not known are left out.
func lastReply(code int, status, text string) string {
	var parts []string
	if code > 0 {
		parts = append(parts, strconv.Itoa(code))
	}
	for _, p := range []string{status, text} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " ")
}

// nothingDone says why a verb that was given messages changed none of them.
var nothingDone = map[string]string{
	"retry":   "what is held takes postern spool release first",
	"hold":    "all of it is held already or has left",
	"release": "none of it is held",
	"drop":    "none of it waits any more",
}

func (c *cli) spoolCommand() *cobra.Command {
	return group("spool", "Look at what waits, and move it",
		c.spoolList(), c.spoolShow(), c.spoolAdopt(),
		c.spoolChange("retry", "Try now"), c.spoolChange("hold", "Stop all attempts until released"),
		c.spoolChange("release", "End a hold"), c.spoolChange("drop", "Give up without a report; the ledger keeps who did"))
}

func (c *cli) spoolList() *cobra.Command {
	var r spoolRequest
	cmd := &cobra.Command{Use: "list", Short: "List waiting messages, oldest first", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]spoolRow](ctx, call, "spool/list", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				if len(rows) == 0 {
					_, err := fmt.Fprintln(c.stdout, "The spool is empty.")
					return err
				}
				var cells [][]string
				for _, m := range rows {
					cells = append(cells, []string{m.ID, stamp(m.Received), m.Stream, m.Client, states(m.States), stamp(m.Next), lastReply(m.Code, m.Status, m.Reply)})
				}
				return c.table([]string{"ID", "RECEIVED", "STREAM", "CLIENT", "RECIPIENTS", "NEXT", "LAST REPLY"}, cells)
			})
		})}
	spoolFilter(cmd, &r)
	cmd.Flags().IntVar(&r.Filter.Limit, "limit", 1000, "at most so many")
	return cmd
}

func (c *cli) spoolShow() *cobra.Command {
	return &cobra.Command{Use: "show ID...", Short: "Show messages with the fate of each recipient", Args: cobra.MinimumNArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]spoolRow](ctx, call, "spool/show", spoolRequest{Filter: spool.Filter{IDs: args}})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				for _, m := range rows {
					fmt.Fprintf(c.stdout, "%s received %s, stream %s, from client %s, %d octets\n", m.ID, stamp(m.Received), orNone(m.Stream), orNone(m.Client), m.Size)
					var cells [][]string
					for _, r := range m.Recipients {
						cells = append(cells, []string{r.Address, string(r.State), fmt.Sprint(r.Attempts), stamp(r.Next), lastReply(r.Code, r.Status, r.Reply), r.Host})
					}
					if err := c.table([]string{"RECIPIENT", "STATE", "ATTEMPTS", "NEXT", "LAST REPLY", "SMARTHOST"}, cells); err != nil {
						return err
					}
				}
				return nil
			})
		})}
}

func (c *cli) spoolAdopt() *cobra.Command {
	return &cobra.Command{Use: "adopt DIR", Short: "Take over what waits in the data folder of a dead node, and its opt-outs", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return c.withNode(ctx, func(call caller) error {
				got, err := ask[adoptReply](ctx, call, "spool/adopt", adoptRequest{dir})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(got)
				}
				_, err = fmt.Fprintf(c.stdout, "%s taken over, %s brought to Redis\n", counted(got.Count, "message"), counted(got.OptOuts, "opt-out"))
				return err
			})
		})}
}

func (c *cli) spoolChange(name, short string) *cobra.Command {
	var r spoolRequest
	var all bool
	cmd := &cobra.Command{Use: name + " [ID...]", Short: short, RunE: verb(func(ctx context.Context, args []string) error {
		r.Filter.IDs, r.Actor = args, operatorName()
		if len(args) == 0 && r.Stream == "" && r.Filter.Domain == "" && r.Filter.Address == "" && r.Filter.Client == "" && !all {
			return fmt.Errorf("name messages, a filter, or --all")
		}
		return c.withNode(ctx, func(call caller) error {
			got, err := ask[countReply](ctx, call, "spool/"+name, r)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(got)
			}
			why := ""
			if got.Count == 0 && len(args) > 0 {
				why = ": " + nothingDone[name]
			}
			_, err = fmt.Fprintf(c.stdout, "%s: %s%s\n", name, counted(got.Count, "message"), why)
			return err
		})
	})}
	spoolFilter(cmd, &r)
	cmd.Flags().BoolVar(&all, "all", false, "every message")
	return cmd
}

func spoolFilter(cmd *cobra.Command, r *spoolRequest) {
	f := cmd.Flags()
	f.StringVar(&r.Stream, "stream", "", "only this stream")
	f.StringVar(&r.Filter.Client, "client", "", "only from this client")
	f.StringVar(&r.Filter.Domain, "domain", "", "only with a recipient in this domain")
	f.StringVar(&r.Filter.Address, "address", "", "only with this recipient")
}

// states tells "2 queued, 1 delivered" in a fixed order.
func states(m map[string]int) string {
	var parts []string
	for _, s := range []spool.State{spool.Queued, spool.Held, spool.Delivered, spool.Failed, spool.Expired, spool.Denied, spool.Dropped} {
		if n := m[string(s)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}
