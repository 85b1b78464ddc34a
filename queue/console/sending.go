package console

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"time"

	"postern/gateway"
	"postern/gateway/stream"
	"postern/queue"
)

// Modes are the steps of the ladder that streams stand on; *gateway.Engine
// keeps them.
type Modes interface {
	Mode(stream string) stream.Mode
	ChangeMode(ctx context.Context, stream string, m stream.Mode, actor string) error
}

// Traffic counts what was relayed and refused; *gateway.Report does.
type Traffic interface {
	Traffic(ctx context.Context, g gateway.Grain, until time.Time, n int, stream string) ([]gateway.Tally, error)
	WouldBlock(ctx context.Context, since, until time.Time) ([]gateway.Row, error)
	Modes(ctx context.Context) (map[string]stream.Mode, error)
	ObservedSince(ctx context.Context) (map[string]time.Time, error)
}

// fates are the stacks of a chart from the ground up: what arrived, then what
// did not.
var fates = []gateway.Fate{gateway.FateDelivered, gateway.FateDeferred, gateway.FateDenied, gateway.FateFailed}

// allFates are the columns of a table of figures.
var allFates = []gateway.Fate{gateway.FateAccepted, gateway.FateDelivered, gateway.FateDeferred, gateway.FateDenied, gateway.FateFailed}

func fateNames(list []gateway.Fate) (out []string) {
	for _, f := range list {
		out = append(out, string(f))
	}
	return out
}

// streamRow is one line of Sending.
type streamRow struct {
	Name, Title, Company string
	Kind                 stream.Kind
	Mode                 stream.Mode
	Set                  bool // by an operator, over the file
	Stale                bool // observed for longer than it should be
	Accepted, Denied     int64
	Deferred, Delivered  int64
	Failed               int64
	Top                  gateway.Reason // most frequent reason of what did not pass
	TopCount             int64
	Own                  bool // Postern's own, not configured
}

// sending tells whether mail flows, and lawfully.
func (c *Console) sending(v *visit) error {
	if c.d.Traffic == nil || c.d.Modes == nil {
		return errNotFound
	}
	hour, err := c.d.Traffic.Traffic(v.ctx(), gateway.TenMinutes, v.now(), 6, "")
	if err != nil {
		return err
	}
	rows, err := v.streamRows(hour)
	if err != nil {
		return err
	}
	figures, err := v.figures(gateway.AllStreams)
	if err != nil {
		return err
	}
	data := map[string]any{"Rows": rows, "Figures": figures, "Companies": len(c.d.Streams().Controllers()) > 1}
	if c.d.Spool != nil {
		s := c.d.Spool.Stats()
		if !s.OldestAt.IsZero() {
			s.OldestAt = s.OldestAt.In(v.zone(""))
		}
		data["Spool"], data["Waiting"], data["HeldBack"], data["Oldest"] = true, int(s.Messages), int(s.Held), s.OldestAt
	}
	return v.page("sending", "sending.title", data)
}

// waitingSending counts what an operator should look at: streams observed for
// too long.
func (c *Console) waitingSending(v *visit, _ *queue.Snapshot) (int, error) {
	if c.d.Traffic == nil || c.d.Modes == nil {
		return 0, nil
	}
	since, err := c.d.Traffic.ObservedSince(v.ctx())
	if err != nil {
		return 0, err
	}
	n := 0
	for _, st := range c.d.Streams().Streams() {
		if v.stale(st, since) {
			n++
		}
	}
	return n, nil
}

func (v *visit) stale(st stream.Stream, since map[string]time.Time) bool {
	at := since[st.Name]
	return !st.Retired && !at.IsZero() && v.c.d.Modes.Mode(st.Name) == stream.Observe && v.now().Sub(at) > gateway.ObserveLimit
}

