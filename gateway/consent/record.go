package consent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// Record stores one consent event and gives its id. Given by Method "form", or
// with Pending set, waits for Confirmed. Confirmed by Method "form" or "link"
// is the person's own second step: it also lifts what they had unsubscribed
// from, withdrawn or objected to for that purpose before the sign-up, and an
// erasure that was carried out before it, never a bounce, complaint, hold or
// manual entry. Withdrawn and objected
// bind every form of the address and are journalled first; if Redis is away
// then, they bind this node, the id is given and the error wraps
// ErrStoreUnavailable. The same ID again is the same event. Other errors wrap
// ErrRefused with all that is missing, or ErrNotFound for an unknown Ref.
func (r *Registry) Record(ctx context.Context, e Event) (id string, err error) {
	now := r.opts.Now()
	if err := checkEvent(e, now); err != nil {
		return "", err
	}
	if e.Time.IsZero() || e.Time.After(now) {
		e.Time = now
	}
	fresh := now.Sub(e.Time) < time.Second
	r.met.events.WithLabelValues(string(e.Action)).Inc()
	if optOut(e.Action) {
		id, err := r.recordOptOut(ctx, e)
		if err == nil && fresh {
			return r.outrank(ctx, e, id)
		}
		return id, err
	}
	if e.Action == Given || e.Action == Refreshed || e.Wording != "" {
		if e, err = ruleFor(r.opts.Rules, e.Jurisdiction, e.Time).judge(e); err != nil {
			return "", err
		}
	}
	return bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) (string, error) {
		if !e.Address.IsZero() {
			if err := r.settle(ctx, e.Controller, e.Address); err != nil {
				return "", err
			}
		}
		if e.Action == Confirmed {
			return r.recordConfirmed(ctx, e)
		}
		who := r.ring.Identify(e.Controller, e.Address)
		return r.recordOptIn(ctx, e, who, nil)
	})
}

// subjectOf is the id an opt-out is stored under.
func (r *Registry) subjectOf(controller string, a address.Address, s address.SubjectID) address.SubjectID {
	if a.IsZero() {
		return s
	}
	return r.ring.Identify(controller, a).ID
}

func (r *Registry) recordOptOut(ctx context.Context, e Event) (string, error) {
	subject := r.subjectOf(e.Controller, e.Address, e.Subject)
	text, hash, full, err := termsOf(e).encode()
	if err != nil {
		return "", err
	}
	id, err := idFor(subject, e.ID)
	if err != nil {
		return "", err
	}
	build := func(id, _ eventID) (part, ledger.Record) {
		x := entry{
			id: id, action: e.Action, basis: e.Basis, at: e.Time.UnixMilli(), terms: hash,
			person: personal(e.Method), extras: extras{IP: e.IP, UserAgent: e.UserAgent}.encode(),
		}
		return part{consentField(anyForm, e.Purpose), string(x.encode())}, recordOf(e, subject, id, full)
	}
	stands := func(log string) (eventID, bool, error) {
		events, err := decodeEntries(log, nil)
		return id, fold(events, e.Time).out(), err
	}
	return r.bind(ctx, binder{
		subject: subject, controller: e.Controller, id: id, build: build, stands: stands, reused: e.ID != "",
		terms: text,
	})
}

// outrank makes an opt-out of now win over a give that another node, whose
// clock is ahead, or this one before its clock was set right, dated after it:
// withdraw wins until a later give (CON-5).
func (r *Registry) outrank(ctx context.Context, e Event, id string) (string, error) {
	subject, _, err := parseID(id)
	if err != nil {
		return id, err
	}
	logs, err := bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) (map[logKey][]entry, error) {
		return r.subjectLogs(ctx, subject)
	})
	if err != nil {
		return id, fmt.Errorf("look after opt-out %s: %w", id, err)
	}
	ahead := int64(0)
	for key, events := range logs {
		for _, x := range events {
			gives := x.action == Given || x.action == Confirmed || x.action == Refreshed
			if key.purpose == e.Purpose && gives && x.at > e.Time.UnixMilli() {
				ahead = max(ahead, x.at)
			}
		}
	}
	if ahead == 0 {
		return id, nil
	}
	e.ID, e.Time = "", time.UnixMilli(ahead+1).UTC()
	return r.recordOptOut(ctx, e)
}

