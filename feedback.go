package main

import (
	"context"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/stream"
	"postern/gateway/unsubscribe"
	"postern/intake/report"
)

// bounces tells the registry what machines report about our mail. Only a
// token of ours proves that a report is about a mail we sent: without one
// anybody could have an address suppressed, so it is only set aside (design
// D19).
type bounces struct{ node *node }

// Bounced counts a hard bounce of the person the token names.
func (b bounces) Bounced(ctx context.Context, r report.Bounce) error {
	t, st, ok := b.ours(r.Token)
	if !ok {
		return nil
	}
	for _, rcpt := range r.Recipients {
		if rcpt.Address.IsZero() || !b.is(t.Subject, st.Controller, rcpt.Address) {
			continue
		}
		if err := b.node.consent.Bounce(ctx, st.Controller, rcpt.Address, rcpt.Hard, "dsn:"+r.MessageID+r.EnvelopeID); err != nil {
			return err
		}
	}
	return nil
}

// ours opens a token and finds its stream; false where it is none of ours.
func (b bounces) ours(token string) (unsubscribe.Token, stream.Stream, bool) {
	t, err := b.node.codec.Open(token)
	if err != nil {
		return t, stream.Stream{}, false
	}
	st, ok := b.node.engine.Streams().ByNumber(t.Stream)
	return t, st, ok
}

// is tells whether an address is the subject's, under any live key.
func (b bounces) is(subject address.SubjectID, controller string, a address.Address) bool {
	for _, i := range b.node.ring.Identities(controller, a) {
		if i.ID == subject {
			return true
		}
	}
	return false
}

// Complained stops all marketing of the controller to the person at once
// (HDR-4).
func (b bounces) Complained(ctx context.Context, r report.Complaint) error {
	t, st, ok := b.ours(r.Token)
	if !ok {
		return nil
	}
	_, err := b.node.consent.Suppress(ctx, consent.Suppression{
		ID: "arf:" + r.Token, Time: r.At, Controller: st.Controller, Subject: t.Subject,
		Scope: consent.ScopeController, Reason: consent.Complained, Source: "feedback-report:" + r.Mailbox, Actor: "rule",
	})
	return err
}