func (v *visit) streamRows(hour []gateway.Tally) ([]streamRow, error) {
	set, err := v.c.d.Traffic.Modes(v.ctx())
	if err != nil {
		return nil, err
	}
	since, err := v.c.d.Traffic.ObservedSince(v.ctx())
	if err != nil {
		return nil, err
	}
	var rows []streamRow
	place := map[string]int{}
	for _, st := range v.c.d.Streams().Streams() {
		if st.Retired {
			continue
		}
		k, _ := v.c.d.Streams().Controller(st.Controller)
		_, byHand := set[st.Name]
		place[st.Name] = len(rows)
		rows = append(rows, streamRow{Name: st.Name, Title: cmp.Or(st.Title, st.Name), Company: k.Name, Kind: st.Kind,
			Mode: v.c.d.Modes.Mode(st.Name), Set: byHand, Stale: v.stale(st, since)})
	}
	reasons := map[int]map[gateway.Reason]int64{}
	for _, t := range hour {
		i, ok := place[t.Stream]
		if !ok { // own bounces, mail refused before it had a stream, a retired one that drains
			i = len(rows)
			place[t.Stream] = i
			rows = append(rows, streamRow{Name: t.Stream, Own: true})
		}
		rows[i].add(t)
		if t.Reason != "" {
			if reasons[i] == nil {
				reasons[i] = map[gateway.Reason]int64{}
			}
			reasons[i][t.Reason] += t.Count
		}
	}
	for i, of := range reasons {
		for r, n := range of {
			if n > rows[i].TopCount || n == rows[i].TopCount && r < rows[i].Top {
				rows[i].Top, rows[i].TopCount = r, n
			}
		}
	}
	return rows, nil
}

func (r *streamRow) add(t gateway.Tally) {
	switch t.Fate {
	case gateway.FateAccepted:
		r.Accepted += t.Count
	case gateway.FateDelivered:
		r.Delivered += t.Count
	case gateway.FateDeferred:
		r.Deferred += t.Count
	case gateway.FateDenied:
		r.Denied += t.Count
	case gateway.FateFailed:
		r.Failed += t.Count
	}
}

// figures are a chart with the same figures as a table, and why mail did not
// pass, of one stream or all.
type figures struct {
	Daily   bool
	Path    string // of the page, for its two ranges
	Chart   chart
	Heads   []string
	Rows    []figureRow
	Reasons []reasonRow
}

type figureRow struct {
	At     time.Time
	Counts []int64
}

type reasonRow struct {
	Fate   gateway.Fate
	Reason gateway.Reason
	Count  int64
	Share  int // of the most frequent, in percent
}

// figures reads the range the visitor asks for: two days by hour, or thirty
// days.
func (v *visit) figures(name string) (figures, error) {
	f := figures{Daily: v.r.URL.Query().Get("range") == "days", Path: v.r.URL.Path, Heads: fateNames(allFates)}
	grain, n, loc := gateway.Hourly, 48, v.zone(name)
	if f.Daily {
		grain, n, loc = gateway.Daily, 30, time.UTC
	}
	tallies, err := v.c.d.Traffic.Traffic(v.ctx(), grain, v.now(), n, name)
	if err != nil {
		return f, err
	}
	last := grain.Start(v.now())
	buckets, place := make([]time.Time, n), map[int64]int{}
	for i := range n {
		at := last.Add(-time.Duration(n-1-i) * grain.Width())
		place[at.Unix()], buckets[i] = i, at.In(loc)
	}
	counts := make([]map[gateway.Fate]int64, n)
	for i := range counts {
		counts[i] = map[gateway.Fate]int64{}
	}
	why := map[reasonRow]int64{}
	for _, t := range tallies {
		i, ok := place[t.At.Unix()]
		if !ok {
			continue
		}
		counts[i][t.Fate] += t.Count
		if t.Reason != "" {
			why[reasonRow{Fate: t.Fate, Reason: t.Reason}] += t.Count
		}
	}
	f.Chart = newChart(buckets, fateNames(fates), func(i int) []int64 { return countsOf(counts[i], fates) })
	for i := n - 1; i >= 0; i-- { // newest first, without those of nothing
		if row := countsOf(counts[i], allFates); slices.Max(row) > 0 {
			f.Rows = append(f.Rows, figureRow{buckets[i], row})
		}
	}
	for r, count := range why {
		r.Count = count
		f.Reasons = append(f.Reasons, r)
	}
	slices.SortFunc(f.Reasons, func(a, b reasonRow) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Fate, b.Fate))
	})
	for i := range f.Reasons {
		f.Reasons[i].Share = max(1, int(f.Reasons[i].Count*100/f.Reasons[0].Count))
	}
	return f, nil
}

