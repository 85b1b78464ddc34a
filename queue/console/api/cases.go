package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
	"postern/queue/fulfil"
)

// caseRow is a case in a list: no address, no text.
type caseRow struct {
	Number     string             `json:"number"`
	Controller string             `json:"controller"`
	State      queue.State        `json:"state"`
	Kind       classifier.Kind    `json:"kind"`
	Labels     []classifier.Label `json:"labels"`
	Unsure     bool               `json:"unsure"` // a person has to read it
	Language   string             `json:"language"`
	Regime     string             `json:"regime"`
	Rule       string             `json:"rule"`
	Grade      queue.Grade        `json:"grade"`
	Received   time.Time          `json:"received"`
	Due        time.Time          `json:"due"`
	Extended   bool               `json:"extended"`
	Ended      time.Time          `json:"ended,omitzero"`
	Owner      string             `json:"owner,omitempty"`
	Flags      []string           `json:"flags"`
	Linked     []string           `json:"linked"`
	Version    int64              `json:"version"`
}

func rowOf(k *queue.Case) caseRow {
	return caseRow{
		Number: k.Number, Controller: k.Controller, State: k.State, Kind: k.Kind, Labels: append([]classifier.Label{}, k.Labels...), Unsure: k.Abstain,
		Language: k.Language, Regime: k.Regime, Rule: k.Rule, Grade: k.Grade, Received: k.Received, Due: k.Due, Extended: k.Extended,
		Ended: k.EndedAt, Owner: k.Owner, Flags: append([]string{}, k.Flags...), Linked: append([]string{}, k.Linked...), Version: k.Version,
	}
}

// caseWhole is a case with what people wrote.
type caseWhole struct {
	caseRow
	Mails    []caseMail        `json:"mails"`
	Events   []caseEvent       `json:"events"`
	Tasks    []caseTask        `json:"tasks"`
	Letters  []caseLetter      `json:"letters"`
	Proposed map[string]string `json:"proposed"` // act → who proposed it
	Holds    []caseHold        `json:"holds"`
	Breach   *queue.Breach     `json:"breach,omitempty"`
}

// caseHold is an address that a mail named; it is not mailed until somebody
// decides.
type caseHold struct {
	Hold    string `json:"hold"` // names it, for the decision
	Address string `json:"address"`
	Decided string `json:"decided,omitempty"`
}

type caseMail struct {
	Received time.Time `json:"received"`
	From     string    `json:"from"`
	Subject  string    `json:"subject"`
	Text     string    `json:"text"`
	GradeWhy string    `json:"grade_why,omitempty"`

	Files []mailFile `json:"files"`
}

type caseEvent struct {
	Seq    int               `json:"seq"`
	Time   time.Time         `json:"time"`
	Actor  string            `json:"actor"`
	Action queue.Action      `json:"action"`
	Reason string            `json:"reason,omitempty"`
	From   queue.State       `json:"from,omitempty"`
	To     queue.State       `json:"to,omitempty"`
	Data   map[string]string `json:"data,omitempty"`
	Note   string            `json:"note,omitempty"`
}

type caseTask struct {
	Index  int           `json:"index"`
	System string        `json:"system"`
	Verb   fulfil.Verb   `json:"verb"`
	Status fulfil.Status `json:"status,omitempty"`
	Law    string        `json:"law,omitempty"`
	Until  string        `json:"until,omitempty"`
	Count  int           `json:"count"`
	DryRun bool          `json:"dry_run"`
	Due    time.Time     `json:"due,omitzero"`
}

type caseLetter struct {
	Index    int    `json:"index"`
	Status   string `json:"status"`
	Subject  string `json:"subject"`
	Language string `json:"language"`
	Effect   string `json:"effect"`
	Text     string `json:"text"`
}

func tasksOf(list []queue.Task) []caseTask {
	out := make([]caseTask, len(list))
	for i, t := range list {
		out[i] = caseTask{t.Index, t.System, t.Verb, t.Status, t.Law, t.Until, t.Count, t.DryRun, t.Due}
	}
	return out
}

// visible tells whether the token may see anything of a case.
func (c *call) visible(k *queue.Case) bool {
	return c.token.Has(CasesConfidential) || k.Role == "" && !slices.Contains(k.Flags, queue.FlagConfidential)
}

