package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"postern/gateway/ledger"
	"postern/gateway/spool"
)

// Spool is what waits on this node; *spool.Store is one. actor is an
// operator's name.
type Spool interface {
	Stats() spool.Stats
	List(ctx context.Context, f spool.Filter) ([]spool.Message, error)
	Get(ctx context.Context, id string) (*spool.Message, error)
	Retry(ctx context.Context, f spool.Filter) (int, error)
	Hold(ctx context.Context, f spool.Filter, actor string) (int, error)
	Release(ctx context.Context, f spool.Filter, actor string) (int, error)
	Drop(ctx context.Context, f spool.Filter, actor string) (int, error)
}

// spoolMost is how many messages a page lists.
const spoolMost = 100

// spoolRow is one message that waits.
type spoolRow struct {
	ID, Stream string
	Received   time.Time
	Expires    time.Time
	Next       time.Time
	Size       int64
	Queued     int
	Held       int
	Done       int    // of its recipients: delivered, refused, dropped
	Reason     string // last reply of the next hop, or of the verdict
	Status     string
	Host       string
	Attempts   int
	People     []spoolPerson // on its own page alone
}

type spoolPerson struct {
	Address string
	State   spool.State
	Next    time.Time
	Tries   int
	Reply   string
}

func (v *visit) spoolRow(m *spool.Message) spoolRow {
	st, _ := v.c.d.Streams().ByNumber(m.Stream)
	loc := v.zone(st.Name)
	r := spoolRow{ID: m.ID, Stream: cmp.Or(st.Title, st.Name), Received: m.Received.In(loc), Expires: m.Expires.In(loc), Size: int64(len(m.Header)) + m.BodySize}
	for i := range m.Recipients {
		rc := &m.Recipients[i]
		switch rc.State {
		case spool.Queued:
			r.Queued++
			if next := rc.Next.In(loc); r.Next.IsZero() || next.Before(r.Next) {
				r.Next = next
			}
		case spool.Held:
			r.Held++
		default:
			r.Done++
			continue
		}
		if rc.Reply != "" && r.Reason == "" {
			r.Reason, r.Status, r.Host = rc.Reply, strings.TrimSpace(rc.Status), rc.Host
		}
		r.Attempts = max(r.Attempts, rc.Attempts)
	}
	return r
}

// spoolPage lists what waits on this node, oldest first, without a recipient.
func (c *Console) spoolPage(v *visit) error {
	if c.d.Spool == nil {
		return errNotFound
	}
	q := v.r.URL.Query()
	f := spool.Filter{Limit: spoolMost + 1, After: q.Get("after")}
	name := q.Get("stream")
	if name != "" {
		st, ok := c.d.Streams().ByName(name)
		if !ok {
			return errNotFound
		}
		f.Stream = st.Number
	}
	if q.Get("held") != "" {
		f.State = spool.Held
	}
	if _, err := spool.ParseID(f.After); f.After != "" && err != nil {
		return errNotFound
	}
	list, err := c.d.Spool.List(v.ctx(), f)
	if err != nil {
		return err
	}
	data := map[string]any{"Stream": name, "Held": q.Get("held") != "", "Stats": c.d.Spool.Stats()}
	if len(list) > spoolMost {
		list = list[:spoolMost]
		data["After"] = list[spoolMost-1].ID
	}
	rows := make([]spoolRow, len(list))
	for i := range list {
		rows[i] = v.spoolRow(&list[i])
	}
	data["Rows"] = rows
	return v.page("spool", "spool.title", data)
}

func (v *visit) message() (*spool.Message, error) {
	if v.c.d.Spool == nil {
		return nil, errNotFound
	}
	id := v.r.PathValue("id")
	if _, err := spool.ParseID(id); err != nil {
		return nil, errNotFound
	}
	m, err := v.c.d.Spool.Get(v.ctx(), id)
	if errors.Is(err, spool.ErrNotFound) {
		return nil, errNotFound
	}
	return m, err
}

// spoolMessage shows one message with each recipient: a look at personal data.
func (c *Console) spoolMessage(v *visit) error {
	m, err := v.message()
	if err != nil {
		return err
	}
	if err := v.sawSpool(m); err != nil {
		return err
	}
	r := v.spoolRow(m)
	for i := range m.Recipients {
		rc := &m.Recipients[i]
		p := spoolPerson{Address: rc.Address.Plain(), State: rc.State, Tries: rc.Attempts, Reply: rc.Reply}
		if !rc.Next.IsZero() {
			p.Next = rc.Next.In(r.Received.Location())
		}
		r.People = append(r.People, p)
	}
	return v.page("message", "spool.message", r)
}

func (v *visit) sawSpool(m *spool.Message) error {
	st, _ := v.c.d.Streams().ByNumber(m.Stream)
	rec := ledger.Record{Time: v.now(), Kind: ledger.KindView, Controller: st.Controller, Actor: v.user.Actor(), Action: "spool", Stream: m.Stream, Ref: m.ID}
	if len(m.Recipients) == 1 {
		rec.Subject = m.Recipients[0].Subject
	}
	return v.c.d.Trail.Append(v.ctx(), rec)
}

// moveSpool tries a message now, holds it or lets it go on.
func (c *Console) moveSpool(v *visit) error {
	m, err := v.message()
	if err != nil {
		return err
	}
	f, act := spool.Filter{IDs: []string{m.ID}}, v.field("act")
	n := 0
	switch act {
	case "retry":
		n, err = c.d.Spool.Retry(v.ctx(), f)
	case "hold":
		n, err = c.d.Spool.Hold(v.ctx(), f, v.user.Name)
	case "release":
		n, err = c.d.Spool.Release(v.ctx(), f, v.user.Name)
	default:
		return errForm
	}
	if err != nil {
		return err
	}
	if err := c.record(v.ctx(), v.user.Actor(), "spool-"+act, "", map[string]string{"message": m.ID}); err != nil {
		return err
	}
	if n == 0 {
		return v.redirect("/sending/spool", "spool-nothing")
	}
	back := "/sending/spool"
	if v.field("back") == "message" {
		back += "/" + m.ID
	}
	return v.redirect(back, "spool-"+act)
}

// dropPage is the page before mail is given up for good.
func (c *Console) dropPage(v *visit) error { return v.dropping("") }

func (v *visit) dropping(fault string) error {
	m, err := v.message()
	if err != nil {
		return err
	}
	r := v.spoolRow(m)
	return v.page("drop", "spool.drop_title", map[string]any{"Message": r, "Waiting": r.Queued + r.Held, "Type": tail(m.ID), "Fault": fault})
}

// tail is what is typed to drop a message: the end of its id, which differs
// between messages of one second.
func tail(id string) string { return id[max(0, len(id)-6):] }

// drop gives a message up. Nobody gets a report of it but the ledger.
func (c *Console) drop(v *visit) error {
	m, err := v.message()
	if err != nil {
		return err
	}
	if !strings.EqualFold(v.field("typed"), tail(m.ID)) {
		v.status = http.StatusBadRequest
		return v.dropping("spool.typed_wrong")
	}
	n, err := c.d.Spool.Drop(v.ctx(), spool.Filter{IDs: []string{m.ID}}, v.user.Name)
	if err != nil {
		return err
	}
	if n == 0 {
		return v.redirect("/sending/spool", "spool-nothing")
	}
	return v.redirect("/sending/spool", "spool-drop")
}
