package console

import (
	"context"
	"fmt"

	"postern/gateway/ledger"
	"postern/queue"
)

// record proves an act in the console that is no move of a case: log-in,
// accounts, settings.
func (c *Console) record(ctx context.Context, actor, action, reason string, data map[string]string) error {
	err := c.d.Trail.Append(ctx, ledger.Record{Time: c.o.Now(), Kind: ledger.KindConfig, Actor: actor, Action: action, Reason: reason, Data: data})
	if err != nil {
		return fmt.Errorf("prove %s: %w", action, err)
	}
	return nil
}

// saw proves that the visitor looks at personal data; without the record
// nothing is shown. what is a closed word: "case", "original", "attachment",
// "list", "aside", "person".
func (v *visit) saw(what string, of *queue.Case, data map[string]string) error {
	r := ledger.Record{Time: v.now(), Kind: ledger.KindView, Actor: v.user.Actor(), Action: what, Data: data}
	if of != nil {
		r.Controller, r.Subject, r.Ref = of.Controller, of.Subject, of.Number
	}
	if err := v.c.d.Trail.Append(v.ctx(), r); err != nil {
		return fmt.Errorf("prove the look at a %s: %w", what, err)
	}
	return nil
}
