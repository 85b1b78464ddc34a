package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/stream"
	"postern/queue"
)

// Persons is what is known of a person's consent; *consent.Registry is one.
type Persons interface {
	Profile(ctx context.Context, controller string, a address.Address) (consent.Profile, error)
	Record(ctx context.Context, e consent.Event) (string, error)
	Suppress(ctx context.Context, s consent.Suppression) (string, error)
	Release(ctx context.Context, r consent.Release) error
}

// Records are those of the ledgers of all nodes; *peers.Peers is one. An error
// that wraps peers.ErrAway says that what was yielded is not the whole.
type Records interface {
	Query(ctx context.Context, f ledger.Filter, yield func(ledger.Entry) error) error
}

// sentMost is how many lines of the send record the page on screen shows; on
// paper and as JSON it is whole.
const sentMost = 200

// dossier is what is held on one address under one controller.
type dossier struct {
	ID, Company  string
	Consents     []consentView
	Suppressions []suppressionView
	Cases        []row
	Hidden       int // cases the visitor's roles don't show
	Sent         []sentView
	SentMore     bool
	Purposes     []consentView // those that can be withdrawn

	profile consent.Profile
	loc     *time.Location
}

// Known tells whether anything is held.
func (d *dossier) Known() bool {
	return len(d.Consents)+len(d.Suppressions)+len(d.Cases)+len(d.Sent)+d.Hidden > 0
}

type consentView struct {
	Purpose, Title string
	Status         consent.Status
	Tone           string
	Basis          consent.Basis
	Since, Expires time.Time
	History        []consentEvent
}

type consentEvent struct {
	consent.EventRecord
	At    time.Time
	Actor string
	Doubt bool // the same wording as the event before: not said twice
}

type suppressionView struct {
	consent.SuppressionRecord
	At, EndedAt time.Time
	By, EndedBy string
	What        string // the stream or purpose it binds
	Release     bool   // an operator may release it
}

// sentView is one mail of the send record: what was decided, and what became
// of it.
type sentView struct {
	At     time.Time `json:"time"`
	Stream string    `json:"stream"`
	What   string    `json:"result"` // "allow", "deny", "defer", "delivered", ...
	Reason string    `json:"reason,omitempty"`
	Ended  time.Time `json:"ended,omitzero"` // of the outcome
}

// peoplePage takes an address.
func (c *Console) peoplePage(v *visit) error {
	if c.d.Persons == nil {
		return errNotFound
	}
	return v.page("people", "people.title", map[string]any{})
}

// findPerson takes an address by POST and leads to the page about it by a
// handle.
func (c *Console) findPerson(v *visit) error {
	if c.d.Persons == nil {
		return errNotFound
	}
	a, err := address.Parse(v.field("address"))
	if err != nil {
		v.status = http.StatusBadRequest
		return v.page("people", "people.title", map[string]any{"Fault": "people.address_bad", "Address": v.field("address")})
	}
	handle, err := v.sealHandle(a)
	if err != nil {
		return err
	}
	return v.redirect("/people/"+handle, "")
}

// person opens the handle and gathers what is held; what is shown was recorded
// before.
func (v *visit) person(what string) (address.Address, []*dossier, error) {
	if v.c.d.Persons == nil {
		return address.Address{}, nil, errNotFound
	}
	a, ok := v.openHandle()
	if !ok {
		return a, nil, errHandle
	}
	var all []*dossier
	for _, k := range v.c.d.Streams().Controllers() {
		d, err := v.dossier(k, a)
		if err != nil {
			return a, nil, err
		}
		rec := ledger.Record{Time: v.now(), Kind: ledger.KindView, Controller: k.ID, Actor: v.user.Actor(), Action: what}
		if len(d.profile.Subjects) > 0 {
			rec.Subject = d.profile.Subjects[0]
		}
		if err := v.c.d.Trail.Append(v.ctx(), rec); err != nil {
			return a, nil, fmt.Errorf("prove the look at a person: %w", err)
		}
		all = append(all, d)
	}
	return a, all, nil
}

