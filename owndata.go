package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/queue"
	"postern/queue/fulfil"
)

// ownVerbs are what Postern itself can do with what it holds of a person. It
// neither corrects nor restricts: it holds no data of the person's own, and
// erasure leaves only what stops further mail (GDPR Art. 17(3)(b), (e)).
var ownVerbs = []fulfil.Verb{fulfil.Export, fulfil.Erase, fulfil.Verify}

// ownData is Postern's own data as the first system that is asked: the consent
// record, suppressions, what was sent when, and the person's cases.
type ownData struct{ node *node }

// Name is the system's name in cases and packages.
func (ownData) Name() string { return "postern" }

// Do gives, deletes or looks for what is held.
func (o ownData) Do(ctx context.Context, r fulfil.Request) (fulfil.Outcome, error) {
	who, err := address.Parse(r.Address)
	if err != nil {
		return fulfil.Outcome{Status: fulfil.NotFound}, nil
	}
	switch r.Verb {
	case fulfil.Export:
		return o.export(ctx, r, who)
	case fulfil.Erase:
		return o.erase(ctx, r, who)
	}
	profile, err := o.node.consent.Profile(ctx, r.Controller, who)
	if err != nil {
		return fulfil.Outcome{}, fmt.Errorf("look for what is left of case %s: %w", r.Case, err)
	}
	if len(profile.Consents) > 0 {
		return fulfil.Outcome{Status: fulfil.Failed, Count: len(profile.Consents), Note: "consent records are left"}, nil
	}
	return fulfil.Outcome{Status: fulfil.NotFound}, nil
}

func (o ownData) erase(ctx context.Context, r fulfil.Request, who address.Address) (fulfil.Outcome, error) {
	if r.DryRun {
		profile, err := o.node.consent.Profile(ctx, r.Controller, who)
		if err != nil {
			return fulfil.Outcome{}, fmt.Errorf("look ahead in case %s: %w", r.Case, err)
		}
		return fulfil.Outcome{Status: fulfil.Erased, Count: len(profile.Consents), Note: "the suppression stays as a keyed code; proof of what was sent stays, restricted, until its time ends"}, nil
	}
	done, err := o.node.consent.Erase(ctx, r.Controller, who, r.Case, "rule")
	if err != nil {
		return fulfil.Outcome{}, fmt.Errorf("erase own data in case %s: %w", r.Case, err)
	}
	return fulfil.Outcome{Status: fulfil.Erased, Count: done.Logs}, nil
}

// sentMail is one line of the send record.
type sentMail struct {
	Time   time.Time `json:"time"`
	Stream string    `json:"stream"`
	What   string    `json:"what"` // "allow", "deny", "delivered", ...
	Reason string    `json:"reason,omitempty"`
}

// sent walks through what the ledgers of all nodes say was sent to a person.
func (n *node) sent(ctx context.Context, controller string, subject address.SubjectID, yield func(sentMail) error) error {
	for _, kind := range []ledger.Kind{ledger.KindVerdict, ledger.KindDelivery} {
		err := n.books.Query(ctx, ledger.Filter{Kind: kind, Controller: controller, Subject: subject}, func(e ledger.Entry) error {
			name := ""
			if st, ok := n.engine.Streams().ByNumber(e.Stream); ok {
				name = st.Name
			}
			return yield(sentMail{e.Time, name, e.Action, e.Reason})
		})
		if err != nil {
			return fmt.Errorf("read the send record: %w", err)
		}
	}
	return nil
}

func (o ownData) export(ctx context.Context, r fulfil.Request, who address.Address) (fulfil.Outcome, error) {
	n := o.node
	profile, err := n.consent.Profile(ctx, r.Controller, who)
	if err != nil {
		return fulfil.Outcome{}, fmt.Errorf("own data for case %s: %w", r.Case, err)
	}
	controller, _ := n.engine.Streams().Controller(r.Controller)
	var plain, linked bytes.Buffer
	if err := errors.Join(profile.WriteJSON(&plain), profile.WriteRecords(&linked, controller)); err != nil {
		return fulfil.Outcome{}, fmt.Errorf("own data for case %s: %w", r.Case, err)
	}
	sent := []sentMail{}
	type ownCase struct {
		Number   string      `json:"number"`
		Received time.Time   `json:"received"`
		Due      time.Time   `json:"due"`
		State    queue.State `json:"state"`
		Asks     []string    `json:"asks_for"`
	}
	cases := []ownCase{}
	for _, id := range n.ring.Identities(r.Controller, who) {
		err := n.sent(ctx, r.Controller, id.ID, func(m sentMail) error {
			sent = append(sent, m)
			return nil
		})
		if err != nil {
			return fulfil.Outcome{}, err
		}
		list, err := n.queue.List(ctx, queue.Filter{Controller: r.Controller, Subject: id.ID})
		if err != nil {
			return fulfil.Outcome{}, err
		}
		for _, k := range list {
			if k.Role != "" { // of a confidential mailbox: an operator with its role adds it by hand
				continue
			}
			c := ownCase{k.Number, k.Received, k.Due, k.State, []string{}}
			for _, l := range k.Labels {
				c.Asks = append(c.Asks, string(l))
			}
			cases = append(cases, c)
		}
	}
	slices.SortStableFunc(sent, func(a, b sentMail) int { return a.Time.Compare(b.Time) })
	data, err := json.Marshal(map[string]any{
		"address": who.Plain(), "consent": json.RawMessage(plain.Bytes()), "consent_records": json.RawMessage(linked.Bytes()), "sent": sent, "cases": cases,
	})
	if err != nil {
		return fulfil.Outcome{}, fmt.Errorf("own data for case %s: %w", r.Case, err)
	}
	return fulfil.Outcome{Status: fulfil.Done, Data: data, Count: len(profile.Consents) + len(sent) + len(cases)}, nil
}

var _ fulfil.Connector = ownData{}
