package consent

import (
	"context"
	"fmt"
	"strings"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// binder is one opt-out on its way: journal, Redis, and again under a new id
// where the given id names an older one that no longer stands.
type binder struct {
	subject    address.SubjectID
	controller string
	id         eventID
	build      func(id, repeats eventID) (part, ledger.Record)
	stands     func(log string) (eventID, bool, error) // the event by which the log, as stored, still says no
	terms      string                                  // shared evidence of a consent event, or ""
	reused     bool                                    // the id is the caller's: it may have been used and undone before
}

// bind makes an opt-out durable and binding. With Redis away the id comes with
// an error wrapping ErrStoreUnavailable: this node heeds it already, and Run
// brings it to Redis.
func (r *Registry) bind(ctx context.Context, b binder) (string, error) {
	first := b.id
	var repeats eventID
	for {
		p, rec := b.build(b.id, repeats)
		c := &change{subject: b.subject, controller: b.controller, parts: []part{p}}
		if b.terms != "" {
			c.parts = append(c.parts, part{fieldTerms, b.terms})
		}
		if err := r.journal.write([]*change{c}, []ledger.Record{rec}); err != nil {
			return "", err
		}
		standing, err := bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) (eventID, error) {
			return r.bring(ctx, b, c, p)
		})
		if err != nil {
			r.journal.setStuck([]*change{c})
		}
		if standing != (eventID{}) {
			b.id = standing
		}
		if again := repeats != (eventID{}); again || (err == nil && standing != eventID{}) {
			return b.finish(err)
		}
		// The person undid the first one and says no again by the same link;
		// or that can't be seen now, and saying no twice does no harm.
		failed := err
		repeats = first
		if b.id, err = idFor(b.subject, ""); err != nil {
			return "", err
		}
		if failed != nil && !b.reused {
			b.id = first
			return b.finish(failed)
		}
	}
}

// bring applies c to Redis and gives the id by which the person's no stands
// there: a new one or, where the id was used before, that of then. Zero where
// that one was undone since.
func (r *Registry) bring(ctx context.Context, b binder, c *change, p part) (eventID, error) {
	added, err := r.applyJournalled(ctx, []*change{c})
	if err != nil || added[0] > 0 {
		return b.id, err
	}
	log, err := r.rdb.HGet(ctx, subjectKey(b.subject), p.field).Result()
	if err != nil {
		return eventID{}, err
	}
	id, stands, err := b.stands(log)
	if !stands {
		id = eventID{}
	}
	return id, err
}

func (b binder) finish(err error) (string, error) {
	id := b.id.of(b.subject)
	if err != nil {
		return id, fmt.Errorf("bring opt-out %s to the store: %w", id, err)
	}
	return id, nil
}

// Suppress stops mail to a person. It is journalled and recorded in the ledger
// in one fsync, then brought to Redis, then answered. With Redis away the id
// is given and the error wraps ErrStoreUnavailable: the suppression binds this
// node already and reaches the others when Redis is back. The same ID again is
// the same suppression while it stands. Errors wrap ErrRefused where something
// is missing.
func (r *Registry) Suppress(ctx context.Context, s Suppression) (id string, err error) {
	b, err := r.suppression(s)
	if err != nil {
		return "", err
	}
	r.met.optOuts.WithLabelValues(string(s.Reason), sourceLabel(s.Source)).Inc()
	if id, err = r.bind(ctx, b); err != nil {
		return id, err
	}
	ids := []string{id}
	err = r.outrankSignUps(ctx, []Suppression{s}, []binder{b}, ids)
	return ids[0], err
}