func countsOf(m map[gateway.Fate]int64, order []gateway.Fate) []int64 {
	out := make([]int64, len(order))
	for i, f := range order {
		out[i] = m[f]
	}
	return out
}

// zone is the time zone of a stream's controller, or of the first one.
func (v *visit) zone(name string) *time.Location {
	id := ""
	if st, ok := v.c.d.Streams().ByName(name); ok {
		id = st.Controller
	} else if all := v.c.d.Streams().Controllers(); len(all) > 0 {
		id = all[0].ID
	}
	return v.c.d.Cases.NewPacer().Zone(id)
}

// ladder are the modes in the order a stream climbs them.
var ladder = []stream.Mode{stream.Observe, stream.Annotate, stream.Enforce}

// step is one rung.
type step struct {
	Mode       stream.Mode
	Here, Next bool
	Path       string // of the page that confirms it; "" where it is not offered
}

// streamPage shows one stream: its ladder, what the next step would stop, its
// traffic.
func (c *Console) streamPage(v *visit) error {
	st, err := v.stream()
	if err != nil {
		return err
	}
	set, err := c.d.Traffic.Modes(v.ctx())
	if err != nil {
		return err
	}
	since, err := c.d.Traffic.ObservedSince(v.ctx())
	if err != nil {
		return err
	}
	would, err := v.wouldBlock(st.Name)
	if err != nil {
		return err
	}
	f, err := v.figures(st.Name)
	if err != nil {
		return err
	}
	k, _ := c.d.Streams().Controller(st.Controller)
	mode := c.d.Modes.Mode(st.Name)
	_, byHand := set[st.Name]
	data := map[string]any{
		"Stream": st, "Title": cmp.Or(st.Title, st.Name), "Company": k.Name, "Mode": mode, "Set": byHand, "Ladder": ladderOf(st.Name, mode),
		"Stale": v.stale(st, since), "Since": since[st.Name].In(v.zone(st.Name)), "Would": would, "Figures": f,
	}
	if before := stream.Mode(v.r.URL.Query().Get("before")); slices.Contains(ladder, before) || before == "file" {
		data["Before"] = before
	}
	return v.page("stream", cmp.Or(st.Title, st.Name), data)
}

func (v *visit) stream() (stream.Stream, error) {
	if v.c.d.Traffic == nil || v.c.d.Modes == nil {
		return stream.Stream{}, errNotFound
	}
	st, ok := v.c.d.Streams().ByName(v.r.PathValue("stream"))
	if !ok {
		return st, errNotFound
	}
	return st, nil
}

func streamPath(name string) string { return "/sending/stream/" + url.PathEscape(name) }

func ladderOf(name string, mode stream.Mode) []step {
	at := slices.Index(ladder, mode)
	out := make([]step, len(ladder))
	for i, m := range ladder {
		out[i] = step{Mode: m, Here: i == at, Next: i == at+1}
		if i != at {
			out[i].Path = streamPath(name) + "/mode?to=" + string(m)
		}
	}
	return out
}

// would is what enforcing would have refused in the last days.
type would struct {
	Days      int
	Total     int64
	ByReason  []wouldRow
	BySender  []wouldRow
	ByDay     []wouldRow
	MoreUsers int // senders that are not listed
}