// listCases pages through cases, those due first. The index is never older than
// the request.
func listCases(c *call) (answer, error) {
	limit, err := c.limit()
	if err != nil {
		return answer{}, err
	}
	behind, err := casesAfter(c.query("cursor"))
	if err != nil {
		return answer{}, err
	}
	picks, err := c.caseFilter()
	if err != nil {
		return answer{}, err
	}
	s, _, err := c.a.d.Index.Snapshot(c.ctx())
	if err != nil {
		return answer{}, err
	}
	rows, last, more := []caseRow{}, (*queue.Case)(nil), false
	for _, k := range s.Cases {
		if !picks(k) || !behind(k) {
			continue
		}
		if len(rows) == limit {
			more = true
			break
		}
		rows, last = append(rows, rowOf(k)), k
	}
	out := map[string]any{"cases": rows}
	if more {
		out["next"] = caseCursor(last)
	}
	return answer{status: 200, body: out, etag: fmt.Sprintf(`"%d-%s"`, s.Tick, hashOf(c.r.URL.RawQuery, c.token.ID)[:12])}, nil
}

// caseFilter reads the filters of a list.
func (c *call) caseFilter() (func(*queue.Case) bool, error) {
	q := c.r.URL.Query()
	before, err := c.day("due_before", time.Time{})
	if err != nil {
		return nil, err
	}
	live, only, err := c.flag("live")
	if err != nil {
		return nil, err
	}
	in := func(name, v string) bool { return !q.Has(name) || slices.Contains(q[name], v) }
	return func(k *queue.Case) bool {
		return c.visible(k) && in("state", string(k.State)) && in("language", k.Language) && in("controller", k.Controller) && in("owner", k.Owner) &&
			(!only || live == k.State.Live()) && (before.IsZero() || k.State.Live() && k.Due.Before(before)) &&
			(!q.Has("label") || slices.ContainsFunc(k.Labels, func(l classifier.Label) bool { return slices.Contains(q["label"], string(l)) })) &&
			(!q.Has("flag") || slices.ContainsFunc(k.Flags, func(f string) bool { return slices.Contains(q["flag"], f) }))
	}, nil
}

// personCases gives the cases of one person.
func personCases(c *call) (answer, error) {
	controller, who, err := c.about("cases")
	if err != nil {
		return answer{}, err
	}
	rows, seen := []caseRow{}, map[string]bool{}
	for _, id := range c.a.d.Keyring.Identities(controller, who) {
		list, err := c.a.d.Cases.List(c.ctx(), queue.Filter{Subject: id.ID, Controller: controller})
		if err != nil {
			return answer{}, err
		}
		for i := range list {
			if k := &list[i]; c.visible(k) && !seen[k.Number] {
				rows, seen[k.Number] = append(rows, rowOf(k)), true
			}
		}
	}
	return ok(map[string]any{"cases": rows})
}

// open finds the case of the path that the token may see.
func (c *call) open() (queue.Case, []queue.Event, error) {
	k, events, err := c.a.d.Cases.Show(c.ctx(), c.path("number"))
	if err == nil && !c.visible(&k) {
		err = queue.ErrUnknown
	}
	return k, events, err
}