// errHandle says that the way to a person's page is over.
var errHandle = errors.New("the handle of a person is over or of another session")

func (v *visit) dossier(k stream.Controller, a address.Address) (*dossier, error) {
	d := &dossier{ID: k.ID, Company: k.Name, loc: v.c.d.Cases.NewPacer().Zone(k.ID)}
	var err error
	if d.profile, err = v.c.d.Persons.Profile(v.ctx(), k.ID, a); err != nil {
		return nil, err
	}
	titles := map[string]string{}
	for _, st := range v.c.d.Streams().Streams() {
		if st.Controller == k.ID && st.Purpose != "" && titles[st.Purpose] == "" {
			titles[st.Purpose] = cmp.Or(st.Title, st.Name)
		}
	}
	for _, x := range d.profile.Consents {
		c := v.consentView(x, d.loc)
		c.Title = cmp.Or(titles[x.Purpose], x.Purpose)
		d.Consents = append(d.Consents, c)
		if x.Status == consent.StatusActive || x.Status == consent.StatusPending {
			d.Purposes = append(d.Purposes, c)
		}
	}
	for i := len(d.profile.Suppressions) - 1; i >= 0; i-- {
		d.Suppressions = append(d.Suppressions, v.suppressionView(d.profile.Suppressions[i], titles, d.loc))
	}
	if err := v.addCases(d); err != nil {
		return nil, err
	}
	return d, v.addSent(d)
}

func (v *visit) consentView(x consent.Consent, loc *time.Location) consentView {
	c := consentView{Purpose: x.Purpose, Status: x.Status, Basis: x.Basis, Since: inZone(x.Since, loc), Expires: inZone(x.Expires, loc)}
	switch x.Status {
	case consent.StatusActive:
		c.Tone = "ok"
	case consent.StatusPending, consent.StatusUnproven:
		c.Tone = "warn"
	}
	for i, e := range x.History {
		ev := consentEvent{EventRecord: e, At: e.Time.In(loc), Actor: v.actor(e.Terms.Actor)}
		ev.Doubt = i > 0 && e.Terms.Wording != "" && e.Terms.Wording == x.History[i-1].Terms.Wording
		c.History = append(c.History, ev)
	}
	return c
}

// inZone moves a time that is one.
func inZone(t time.Time, loc *time.Location) time.Time {
	if t.IsZero() {
		return t
	}
	return t.In(loc)
}

// releasable are the suppressions an operator may find wrong. What the person
// said themselves is ended by the person alone (design D9).
var releasable = []consent.Reason{consent.Bounced, consent.Complained, consent.Manual, consent.Held}

func (v *visit) suppressionView(s consent.SuppressionRecord, titles map[string]string, loc *time.Location) suppressionView {
	out := suppressionView{SuppressionRecord: s, At: s.Time.In(loc), EndedAt: inZone(s.Ended, loc), By: v.actor(s.Actor), EndedBy: v.actor(s.EndActor),
		Release: s.Stands() && slices.Contains(releasable, s.Reason)}
	switch s.Scope {
	case consent.ScopePurpose:
		out.What = cmp.Or(titles[s.Purpose], s.Purpose)
	case consent.ScopeStream:
		if st, ok := v.c.d.Streams().ByNumber(s.Stream); ok {
			out.What = cmp.Or(st.Title, st.Name)
		}
	}
	return out
}

func (v *visit) addCases(d *dossier) error {
	var cases []*queue.Case
	for _, id := range d.profile.Subjects {
		list, err := v.c.d.Cases.List(v.ctx(), queue.Filter{Controller: d.ID, Subject: id})
		if err != nil {
			return err
		}
		for i := range list {
			if !v.visible(&list[i]) {
				d.Hidden++
				continue
			}
			cases = append(cases, &list[i])
		}
	}
	slices.SortFunc(cases, func(a, b *queue.Case) int { return b.Received.Compare(a.Received) })
	var err error
	d.Cases, err = v.rows(v.c.d.Cases.NewPacer(), cases)
	return err
}