// SuppressAll is Suppress for several: one fsync for all of them and one flight
// to Redis. Those whose ID was used before are then done one by one. The ids
// come in order; none with an error, after which all may be repeated.
func (r *Registry) SuppressAll(ctx context.Context, list []Suppression) (ids []string, err error) {
	ids = make([]string, len(list))
	changes, records := make([]*change, len(list)), make([]ledger.Record, len(list))
	binders := make([]binder, len(list))
	for i, s := range list {
		b, err := r.suppression(s)
		if err != nil {
			return nil, err
		}
		binders[i] = b
		p, rec := b.build(b.id, eventID{})
		ids[i], records[i] = b.id.of(b.subject), rec
		changes[i] = &change{subject: b.subject, controller: b.controller, parts: []part{p}}
	}
	if len(list) == 0 {
		return nil, nil
	}
	if err := r.journal.write(changes, records); err != nil {
		return nil, err
	}
	added, err := bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) ([]int, error) {
		return r.applyJournalled(ctx, changes)
	})
	if err != nil {
		r.journal.setStuck(changes)
		return nil, fmt.Errorf("bring %d opt-outs to the store: %w", len(list), err)
	}
	for i, s := range list {
		if added[i] > 0 {
			r.met.optOuts.WithLabelValues(string(s.Reason), sourceLabel(s.Source)).Inc()
			continue
		}
		if ids[i], err = r.Suppress(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := r.outrankSignUps(ctx, list, binders, ids); err != nil {
		return nil, err
	}
	return ids, nil
}

// suppression checks s and makes the opt-out of it.
func (r *Registry) suppression(s Suppression) (binder, error) {
	now := r.opts.Now()
	if err := checkSuppression(s); err != nil {
		return binder{}, err
	}
	if s.Time.IsZero() || s.Time.After(now) {
		s.Time = now
	}
	return r.suppressionAt(s)
}

// suppressionAt makes the opt-out of a checked s at its time, whatever this
// node's clock says.
func (r *Registry) suppressionAt(s Suppression) (binder, error) {
	subject := r.subjectOf(s.Controller, s.Address, s.Subject)
	first, err := idFor(subject, s.ID)
	if err != nil {
		return binder{}, err
	}
	build := func(id, repeats eventID) (part, ledger.Record) {
		x := suppEntry{
			id: id, target: repeats, op: opSet, at: s.Time.UnixMilli(), reason: s.Reason, scope: s.Scope,
			source: s.Source, caseNo: s.Case, actor: s.Actor,
		}
		if s.Scope == ScopeStream {
			x.stream = s.Stream
		}
		if s.Scope == ScopePurpose {
			x.purpose = s.Purpose
		}
		return part{fieldSuppression, string(x.encode())}, s.record(subject, id)
	}
	stands := func(log string) (eventID, bool, error) {
		entries, err := decodeSuppEntries(log, nil)
		for _, x := range entries {
			if x.op == opSet && (x.id == first || x.target == first) && closedBy(entries, x) == nil && !liftedAtAll(entries, x) {
				return x.id, true, err
			}
		}
		return first, false, err
	}
	return binder{subject: subject, controller: s.Controller, id: first, build: build, stands: stands, reused: s.ID != ""}, nil
}

// liftedAtAll tells whether any sign-up came after e.
func liftedAtAll(log []suppEntry, e suppEntry) bool {
	for _, l := range log {
		if l.lifts(log, e) {
			return true
		}
	}
	return false
}

func checkSuppression(s Suppression) error {
	var faults []string
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, text)
		}
	}
	fault(!plainName(s.Controller), "controller is missing")
	fault(s.Address.IsZero() && s.Subject.IsZero(), "address or subject is missing")
	fault(codeOf(scopeCodes, s.Scope) == 0, "scope is none of stream, purpose, controller, all")
	fault(codeOf(reasonCodes, s.Reason) == 0, "reason is unknown")
	fault(s.Scope == ScopeStream && s.Stream == 0, "stream is missing")
	fault(s.Scope == ScopePurpose && !plainName(s.Purpose), "purpose is missing")
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: suppression: %s", ErrRefused, strings.Join(faults, "; "))
}

func (s Suppression) record(subject address.SubjectID, id eventID) ledger.Record {
	rec := ledger.Record{
		ID: "suppress:" + id.of(subject), Time: s.Time, Kind: ledger.KindSuppression, Controller: s.Controller,
		Subject: subject, Actor: s.Actor, Action: "suppress", Reason: string(s.Reason), Stream: s.Stream,
		Ref: id.of(subject), Data: map[string]string{"scope": string(s.Scope)},
	}
	if rec.Actor == "" {
		rec.Actor = "api"
	}
	if s.Purpose != "" {
		rec.Data["purpose"] = s.Purpose
	}
	if s.Case != "" {
		rec.Data["case"] = s.Case
	}
	return rec
}
