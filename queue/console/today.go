package console

import (
	"slices"

	"postern/queue"
	"postern/queue/console/auth"
)

// todayMost is how many rows a list of Today shows.
const todayMost = 7

// todayList is one group of Today.
type todayList struct {
	Key   string // names today.KEY and the view of Cases with all of them
	Rows  []row
	Total int
}

// todayKinds are the groups in their order; a case stands in the first that it
// fits.
var todayKinds = []struct {
	key  string
	fits func(v *visit, c *queue.Case, level queue.PaceLevel) bool
}{
	{"overdue", func(_ *visit, _ *queue.Case, level queue.PaceLevel) bool { return level == queue.PaceLate }},
	{"soon", func(_ *visit, _ *queue.Case, level queue.PaceLevel) bool { return level == queue.PaceClose }},
	{"approval", func(v *visit, c *queue.Case, _ queue.PaceLevel) bool {
		return v.user.Is(auth.Approver) && c.State.Live() && slices.Contains(c.Flags, queue.FlagApproval)
	}},
	{"read", func(_ *visit, c *queue.Case, _ queue.PaceLevel) bool {
		return c.State.Live() && (c.Abstain || slices.Contains(c.Flags, queue.FlagManual) || slices.Contains(c.Flags, queue.FlagAlert) && c.State == queue.Received)
	}},
	{"back", func(_ *visit, c *queue.Case, _ queue.PaceLevel) bool {
		return slices.ContainsFunc(c.Flags, func(f string) bool {
			return f == queue.FlagUndeliverable || f == queue.FlagNews || f == queue.FlagTrouble || f == queue.FlagFailed
		}) && c.State.Live()
	}},
}

// todayKind names the group of a case, "" where it can wait.
func (v *visit) todayKind(c *queue.Case, p *queue.Pacer) string {
	level := p.Level(c)
	waits := level != queue.PaceLate && level != queue.PaceClose && len(c.Flags) == 0 && !c.Abstain // most do: decided at once
	if waits || !v.visible(c) {
		return ""
	}
	for _, k := range todayKinds {
		if k.fits(v, c, level) {
			return k.key
		}
	}
	return ""
}

// today shows what has to be done now. Whoever may not see cases is led to the
// page they have.
func (c *Console) today(v *visit) error {
	if !auth.Read().Allows(v.user.Roles) {
		for _, p := range railPages {
			if p.need.Allows(v.user.Roles) {
				return v.redirect(p.path, "")
			}
		}
		return errForbid
	}
	s, _, err := c.index.Snapshot(v.ctx())
	if err != nil {
		return err
	}
	p := c.d.Cases.NewPacer()
	groups := map[string][]*queue.Case{}
	var next *queue.Case
	for _, k := range s.Cases {
		if !k.State.Live() {
			break
		}
		kind := v.todayKind(k, p)
		if kind == "" {
			if next == nil && k.State.Live() && v.visible(k) {
				next = k
			}
			continue
		}
		groups[kind] = append(groups[kind], k)
	}
	var lists []todayList
	for _, k := range todayKinds {
		cases := groups[k.key]
		if len(cases) == 0 {
			continue
		}
		rows, err := v.rows(p, cases[:min(len(cases), todayMost)])
		if err != nil {
			return err
		}
		lists = append(lists, todayList{k.key, rows, len(cases)})
	}
	data := map[string]any{"Lists": lists, "Empty": len(s.Cases) == 0}
	if next != nil {
		data["Next"], data["NextDue"] = next.Number, next.Due.In(p.Zone(next.Controller))
	}
	if c.d.Alarms != nil {
		data["Alarms"] = c.d.Alarms(v.ctx())
	}
	return v.page("today", "today.title", data)
}
