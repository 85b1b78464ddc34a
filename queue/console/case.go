package console

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/queue"
	"postern/queue/clock"
	"postern/queue/console/auth"
	"postern/queue/fulfil"
)

// caseView is what the page of a case shows.
type caseView struct {
	Breach      *breachView
	Stop        *stopView
	Case        *queue.Case
	Heading     string
	Badges      []badge
	Pace        queue.Pace
	Clock       caseClock
	Next        nextStep
	Mails       []mailView
	Letters     []letterView
	Events      []eventView
	Tasks       []taskView
	Holds       []holdView
	Approval    *approvalView
	Earlier     []row
	Reply       replyView
	Restricting string // systems that only store the data now
	LiftFrom    string // day offered for the end of that
	Language    string // in the visitor's words
	From        string // address of the person, "" where unknown
	FromName    string
	People      []string
	Labels      []labelChoice
	Acts        map[string]bool // acts that may be done now
	ReadOnly    bool
	Editing     string // another user who is at it now
	Company     string
	Reasons     map[string][]string // closed sets for the forms
	More        []string            // acts of the menu
	Known       string              // systems that know the person
	Flags       []string            // in words
	Held        bool                // a legal hold is on
	FourDeny    bool
	Proofs      bool
}

// caseClock is the time of a case.
type caseClock struct {
	Days      string // "12 days", "2 days late"
	Level     queue.PaceLevel
	Percent   int
	Ticks     []int // reminders, in percent
	Due       time.Time
	Zone      string
	Rule      string
	Received  time.Time
	ExtendTo  time.Time // zero: not possible any more
	Ended     time.Time
	Responded bool
}

// labelChoice is one right in the correction form.
type labelChoice struct {
	Label classifier.Label
	On    bool
	Score string // two digits, "" where the classifier saw nothing
}

// eventView is a line of the timeline.
type eventView struct {
	When  time.Time
	Actor string
	Text  string
	Note  string
	Seq   int
}

// taskView is a system's part.
type taskView struct {
	queue.Task
	Tone  string
	Words string // "erased", "not asked yet"
}

// holdView is an address named in the text that waits.
type holdView struct {
	queue.Hold
	Plain string
}

// approvalView is what waits for an approver.
type approvalView struct {
	queue.Approval
	Who  string
	Mine bool // the visitor asked for it
}

// load opens a case the visitor may see.
func (v *visit) load() (queue.Case, []queue.Event, error) {
	no := queue.FindCaseNo(v.r.PathValue("no"))
	if no == "" {
		return queue.Case{}, nil, errNotFound
	}
	k, events, err := v.c.d.Cases.Show(v.ctx(), no)
	if err != nil {
		return k, nil, err
	}
	if !v.visible(&k) {
		return queue.Case{}, nil, errForbid
	}
	return k, events, nil
}

// casePage shows a case; the look is recorded first.
func (c *Console) casePage(v *visit) error { return v.showCase(map[string]any{}, replyForm{}) }

// showCase renders the page of a case, with what was typed into its reply.
func (v *visit) showCase(data map[string]any, typed replyForm) error {
	k, events, err := v.load()
	if err != nil {
		return err
	}
	if err := v.saw("case", &k, nil); err != nil {
		return err
	}
	p := v.c.d.Cases.NewPacer()
	cv := &caseView{Case: &k, Heading: v.rights(k.Labels, 3), Pace: p.Of(&k), Badges: v.badges(p, &k), Language: v.languageName(k.Language), Company: v.c.controllerName(k.Controller)}
	cv.ReadOnly = !auth.Work().Allows(v.user.Roles)
	cv.Clock = v.clock(p, &k)
	loc := p.Zone(k.Controller)
	if cv.Breach, err = v.breachOf(&k, loc); err != nil {
		return err
	}
	if cv.Stop, err = v.stopOf(&k, events, loc); err != nil {
		return err
	}
	cv.From = v.c.d.Cases.Person(&k).Plain()
	if len(k.Mails) > 0 {
		cv.FromName = shorten(k.Mails[0].FromName, 80)
	}
	for i, in := range k.Mails {
		cv.Mails = append(cv.Mails, v.mailView(&k, i, in, loc))
	}
	if err := v.fillCase(cv, events, loc); err != nil {
		return err
	}
	for _, l := range labels {
		cv.Labels = append(cv.Labels, labelChoice{l, slices.Contains(k.Labels, l), score(k.Mails, l)})
	}
	if slices.ContainsFunc(cv.Tasks, func(t taskView) bool { return t.Verb == fulfil.Restrict }) {
		systems, err := v.c.d.Cases.Restricting(v.ctx(), k.Number)
		if err != nil {
			return err
		}
		cv.Restricting = strings.Join(systems, ", ")
	}
	cv.LiftFrom = v.c.d.Cases.LiftFrom(k.Controller).Format(time.DateOnly)
	cv.Acts = v.acts(cv)
	cv.Reasons = map[string][]string{"extend": extendReasons, "lift": liftReasons, "deny": denyReasons, "identify": waiveReasons, "wait": waitReasons, "paper": paperReasons, "close": closeReasons, "withdraw": withdrawReasons, "reopen": reopenReasons}
	cv.Held, cv.FourDeny, cv.Proofs = slices.Contains(k.Flags, queue.FlagLegalHold), v.c.d.Cases.FourEyes(k.Controller, queue.EyesDeny), v.c.d.Prover != nil
	for _, name := range []string{"extend", "deny", "identify", "wait", "weigh", "lift", "colleague", "paper", "close", "merge", "split", "forward", "withdraw", "reopen"} {
		if cv.Acts[name] {
			cv.More = append(cv.More, strings.Replace(name, "forward", "support", 1))
		}
	}
	if !cv.ReadOnly {
		cv.More = append(cv.More, "legal-hold")
	}
	var known []string
	for _, t := range cv.Tasks {
		if t.Status != "" && t.Status != fulfil.NotFound && t.Status != fulfil.Failed && !slices.Contains(known, t.System) {
			known = append(known, t.System)
		}
	}
	cv.Known = strings.Join(known, ", ")
	for _, f := range k.Flags {
		cv.Flags = append(cv.Flags, v.say("flag."+f))
	}
	if cv.Reply, err = v.replyView(cv, typed); err != nil {
		return err
	}
	cv.Next = v.nextStep(cv)
	assignees := map[string]any{}
	if err := v.assignable(assignees); err != nil {
		return err
	}
	cv.People, _ = assignees["People"].([]string)
	if cv.Editing, err = v.c.editedBy(v.ctx(), k.Number, v.user.Name); err != nil {
		return err
	}
	data["K"] = cv
	return v.page("case", cv.Heading+" · "+k.Number, data)
}