// recordOf is what the ledger keeps of a consent event: closed words and
// hashes, so that wording and state can be proven without naming anyone.
func recordOf(e Event, s address.SubjectID, id eventID, termsFull string) ledger.Record {
	actor := e.Actor
	if actor == "" {
		actor = "api"
	}
	return ledger.Record{
		ID: "consent:" + id.of(s), Time: e.Time, Kind: ledger.KindConsent, Controller: e.Controller, Subject: s,
		Actor: actor, Action: string(e.Action), Reason: string(e.Basis), Ref: id.of(s),
		Data: map[string]string{"purpose": e.Purpose, "terms": termsFull},
	}
}

// storeTerms keeps the shared part of the evidence before anything refers to it.
func (r *Registry) storeTerms(ctx context.Context, text string, h termsHash) error {
	fresh, err := r.rdb.SetNX(ctx, termsKey(h), text, 0).Result()
	if err != nil || fresh {
		return err
	}
	had, err := r.rdb.Get(ctx, termsKey(h)).Result()
	if err == nil && had != text {
		return fmt.Errorf("%w: terms %s hold another content", ErrDamaged, h)
	}
	return err
}

// recordOptIn stores a give. lift, if set, is written in the same step.
func (r *Registry) recordOptIn(ctx context.Context, e Event, who address.Identity, lift *suppEntry) (string, error) {
	id, err := idFor(who.ID, e.ID)
	if err != nil {
		return "", err
	}
	x := entry{
		id: id, action: e.Action, basis: e.Basis, at: e.Time.UnixMilli(),
		imported: e.Method == "import", person: personal(e.Method),
		pending: e.Action == Given && (e.Pending || e.Method == "form"),
	}
	own := extras{IP: e.IP, UserAgent: e.UserAgent, Ref: e.Ref, Mail: e.MailRef, Guardian: e.Guardian}
	if !e.Expires.IsZero() {
		x.expires = e.Expires.Unix()
	}
	if x.pending {
		own.Until, x.expires = x.expires, 0
		if r.opts.PendingFor != maxPending {
			x.expires = e.Time.Add(r.opts.PendingFor).Unix()
		}
	}
	x.extras = own.encode()
	text, hash, full, err := termsOf(e).encode()
	if err != nil {
		return "", err
	}
	x.terms = hash
	if err := r.storeTerms(ctx, text, hash); err != nil {
		return "", err
	}
	// The ledger first: an event that it tells of and Redis missed mails nobody.
	if err := r.journal.record([]ledger.Record{recordOf(e, who.ID, id, full)}); err != nil {
		return "", err
	}
	c := &change{subject: who.ID, controller: e.Controller, parts: []part{{consentField(who.Exact, e.Purpose), string(x.encode())}}}
	if lift != nil {
		c.parts = append(c.parts, part{fieldSuppression, string(lift.encode())})
	}
	if _, err = r.apply(ctx, []*change{c}); err != nil {
		return "", err // an id would say that it counts
	}
	return id.of(who.ID), nil
}