// addSent reads the send record: the ledgers of all nodes, by the person's
// index. A verdict and the outcome that came of it are one line.
func (v *visit) addSent(d *dossier) error {
	if v.c.d.Records == nil {
		return nil
	}
	place := map[string]int{} // spool id → line
	for _, id := range d.profile.Subjects {
		err := v.records(ledger.Filter{Subject: id, Controller: d.ID}, func(e ledger.Entry) error {
			if e.Kind != ledger.KindVerdict && e.Kind != ledger.KindDelivery {
				return nil
			}
			i, known := place[e.Ref]
			if e.Kind == ledger.KindDelivery && known && e.Ref != "" {
				d.Sent[i].What, d.Sent[i].Reason, d.Sent[i].Ended = e.Action, e.Reason, e.Time.In(d.loc)
				return nil
			}
			s := sentView{At: e.Time.In(d.loc), What: e.Action, Reason: e.Reason}
			if st, ok := v.c.d.Streams().ByNumber(e.Stream); ok {
				s.Stream = cmp.Or(st.Title, st.Name)
			}
			place[e.Ref] = len(d.Sent)
			d.Sent = append(d.Sent, s)
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the send record: %w", err)
		}
	}
	slices.SortStableFunc(d.Sent, func(a, b sentView) int { return b.At.Compare(a.At) })
	return nil
}

// personPage shows what is held on an address, with what can be done.
func (c *Console) personPage(v *visit) error { return v.showPerson(map[string]any{}) }

func (v *visit) showPerson(data map[string]any) error {
	a, all, err := v.person("person")
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(all, (*dossier).Known)
	for _, d := range all {
		if len(d.Sent) > sentMost {
			d.Sent, d.SentMore = d.Sent[:sentMost], true
		}
	}
	data["Address"], data["Handle"], data["All"], data["Known"], data["Today"] = a.Plain(), v.r.PathValue("handle"), all, known, v.now().Format(time.DateOnly)
	data["Several"] = len(all) > 1
	return v.page("person", "people.person", data)
}

// printPerson is the same on paper: one page without acts.
func (c *Console) printPerson(v *visit) error {
	a, all, err := v.person("person-print")
	if err != nil {
		return err
	}
	return v.page("personprint", "people.person", map[string]any{"Address": a.Plain(), "Handle": v.r.PathValue("handle"), "All": all, "Now": v.now().In(v.zone("")), "By": v.user.Name})
}

// exportPerson hands out what is held as JSON.
func (c *Console) exportPerson(v *visit) error {
	a, all, err := v.person("person-export")
	if err != nil {
		return err
	}
	if v.part != nil { // half of what is held must not look like all of it
		return v.part
	}
	type ownCase struct {
		Number   string      `json:"number"`
		Received time.Time   `json:"received"`
		State    queue.State `json:"state"`
	}
	type held struct {
		Controller string          `json:"controller"`
		Consent    json.RawMessage `json:"consent"`
		Sent       []sentView      `json:"sent"`
		Cases      []ownCase       `json:"cases"`
	}
	out := struct {
		Address string    `json:"address"`
		At      time.Time `json:"exported"`
		Held    []held    `json:"held"`
	}{Address: a.Plain(), At: v.now().UTC()}
	for _, d := range all {
		var b bytes.Buffer
		if err := d.profile.WriteJSON(&b); err != nil {
			return err
		}
		h := held{Controller: d.ID, Consent: b.Bytes(), Sent: append([]sentView{}, d.Sent...), Cases: []ownCase{}}
		for _, r := range d.Cases {
			k, _, err := c.d.Cases.Show(v.ctx(), r.Number)
			if err != nil {
				return err
			}
			h.Cases = append(h.Cases, ownCase{k.Number, k.Received, k.State})
		}
		out.Held = append(out.Held, h)
	}
	body, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return fmt.Errorf("export person: %w", err)
	}
	v.attachment("person.json", "application/json", append(body, '\n'))
	return nil
}