// fillCase reads what belongs to a case beside its record.
func (v *visit) fillCase(cv *caseView, events []queue.Event, loc *time.Location) error {
	k, q := cv.Case, v.c.d.Cases
	letters, states, err := q.Letters(v.ctx(), k.Number)
	if err != nil {
		return err
	}
	for i, l := range letters {
		cv.Letters = append(cv.Letters, v.letterView(i, l, states[i], loc))
	}
	for _, e := range events {
		cv.Events = append(cv.Events, v.eventView(e, loc))
	}
	tasks, err := q.Tasks(v.ctx(), k.Number)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		cv.Tasks = append(cv.Tasks, v.taskView(t, loc))
	}
	if slices.Contains(k.Flags, queue.FlagHold) {
		holds, err := q.Holds(v.ctx(), k.Number)
		if err != nil {
			return err
		}
		for _, h := range holds {
			cv.Holds = append(cv.Holds, holdView{h, h.Address.Plain()})
		}
	}
	if a, ok, err := q.ApprovalOf(v.ctx(), k.Number); err != nil {
		return err
	} else if ok {
		cv.Approval = &approvalView{a, v.actor(a.By), a.By == v.user.Actor()}
	}
	earlier, err := q.Earlier(v.ctx(), k.Number)
	if err != nil {
		return err
	}
	p := q.NewPacer()
	for i := range earlier {
		if e := &earlier[i]; v.visible(e) && len(cv.Earlier) < 10 {
			cv.Earlier = append(cv.Earlier, row{Number: e.Number, Path: casePath(e.Number), Right: v.rights(e.Labels, 2), Due: v.due(p, e), Badges: v.badges(p, e)})
		}
	}
	return nil
}

func (v *visit) clock(p *queue.Pacer, k *queue.Case) caseClock {
	pace, loc := p.Of(k), p.Zone(k.Controller)
	d := v.due(p, k)
	out := caseClock{Days: d.Left, Level: pace.Level, Percent: int(pace.Used * 100), Due: k.Due.In(loc), Zone: k.Due.In(loc).Format("MST"), Rule: v.say("rule." + k.Rule), Received: k.Received.In(loc)}
	if r, ok := clock.ByID(k.Rule); ok && !v.words.has("rule."+k.Rule) {
		out.Rule = r.Source
	}
	if pace.Level == queue.PaceEnded {
		out.Ended, out.Days = k.EndedAt.In(loc), ""
	} else if pace.Level != queue.PaceLate && pace.Days > 0 {
		out.Days = v.words.count("due.days_left", pace.Days)
	}
	out.Ticks = []int{50, 75}
	if to, err := v.c.d.Cases.ExtendedUntil(k); err == nil && k.State.Live() {
		out.ExtendTo = to
	}
	return out
}

// score is the classifier's probability of a label as two digits.
func score(mails []queue.Incoming, l classifier.Label) string {
	best := 0.0
	for _, in := range mails {
		for _, s := range in.Result.Labels {
			if s.Label == l {
				best = max(best, s.Score)
			}
		}
	}
	if best == 0 {
		return ""
	}
	return fmt.Sprintf("%02d", int(min(best, 0.99)*100))
}

// actor names who did something in words.
func (v *visit) actor(by string) string {
	name, ok := strings.CutPrefix(by, "operator:")
	switch {
	case ok && name == v.user.Name:
		return v.say("actor.you")
	case ok:
		return name
	case v.words.has("actor." + by):
		return v.say("actor." + by)
	}
	if kind, name, ok := strings.Cut(by, ":"); ok && (kind == "system" || kind == "token") {
		return v.say("actor."+kind, "name", name)
	}
	return by
}