// recordConfirmed finds the sign-up that is confirmed, takes over its wording
// where the event brings none, and stores the confirmation.
func (r *Registry) recordConfirmed(ctx context.Context, e Event) (string, error) {
	su, err := r.signUp(ctx, e)
	if err != nil {
		return "", err
	}
	if su.newest {
		e.Ref = "" // the one before it: need not be said
	}
	if e.Wording == "" {
		if su.given == nil {
			return "", fmt.Errorf("%w: nothing waits for this confirmation, and it brings no wording of its own", ErrRefused)
		}
		if e, err = r.inherit(ctx, e, *su.given); err != nil {
			return "", err
		}
	}
	if !personal(e.Method) || !su.suppressed {
		return r.recordOptIn(ctx, e, su.who, nil)
	}
	since := e.Time
	if su.given != nil {
		since = su.given.time()
	}
	lift := suppEntry{op: opLift, at: since.UnixMilli(), exact: su.who.Exact, purpose: e.Purpose}
	lift.id = hashID("lift", e.Purpose, string(su.who.Exact[:]), since.UTC().Format(time.RFC3339Nano))
	return r.recordOptIn(ctx, e, su.who, &lift)
}

// signUp is what a confirmation comes upon.
type signUp struct {
	who        address.Identity
	given      *entry // the sign-up it confirms; nil where none waits
	newest     bool   // given is the last that waits
	suppressed bool   // there is something that a double opt-in may lift
}

// signUp finds the newest sign-up of the exact form that waits, or the one
// that Ref names, which wraps ErrNotFound where it is gone.
func (r *Registry) signUp(ctx context.Context, e Event) (su signUp, err error) {
	var want eventID
	if e.Ref != "" {
		if su.who.ID, want, err = parseID(e.Ref); err != nil {
			return su, fmt.Errorf("%w: %w", ErrNotFound, err)
		}
	} else {
		su.who = r.ring.Identify(e.Controller, e.Address)
	}
	all, err := r.rdb.HGetAll(ctx, subjectKey(su.who.ID)).Result()
	if err != nil {
		return su, err
	}
	logs, supp, err := decodeSubject(all, nil)
	if err != nil {
		return su, err
	}
	su.suppressed = len(supp) > 0
	for key, events := range logs {
		if key.purpose != e.Purpose || (e.Ref == "" && key.exact != su.who.Exact) {
			continue
		}
		newest := newestPending(events, e.Time, nil)
		given := newest
		if e.Ref != "" {
			given = newestPending(events, e.Time, &want)
		}
		if given != nil {
			su.given, su.who.Exact, su.newest = given, key.exact, given.id == newest.id
		}
	}
	if to := all[fieldMoved]; to != "" && e.Ref != "" && su.given == nil {
		e.Ref = to + e.Ref[len(to):] // the same event, under the newest key
		return r.signUp(ctx, e)
	}
	if e.Ref != "" && su.given == nil {
		return su, fmt.Errorf("%w: the sign-up has run out or was never made", ErrNotFound)
	}
	return su, nil
}

// newestPending finds the last sign-up that waits at t; only the one of that
// id where want is set.
func newestPending(events []entry, t time.Time, want *eventID) (found *entry) {
	for i, x := range events {
		fits := x.action == Given && x.pending && x.at <= t.UnixMilli() && !x.over(t) && (want == nil || x.id == *want)
		if fits && (found == nil || x.at > found.at) {
			found = &events[i]
		}
	}
	return found
}

// inherit gives a confirmation the evidence of its sign-up.
func (r *Registry) inherit(ctx context.Context, e Event, given entry) (Event, error) {
	text, err := r.rdb.Get(ctx, termsKey(given.terms)).Result()
	if errors.Is(err, redis.Nil) {
		return e, fmt.Errorf("%w: the wording of the sign-up is gone", ErrDamaged)
	}
	if err != nil {
		return e, err
	}
	t, err := decodeTerms(text)
	if err != nil {
		return e, err
	}
	own, err := decodeExtras(given.extras)
	if err != nil {
		return e, err
	}
	e.Wording, e.WordingVer, e.Basis, e.Conditions = t.Wording, t.WordingVer, t.Basis, t.Conditions
	e.Source, e.Language, e.Jurisdiction, e.PolicyURL = t.Source, t.Language, t.Jurisdiction, t.PolicyURL
	if e.Expires.IsZero() && own.Until != 0 {
		e.Expires = time.Unix(own.Until, 0).UTC()
	}
	return e, nil
}
