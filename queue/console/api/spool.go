package api

import (
	"context"
	"slices"
	"time"

	"postern/gateway/ledger"
	"postern/gateway/spool"
)

// spoolRow is a waiting message; who it goes to stands in spoolWhole alone.
type spoolRow struct {
	ID       string         `json:"id"`
	Received time.Time      `json:"received"`
	Stream   string         `json:"stream"`
	Client   string         `json:"client"`
	Size     int64          `json:"size"`
	States   map[string]int `json:"states"`
	Next     time.Time      `json:"next,omitzero"`
	Reply    string         `json:"reply,omitempty"`
}

type spoolWhole struct {
	spoolRow
	Recipients []spoolRecipient `json:"recipients"`
}

type spoolRecipient struct {
	Address  string      `json:"address"`
	State    spool.State `json:"state"`
	Attempts int         `json:"attempts"`
	Next     time.Time   `json:"next,omitzero"`
	Code     int         `json:"code,omitempty"`
	Status   string      `json:"status,omitempty"`
	Reply    string      `json:"reply,omitempty"`
	Host     string      `json:"host,omitempty"`
}

func (c *call) spoolRow(m *spool.Message) spoolRow {
	row := spoolRow{ID: m.ID, Received: m.Received, Client: m.Client, Size: int64(len(m.Header)) + m.BodySize, States: map[string]int{}}
	if st, known := c.a.d.Streams().ByNumber(m.Stream); known {
		row.Stream = st.Name
	}
	for _, r := range m.Recipients {
		row.States[string(r.State)]++
		if r.State == spool.Queued && (row.Next.IsZero() || r.Next.Before(row.Next)) {
			row.Next, row.Reply = r.Next, r.Reply
		}
	}
	return row
}

// spoolFilter is how messages are chosen; addresses are in no URL.
type spoolFilter struct {
	IDs     []string `json:"ids"`
	Stream  string   `json:"stream"`
	Client  string   `json:"client"`
	State   string   `json:"state"`
	Domain  string   `json:"domain"`
	Address string   `json:"address"`
	All     bool     `json:"all"`
}

func (c *call) spoolFilter(f spoolFilter) (spool.Filter, error) {
	out := spool.Filter{IDs: f.IDs, Client: f.Client, State: spool.State(f.State), Domain: f.Domain}
	if f.State != "" && !slices.Contains(spool.States(), out.State) {
		return out, bad("state", "is no state of a recipient")
	}
	if f.Stream != "" {
		st, known := c.a.d.Streams().ByName(f.Stream)
		if !known {
			return out, bad("stream", "is not configured")
		}
		out.Stream = st.Number
	}
	if f.Address != "" {
		who, err := person("address", f.Address)
		if err != nil {
			return out, err
		}
		out.Address = who.Plain()
	}
	return out, nil
}

// listSpool pages through what waits, oldest first.
func listSpool(c *call) (answer, error) {
	limit, err := c.limit()
	if err != nil {
		return answer{}, err
	}
	f, err := c.spoolFilter(spoolFilter{Stream: c.query("stream"), Client: c.query("client"), State: c.query("state")})
	if err != nil {
		return answer{}, err
	}
	if from := c.query("cursor"); from != "" {
		parts, err := readCursor(from, 1)
		if err != nil {
			return answer{}, err
		}
		f.After = parts[0]
	}
	f.Limit = limit + 1
	list, err := c.a.d.Spool.List(c.ctx(), f)
	if err != nil {
		return answer{}, err
	}
	out := map[string]any{}
	if len(list) > limit {
		list = list[:limit]
		out["next"] = writeCursor(list[limit-1].ID)
	}
	rows := make([]spoolRow, len(list))
	for i := range list {
		rows[i] = c.spoolRow(&list[i])
	}
	out["messages"] = rows
	return ok(out)
}

// searchSpool finds messages to a person or a domain.
func searchSpool(c *call) (answer, error) {
	var r spoolFilter
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	f, err := c.spoolFilter(r)
	if err != nil {
		return answer{}, err
	}
	list, err := c.a.d.Spool.List(c.ctx(), f)
	if err != nil {
		return answer{}, err
	}
	if r.Address != "" || r.Domain != "" {
		if err := c.saw("spool", ""); err != nil {
			return answer{}, err
		}
	}
	rows := make([]spoolRow, len(list))
	for i := range list {
		rows[i] = c.spoolRow(&list[i])
	}
	return ok(map[string]any{"messages": rows})
}

// showSpool gives one message with the fate of each recipient; the look is
// recorded.
func showSpool(c *call) (answer, error) {
	if _, err := spool.ParseID(c.path("id")); err != nil {
		return answer{}, problem("missing", "")
	}
	m, err := c.a.d.Spool.Get(c.ctx(), c.path("id"))
	if err != nil {
		return answer{}, err
	}
	if err := c.saw("spool", m.ID); err != nil {
		return answer{}, err
	}
	out := spoolWhole{spoolRow: c.spoolRow(m), Recipients: make([]spoolRecipient, len(m.Recipients))}
	for i, r := range m.Recipients {
		out.Recipients[i] = spoolRecipient{r.Address.Plain(), r.State, r.Attempts, r.Next, r.Code, r.Status, r.Reply, r.Host}
	}
	return ok(out)
}

// saw records a look at personal data that is no case's.
func (c *call) saw(what, ref string) error {
	return c.a.d.Ledger.Append(c.ctx(), ledger.Record{Time: c.now(), Kind: ledger.KindView, Actor: c.actor(), Action: "view", Reason: what, Ref: ref})
}

func (c *call) changeSpool(act func(ctx context.Context, f spool.Filter) (int, error)) (answer, error) {
	var r spoolFilter
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	if len(r.IDs) == 0 && r.Stream == "" && r.Client == "" && r.Domain == "" && r.Address == "" && !r.All {
		return answer{}, bad("ids", "name messages, a filter, or all")
	}
	f, err := c.spoolFilter(r)
	if err != nil {
		return answer{}, err
	}
	count, err := act(c.ctx(), f)
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]int{"count": count})
}

func retrySpool(c *call) (answer, error) { return c.changeSpool(c.a.d.Spool.Retry) }

func holdSpool(c *call) (answer, error) {
	return c.changeSpool(func(ctx context.Context, f spool.Filter) (int, error) { return c.a.d.Spool.Hold(ctx, f, c.actor()) })
}

func releaseSpool(c *call) (answer, error) {
	return c.changeSpool(func(ctx context.Context, f spool.Filter) (int, error) { return c.a.d.Spool.Release(ctx, f, c.actor()) })
}
