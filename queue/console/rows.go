package console

import (
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/queue"
)

// row is one case in a list.
type row struct {
	Number string
	Path   string
	Due    due
	Right  string
	Line   string // the sentence that spoke most, or what is said in its place
	Badges []badge
	Owner  string
	Lang   string
	Mark   bool // it can be marked, for acts on many
}

// due is a due date as lists show it.
type due struct {
	Time  time.Time
	Level queue.PaceLevel
	Days  int
	Left  string // "2 days late", "3 days left"
}

// badge is one or two words on a tint: Tone is "", "accent", "warn", "danger"
// or "ok"; Text is already in the visitor's language.
type badge struct{ Tone, Text string }

func casePath(number string) string { return "/cases/" + number }

// rows makes list rows of cases; the lines come from their first mails, whose
// reading is recorded once for the whole list.
func (v *visit) rows(p *queue.Pacer, cases []*queue.Case) ([]row, error) {
	var open []string
	for _, c := range cases {
		if !slices.Contains(c.Flags, queue.FlagConfidential) {
			open = append(open, c.Number)
		}
	}
	mails, err := v.c.d.Cases.FirstMails(v.ctx(), open)
	if err != nil {
		return nil, err
	}
	if len(mails) > 0 {
		if err := v.saw("list", nil, map[string]string{"cases": v.words.number(int64(len(mails)))}); err != nil {
			return nil, err
		}
	}
	out := make([]row, len(cases))
	for i, c := range cases {
		out[i] = row{
			Number: c.Number, Path: casePath(c.Number), Due: v.due(p, c), Right: v.rights(c.Labels, 2),
			Badges: v.badges(p, c), Owner: c.Owner, Lang: c.Language,
		}
		switch in, ok := mails[c.Number]; {
		case slices.Contains(c.Flags, queue.FlagConfidential):
			out[i].Line = v.say("case.confidential")
		case ok:
			out[i].Line = spokenLine(in, c.Labels)
		}
		if out[i].Line == "" {
			out[i].Line = v.say("case.no_text")
		}
	}
	return out, nil
}

func (v *visit) due(p *queue.Pacer, c *queue.Case) due {
	pace := p.Of(c)
	d := due{Time: c.Due.In(p.Zone(c.Controller)), Level: pace.Level, Days: pace.Days}
	switch {
	case pace.Level == queue.PaceEnded:
		d.Time = c.EndedAt.In(p.Zone(c.Controller))
	case pace.Level == queue.PaceLate && pace.Days < 0:
		d.Left = v.words.count("due.late", -pace.Days)
	case pace.Level == queue.PaceLate:
		d.Left = v.say("due.late_today")
	case pace.Days == 0:
		d.Left = v.say("due.today")
	default:
		d.Left = v.words.count("due.left", pace.Days)
	}
	return d
}

// rights are labels in words, the first most of them.
func (v *visit) rights(labels []classifier.Label, most int) string {
	if len(labels) == 0 {
		return v.say("right.none")
	}
	var out []string
	for i, l := range labels {
		if i == most && most < len(labels) {
			out = append(out, v.words.count("right.more", len(labels)-most))
			break
		}
		out = append(out, v.say("right."+string(l)))
	}
	return strings.Join(out, ", ")
}

// badges says where a case stands, at most two of them; what presses comes
// before what merely is.
func (v *visit) badges(p *queue.Pacer, c *queue.Case) []badge {
	var out []badge
	add := func(tone, key string) { out = append(out, badge{tone, v.say("badge." + key)}) }
	has := func(flag string) bool { return slices.Contains(c.Flags, flag) }
	live := c.State.Live()
	if has(queue.FlagFailed) || has(queue.FlagUndeliverable) || has(queue.FlagTrouble) {
		add("danger", "failed")
	}
	if has(queue.FlagLegalHold) {
		add("danger", "legal_hold")
	}
	if has(queue.FlagAlert) && live {
		add("danger", "alert")
	}
	if has(queue.FlagApproval) && live {
		add("warn", "approval")
	}
	if has(queue.FlagNews) {
		add("accent", "news")
	}
	if live && (c.Abstain || has(queue.FlagManual)) {
		add("accent", "to_read")
	}
	switch c.State {
	case queue.Received:
	case queue.Answered:
		add("ok", "answered")
	default:
		add("", "state_"+string(c.State))
	}
	if c.Extended && live {
		add("warn", "extended")
	}
	if len(out) == 0 {
		add("", "state_received")
	}
	return out[:min(2, len(out))]
}

// spokenLine is the sentence of a mail that spoke most for what was decided;
// the first words where none did.
func spokenLine(in queue.Incoming, labels []classifier.Label) string {
	best, weight := "", 0.0
	for _, r := range in.Result.Reasons {
		sentence, ok := strings.CutPrefix(r.Rule, "sentence: ")
		if ok && r.Weight > weight && slices.Contains(labels, r.Label) {
			best, weight = sentence, r.Weight
		}
	}
	if best == "" {
		best = in.Text
	}
	if strings.TrimSpace(best) == "" {
		best = in.Subject
	}
	return shorten(strings.Join(strings.Fields(best), " "), 240)
}

func shorten(s string, most int) string {
	n := 0
	for i := range s {
		if n == most {
			return strings.TrimSpace(s[:i]) + "…"
		}
		n++
	}
	return s
}