type wouldRow struct {
	Name   string
	Day    time.Time
	Reason gateway.Reason
	Count  int64
}

// wouldDays is how far back a step is judged.
const wouldDays = 7

func (v *visit) wouldBlock(name string) (would, error) {
	out := would{Days: wouldDays}
	rows, err := v.c.d.Traffic.WouldBlock(v.ctx(), v.now().AddDate(0, 0, 1-wouldDays), v.now())
	if err != nil {
		return out, err
	}
	reasons, senders, days := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for _, r := range rows {
		if r.Stream != name {
			continue
		}
		out.Total += r.Count
		reasons[string(r.Reason)] += r.Count
		senders[cmp.Or(r.Sender, r.Client)] += r.Count
		days[r.Day] += r.Count
	}
	out.ByReason, out.BySender = ranked(reasons), ranked(senders)
	for i := range out.ByReason {
		out.ByReason[i].Reason = gateway.Reason(out.ByReason[i].Name)
	}
	if most := 10; len(out.BySender) > most {
		out.MoreUsers = len(out.BySender) - most
		out.BySender = out.BySender[:most]
	}
	for day, n := range days {
		at, err := time.Parse(time.DateOnly, day)
		if err == nil {
			out.ByDay = append(out.ByDay, wouldRow{Day: at, Count: n})
		}
	}
	slices.SortFunc(out.ByDay, func(a, b wouldRow) int { return b.Day.Compare(a.Day) })
	return out, nil
}

// ranked lists counts, most first.
func ranked(m map[string]int64) (out []wouldRow) {
	for name, n := range m {
		out = append(out, wouldRow{Name: name, Count: n})
	}
	slices.SortFunc(out, func(a, b wouldRow) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	return out
}

// modePage says what a step does before it is made.
func (c *Console) modePage(v *visit) error {
	st, err := v.stream()
	if err != nil {
		return err
	}
	to := stream.Mode(v.r.URL.Query().Get("to"))
	if !slices.Contains(ladder, to) && to != "file" {
		return errNotFound
	}
	w, err := v.wouldBlock(st.Name)
	if err != nil {
		return err
	}
	return v.page("mode", "sending.mode_title", map[string]any{"Stream": st, "Title": cmp.Or(st.Title, st.Name), "Mode": c.d.Modes.Mode(st.Name),
		"To": to, "Holds": modeIn(st, to), "Would": w, "Up": slices.Index(ladder, modeIn(st, to)) > slices.Index(ladder, c.d.Modes.Mode(st.Name))})
}

// modeIn is the mode that "file" stands for.
func modeIn(st stream.Stream, m stream.Mode) stream.Mode {
	if m == "file" {
		return st.Mode
	}
	return m
}

// setMode makes the step: recorded, kept for all nodes, in force at once. The
// page it leads to can take it back.
func (c *Console) setMode(v *visit) error {
	st, err := v.stream()
	if err != nil {
		return err
	}
	to := stream.Mode(v.field("to"))
	if !slices.Contains(ladder, to) && to != "file" {
		return errForm
	}
	set, err := c.d.Traffic.Modes(v.ctx())
	if err != nil {
		return err
	}
	before, ok := set[st.Name]
	if !ok {
		before = "file"
	}
	if to == "file" {
		err = c.d.Modes.ChangeMode(v.ctx(), st.Name, "", v.user.Actor())
	} else {
		err = c.d.Modes.ChangeMode(v.ctx(), st.Name, to, v.user.Actor())
	}
	if err != nil {
		return err
	}
	path := streamPath(st.Name)
	switch {
	case v.field("undo") != "":
		return v.redirect(path, "mode-undone")
	case before == to:
		return v.redirect(path, "mode-renewed")
	}
	return v.redirect(path+"?before="+url.QueryEscape(string(before)), "mode-set")
}
