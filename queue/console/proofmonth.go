package console

import (
	"cmp"
	"slices"
	"strings"

	"postern/queue"
)

// sampleMost is how many cases of a month a person is asked to check.
const sampleMost = 10

// automaticAct counts what rules did by themselves.
type automaticAct struct {
	Text  string
	Count int
}

// sampled is one case of the monthly sample.
type sampled struct {
	Number, Right string
	Verdict       string // "", queue.SampleRight or queue.SampleWrong
	Secret        bool
}

// automatic shows what rules did, and a sample for a person to judge: the
// share of wrong ones is the error rate.
func (c *Console) automatic(v *visit) error {
	m, err := v.month()
	if err != nil {
		return err
	}
	rep, err := c.d.Cases.AutomaticActs(v.ctx(), m.From, m.To, sampleMost)
	if err != nil {
		return err
	}
	var acts []automaticAct
	for key, n := range rep.Acts {
		action, reason, _ := strings.Cut(key, ":")
		e := v.eventView(queue.Event{Action: queue.Action(action), Reason: reason}, m.From.Location())
		acts = append(acts, automaticAct{e.Text, n})
	}
	slices.SortFunc(acts, func(a, b automaticAct) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text)) })
	var sample []sampled
	for _, no := range rep.Sample {
		k, events, err := c.d.Cases.Show(v.ctx(), no)
		if err != nil {
			return err
		}
		s := sampled{Number: no, Right: v.rights(k.Labels, 3), Secret: !v.visible(&k)}
		for _, e := range events {
			if e.Action == queue.ActNote && (e.Reason == queue.SampleRight || e.Reason == queue.SampleWrong) {
				s.Verdict = e.Reason
			}
		}
		sample = append(sample, s)
	}
	data := map[string]any{"Tabs": v.tabs(), "Month": m, "MonthName": v.monthName(m), "Acts": acts, "Reverted": rep.Reverted, "Reopened": rep.Reopened,
		"Sample": sample, "Judged": rep.Judged, "Wrong": rep.Wrong}
	if rate, ok := rep.ErrorRate(); ok {
		data["Rate"] = v.words.number(int64(rate*100 + 0.5))
	}
	return v.page("automatic", "proof.title", data)
}

// judge keeps what a person says of a case of the sample.
func (c *Console) judge(v *visit) error {
	verdict := v.field("verdict")
	if verdict != "right" && verdict != "wrong" {
		return errForm
	}
	k, _, err := c.d.Cases.Show(v.ctx(), v.r.PathValue("no"))
	if err != nil {
		return err
	}
	if !v.visible(&k) {
		return errNotFound
	}
	if err := c.d.Cases.Judge(v.ctx(), k.Number, verdict == "right", v.user.Actor(), v.field("note")); err != nil {
		return err
	}
	back := "/proof/automatic"
	if month := v.field("month"); month != "" {
		back += "?month=" + month
	}
	return v.redirect(back, "judged")
}

// monthReport is a controller's month.
type monthReport struct {
	Company string
	queue.Month
	Rows []labelTally
}

type labelTally struct {
	Label string
	queue.Tally
}

// reports shows how the requests of a month were answered.
func (c *Console) reports(v *visit) error {
	m, err := v.month()
	if err != nil {
		return err
	}
	list, err := c.d.Cases.Report(v.ctx(), m.From.Year(), m.From.Month())
	if err != nil {
		return err
	}
	var out []monthReport
	for _, r := range list {
		k, _ := c.d.Streams().Controller(r.Controller)
		mr := monthReport{Company: k.Name, Month: r}
		for l, t := range r.ByLabel {
			mr.Rows = append(mr.Rows, labelTally{v.say("right." + string(l)), t})
		}
		slices.SortFunc(mr.Rows, func(a, b labelTally) int { return cmp.Or(cmp.Compare(b.Cases, a.Cases), cmp.Compare(a.Label, b.Label)) })
		out = append(out, mr)
	}
	return v.page("reports", "proof.title", map[string]any{"Tabs": v.tabs(), "Month": m, "MonthName": v.monthName(m), "Reports": out})
}