// showCase gives all of a case; the look is recorded first.
func showCase(c *call) (answer, error) {
	k, events, err := c.open()
	if err != nil {
		return answer{}, err
	}
	if err := c.a.d.Cases.RecordView(c.ctx(), queue.View{Actor: c.actor(), Case: k.Number, What: "case"}); err != nil {
		return answer{}, err
	}
	tasks, err := c.a.d.Cases.Tasks(c.ctx(), k.Number)
	if err != nil {
		return answer{}, err
	}
	letters, status, err := c.a.d.Cases.Letters(c.ctx(), k.Number)
	if err != nil {
		return answer{}, err
	}
	proposed, err := c.a.d.Cases.Proposals(c.ctx(), k.Number)
	if err != nil {
		return answer{}, err
	}
	holds, err := c.a.d.Cases.Holds(c.ctx(), k.Number)
	if err != nil {
		return answer{}, err
	}
	out := caseWhole{caseRow: rowOf(&k), Mails: []caseMail{}, Events: []caseEvent{}, Tasks: tasksOf(tasks), Letters: []caseLetter{}, Proposed: proposed, Holds: []caseHold{}}
	if b, known, err := c.a.d.Cases.BreachOf(c.ctx(), k.Number); err != nil {
		return answer{}, err
	} else if known {
		out.Breach = &b
	}
	for _, h := range holds {
		out.Holds = append(out.Holds, caseHold{holdName(h), h.Address.Plain(), h.Decided})
	}
	for _, m := range k.Mails {
		out.Mails = append(out.Mails, caseMail{m.Received, m.From.Plain(), m.Subject, m.Text, m.GradeWhy, filesOf(m.Attachments)})
	}
	for _, e := range events {
		out.Events = append(out.Events, caseEvent{e.Seq, e.Time, e.Actor, e.Action, e.Reason, e.From, e.To, e.Data, e.Note})
	}
	for i, l := range letters {
		out.Letters = append(out.Letters, caseLetter{i, status[i], l.Subject, l.Language, string(l.Effect), l.Text})
	}
	return answer{status: 200, body: out, etag: caseTag(&k, events)}, nil
}

func caseTag(k *queue.Case, events []queue.Event) string {
	return fmt.Sprintf(`"%d-%d"`, k.Version, len(events))
}

// do serves a request unless it was made for a case as it is no more (RFC 9110
// section 13.1.1). Two orders that come at the same moment may both be served:
// each is still one that the state of the case allows.
func (rt *route) do(c *call) (answer, error) {
	want := c.r.Header.Get("If-Match")
	if want == "" || rt.method == http.MethodGet || !strings.HasPrefix(rt.path, "/cases/{number}/") {
		return rt.serve(c)
	}
	k, events, err := c.open()
	if err != nil {
		return answer{}, err
	}
	if tag := caseTag(&k, events); !slices.ContainsFunc(strings.Split(want, ","), func(t string) bool { t = strings.TrimSpace(t); return t == tag || t == "*" }) {
		return answer{}, problem("changed", "the case is not as it was shown any more: look at it again")
	}
	return rt.serve(c)
}

// changed gives the case as it is after an act.
func (c *call) changed(number string) (answer, error) {
	k, _, err := c.a.d.Cases.Show(c.ctx(), number)
	if err != nil {
		return answer{}, err
	}
	return ok(rowOf(&k))
}

type newCaseRequest struct {
	Controller string    `json:"controller"`
	Way        string    `json:"way"`
	Received   time.Time `json:"received"`
	Address    string    `json:"address"`
	Name       string    `json:"name"`
	Text       string    `json:"text"`
	Labels     []string  `json:"labels"`
	Language   string    `json:"language"`
}

// newCase makes a case of a request that was no mail. Opt-outs in it bind at
// once.
func newCase(c *call) (answer, error) {
	var r newCaseRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	b := queue.ByHand{Way: r.Way, Received: r.Received, Name: r.Name, Text: r.Text, Language: r.Language, Actor: c.actor(), Key: c.event()}
	var err error
	if b.Controller, err = c.controller(r.Controller); err != nil {
		return answer{}, err
	}
	if r.Address != "" {
		if b.Address, err = person("address", r.Address); err != nil {
			return answer{}, err
		}
	}
	if b.Labels, err = labelsOf(r.Labels); err != nil {
		return answer{}, err
	}
	switch {
	case !slices.Contains([]string{"post", "phone", "counter", "form"}, r.Way):
		return answer{}, bad("way", "is none of post, phone, counter, form")
	case r.Received.IsZero() || r.Received.After(c.now()):
		return answer{}, bad("received", "is missing or in the future")
	}
	ref, err := c.a.d.Cases.OpenByHand(c.ctx(), b)
	if err != nil {
		return answer{}, err
	}
	k, _, err := c.a.d.Cases.Show(c.ctx(), ref.Number)
	if err != nil {
		return answer{}, err
	}
	return created(rowOf(&k))
}

// letterTo reads another address than the person's.
func letterTo(text string) (address.Address, error) {
	if text == "" {
		return address.Address{}, nil
	}
	return person("to", text)
}
