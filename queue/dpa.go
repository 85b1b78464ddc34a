package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/ledger"
)

// DPA is a signed processing agreement in the register (GDPR Art. 28(3), (9)).
type DPA struct {
	Case       string            `json:"case,omitempty"`
	Controller string            `json:"controller"`
	Customer   string            `json:"customer"`
	Version    string            `json:"version"` // of the template
	Signed     string            `json:"signed"`  // date
	By         string            `json:"by"`      // operator who entered it
	Covered    map[string]string `json:"covered"` // letter of Art. 28(3) → where it stands in the agreement
}

// DPALetters are the points of GDPR Art. 28(3) that an agreement has to cover.
var DPALetters = [][2]string{
	{"a", "only on documented instructions, also for transfers"},
	{"b", "persons with access are bound to confidentiality"},
	{"c", "security of processing (Art. 32)"},
	{"d", "conditions for further processors (Art. 28(2), (4))"},
	{"e", "help with requests of data subjects"},
	{"f", "help with Art. 32 to 36: security, breaches, impact assessment"},
	{"g", "delete or return all data at the end"},
	{"h", "show compliance, allow audits, warn of unlawful instructions"},
}

// DPACheck is what an operator has to know before an agreement is sent.
type DPACheck struct {
	Customer string // "" where the sender's domain is none of a customer
	Signed   string // date of an agreement there is already
	Version  string
}

// DPADraft is the answer to a request for a processing agreement: the dated
// template with the checklist of Art. 28(3). A person signs; it is never sent
// by rule (BR-16).
func (q *Queue) DPADraft(ctx context.Context, number, actor string) (Draft, DPACheck, error) {
	c, _, err := q.Show(ctx, number)
	if err != nil {
		return Draft{}, DPACheck{}, err
	}
	t := q.rules().Handling[c.Controller].DPA
	if t.Text == "" || t.Version == "" {
		return Draft{}, DPACheck{}, fmt.Errorf("%w: controller %q has no dpa_template", ErrDraft, c.Controller)
	}
	check := DPACheck{Version: t.Version}
	if len(c.Mails) > 0 {
		if k, ok := q.customer(c.Controller, c.Mails[0].From); ok {
			check.Customer, check.Signed = k.Name, k.Signed
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nVersion of %s. What GDPR Art. 28(3) asks for:\n", strings.TrimSpace(t.Text), t.Version)
	for _, l := range DPALetters {
		fmt.Fprintf(&b, "\n[ ] (%s) %s", l[0], l[1])
	}
	return Draft{Subject: "Processing agreement, version of " + t.Version, Text: b.String(), Language: "en", Effect: ActAnswer, Reason: "dpa:" + t.Version, Actor: actor}, check, nil
}

// RecordDPA enters a signed agreement into the register. All eight letters of
// Art. 28(3) have to be found in it.
func (q *Queue) RecordDPA(ctx context.Context, d DPA) error {
	if _, err := time.Parse(time.DateOnly, d.Signed); err != nil {
		return fmt.Errorf("%w: the day it was signed, as 2026-11-01", ErrOrder)
	}
	if d.Customer == "" || d.Version == "" || !strings.HasPrefix(d.By, "operator:") {
		return fmt.Errorf("%w: customer, version and operator are needed", ErrOrder)
	}
	for _, l := range DPALetters {
		if d.Covered[l[0]] == "" {
			return fmt.Errorf("%w: say where the agreement covers Art. 28(3)(%s): %s", ErrOrder, l[0], l[1])
		}
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode agreement: %w", err)
	}
	if err := q.rdb.HSet(ctx, keyDPA, d.Controller+"\x00"+d.Customer+"\x00"+d.Signed, string(raw)).Err(); err != nil {
		return fmt.Errorf("register agreement: %w", err)
	}
	r := ledger.Record{ID: "dpa:" + sha(d.Controller + "\x00" + d.Customer + "\x00" + d.Signed)[:24], Time: q.o.Now(), Kind: ledger.KindConfig, Controller: d.Controller,
		Actor: d.By, Action: "sign", Reason: "dpa", Ref: d.Case, Data: map[string]string{"version": d.Version, "signed": d.Signed}}
	if err := q.d.Trail.Append(ctx, r); err != nil {
		return fmt.Errorf("record agreement: %w", err)
	}
	if d.Case == "" {
		return nil
	}
	_, err = q.Move(ctx, d.Case, Move{Action: ActNote, Actor: d.By, Reason: "dpa-signed", Data: map[string]string{"version": d.Version, "signed": d.Signed}})
	return err
}

// DPAs lists the register, by customer and newest first; those of the
// configuration are in it too.
func (q *Queue) DPAs(ctx context.Context) ([]DPA, error) {
	all, err := q.rdb.HGetAll(ctx, keyDPA).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("list agreements: %w", err)
	}
	var out []DPA
	for _, raw := range all {
		var d DPA
		if err := json.Unmarshal([]byte(raw), &d); err != nil {
			return nil, fmt.Errorf("decode agreement: %w", err)
		}
		out = append(out, d)
	}
	for _, c := range q.rules().Customers {
		if c.Signed != "" {
			out = append(out, DPA{Controller: c.Controller, Customer: c.Name, Signed: c.Signed, By: "configuration"})
		}
	}
	slices.SortFunc(out, func(a, b DPA) int { return strings.Compare(a.Customer+"\x00"+b.Signed, b.Customer+"\x00"+a.Signed) })
	return out, nil
}
