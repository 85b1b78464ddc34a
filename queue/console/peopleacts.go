package console

import (
	"errors"
	"net/http"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/queue"
)

// actOnPerson withdraws a consent, suppresses, releases what was misread, or
// starts an erasure. The rooms below record each of it.
func (c *Console) actOnPerson(v *visit) error {
	if c.d.Persons == nil {
		return errNotFound
	}
	a, ok := v.openHandle()
	if !ok {
		return errHandle
	}
	k, ok := c.d.Streams().Controller(v.field("controller"))
	if !ok {
		return errForm
	}
	path := "/people/" + v.r.PathValue("handle")
	switch v.field("act") {
	case "withdraw":
		_, err := c.d.Persons.Record(v.ctx(), consent.Event{Time: v.now(), Action: consent.Withdrawn, Controller: k.ID, Purpose: v.field("purpose"),
			Address: a, Method: "console", Source: "console", Actor: v.user.Actor()})
		if errors.Is(err, consent.ErrRefused) {
			return errForm
		}
		if err != nil {
			return err
		}
		return v.redirect(path, "person-withdrawn")
	case "suppress":
		scope := consent.Scope(v.field("scope"))
		if scope != consent.ScopeController && scope != consent.ScopeAll {
			return errForm
		}
		_, err := c.d.Persons.Suppress(v.ctx(), consent.Suppression{Time: v.now(), Controller: k.ID, Address: a, Scope: scope, Reason: consent.Manual,
			Source: "console", Actor: v.user.Actor()})
		if err != nil {
			return err
		}
		return v.redirect(path, "person-suppressed")
	case "release":
		return v.release(k.ID, a, path)
	case "erase":
		return v.startErasure(k.ID, a)
	}
	return errForm
}

// release ends a suppression that a machine or an operator set wrongly, with
// the evidence for that. What the person said themselves is not theirs to end.
func (v *visit) release(controller string, a address.Address, path string) error {
	p, err := v.c.d.Persons.Profile(v.ctx(), controller, a)
	if err != nil {
		return err
	}
	found := false
	for _, s := range p.Suppressions {
		found = found || s.ID == v.field("id") && v.suppressionView(s, nil, time.UTC).Release
	}
	if !found {
		return errForm
	}
	if len(v.field("evidence")) < 10 {
		v.status = http.StatusBadRequest
		return v.showPerson(map[string]any{"Fault": "people.evidence_missing", "Open": v.field("id")})
	}
	err = v.c.d.Persons.Release(v.ctx(), consent.Release{ID: v.field("id"), Actor: v.user.Actor(), Reason: v.field("evidence"), Time: v.now()})
	if errors.Is(err, consent.ErrRefused) {
		v.status = http.StatusBadRequest
		return v.showPerson(map[string]any{"Fault": "people.evidence_long", "Open": v.field("id")})
	}
	if err != nil {
		return err
	}
	return v.redirect(path, "person-released")
}

// startErasure opens a case of a request that was no mail, and leads to it:
// nothing is deleted before identity and approval.
func (v *visit) startErasure(controller string, a address.Address) error {
	received, err := time.ParseInLocation(time.DateOnly, v.field("received"), v.c.d.Cases.NewPacer().Zone(controller))
	if err != nil || received.After(v.now()) {
		v.status = http.StatusBadRequest
		return v.showPerson(map[string]any{"Fault": "byhand.date_bad", "Open": "erase"})
	}
	text := v.field("text")
	if text == "" {
		v.status = http.StatusBadRequest
		return v.showPerson(map[string]any{"Fault": "byhand.text_missing", "Open": "erase"})
	}
	ref, err := v.c.d.Cases.OpenByHand(v.ctx(), queue.ByHand{Controller: controller, Way: v.field("way"), Received: received, Address: a, Text: text,
		Labels: []classifier.Label{classifier.Erasure}, Language: v.words.tag, Actor: v.user.Actor(), Key: v.field("key")})
	if err != nil {
		return err
	}
	return v.redirect(casePath(ref.Number), "opened")
}