// eventView tells one event in a sentence of the catalogues: event.ACTION.REASON
// where there is one, else event.ACTION.
func (v *visit) eventView(e queue.Event, loc *time.Location) eventView {
	key := "event." + string(e.Action)
	reason := strings.ReplaceAll(e.Reason, ":", "-")
	pairs := []string{"reason", v.word("reason", reason)}
	for name, value := range e.Data {
		pairs = append(pairs, name, v.datum(name, value, loc))
	}
	if v.words.has(key + "_" + reason) {
		key += "_" + reason
	}
	text := v.say(key, pairs...)
	if i := strings.IndexByte(text, '{'); i >= 0 { // a fact this event does not have
		text = strings.TrimSpace(text[:i])
	}
	if reason != "" && slices.Contains(reasoned, e.Action) && key == "event."+string(e.Action) && !strings.Contains(text, v.word("reason", reason)) {
		text += ": " + v.word("reason", reason)
	}
	return eventView{e.Time.In(loc), v.actor(e.Actor), text, e.Note, e.Seq}
}

// reasoned are the acts whose reason says more than the act itself.
var reasoned = []queue.Action{queue.ActSuppress, queue.ActHold, queue.ActRelease, queue.ActSilent, queue.ActClose, queue.ActDeny, queue.ActExtend, queue.ActForward,
	queue.ActReopen, queue.ActWait, queue.ActIdentify, queue.ActAnswer, queue.ActAlert, queue.ActUnsent, queue.ActWithdraw, queue.ActRemind}

// word is a closed word in the visitor's language.
func (v *visit) word(table, word string) string {
	if word == "" {
		return ""
	}
	return v.say(table + "." + word)
}

// datum writes a fact of an event: dates as dates, labels as rights.
func (v *visit) datum(name, value string, loc *time.Location) string {
	switch name {
	case "due", "until", "received":
		if t := fromMillis(value); !t.IsZero() {
			return v.words.date(t.In(loc), v.now())
		}
	case "labels", "was":
		var list []classifier.Label
		for _, l := range strings.Split(value, ",") {
			if l != "" {
				list = append(list, classifier.Label(l))
			}
		}
		return v.rights(list, 12)
	case "owner":
		if value == "" {
			return v.say("cases.unassigned")
		}
	}
	return value
}

func (v *visit) taskView(t queue.Task, loc *time.Location) taskView {
	t.Asked, t.Due = t.Asked.In(loc), t.Due.In(loc)
	out := taskView{Task: t, Words: v.say("task.waiting")}
	if t.Status != "" {
		out.Words = v.say("task." + string(t.Status))
	}
	switch {
	case t.Status == "failed":
		out.Tone = "danger"
	case t.Done():
		out.Tone = "ok"
	case t.Person && v.now().After(t.Due):
		out.Tone, out.Words = "danger", v.say("task.overdue")
	}
	return out
}

// acts are what the visitor may do with the case now.
func (v *visit) acts(cv *caseView) map[string]bool {
	if cv.ReadOnly {
		return map[string]bool{}
	}
	k := cv.Case
	weighed := slices.Contains(k.Flags, queue.FlagWeighed)
	live, open := k.State.Live(), k.State == queue.Received || k.State == queue.Opened
	return map[string]bool{
		"start": k.State == queue.Received, "reply": cv.From != "", "deny": live, "extend": !cv.Clock.ExtendTo.IsZero(),
		"wait": open, "resume": k.State == queue.Waiting, "merge": live, "split": live && len(k.Labels) > 1,
		"close": open || k.State == queue.Answered, "forward": live, "withdraw": live,
		"reopen":    !live && k.State != queue.Merged,
		"identify":  (open || k.State == queue.Identity) && !slices.Contains(k.Flags, queue.FlagIdentified),
		"ask":       open && v.c.d.Cases.CanChallenge(k.Controller) && cv.From != "",
		"erase":     live && slices.Contains(k.Labels, classifier.Erasure),
		"collect":   live && len(v.c.d.Cases.Systems(k, exportVerb)) > 0,
		"paper":     live,
		"weigh":     live && slices.Contains(k.Labels, classifier.Objection) && !weighed,
		"lift":      cv.From != "" && !(weighed && live) && (cv.Restricting != "" || weighed || slices.Contains(k.Labels, classifier.Restriction)),
		"colleague": live && v.c.d.Cases.CanChallenge(k.Controller), // needs the address of the pages
	}
}

func fromMillis(s string) time.Time {
	var n int64
	if _, err := fmt.Sscan(s, &n); err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// told turns an error of the queue into a page that keeps what was typed: the
// case is shown again with the reason on top. Other errors pass.
func (v *visit) told(err error, fault string, typed replyForm) error {
	if !errors.Is(err, queue.ErrMove) && !errors.Is(err, queue.ErrDraft) && !errors.Is(err, queue.ErrOrder) {
		return err
	}
	v.status = failureOf(err).status
	return v.showCase(map[string]any{"Fault": fault}, typed)
}
