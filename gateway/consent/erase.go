package consent

import (
	"context"
	"fmt"
	"time"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// Erasure says what an erasure left and took.
type Erasure struct {
	Suppression string // id of the suppression that stays (ST-2)
	Logs        int    // consent logs deleted
}

// Erase deletes what the registry holds of a person's consents, on every form
// of the address: first the suppression is written, then the data deleted,
// then looked at again, then recorded without the address (ST-4). If it fails
// half-way the person is not mailable, and calling it again goes on. The
// suppression log stays: ids, reasons and times alone stop further mail
// (GDPR Art. 17(3)(b), 21(3)). Errors wrap ErrRefused or ErrStoreUnavailable.
func (r *Registry) Erase(ctx context.Context, controller string, a address.Address, caseNo, actor string) (Erasure, error) {
	if a.IsZero() || actor == "" {
		return Erasure{}, fmt.Errorf("%w: erasure needs an address and an actor", ErrRefused)
	}
	id, err := r.Suppress(ctx, Suppression{
		ID: "erase:" + caseNo, Controller: controller, Address: a, Scope: ScopeController,
		Reason: Erased, Source: "erasure", Case: caseNo, Actor: actor,
	})
	out := Erasure{Suppression: id}
	if err != nil {
		return out, fmt.Errorf("suppress before erasure: %w", err)
	}
	var ids []address.SubjectID
	for _, x := range r.ring.Identities(controller, a) {
		ids = append(ids, x.ID)
	}
	out.Logs, err = bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) (int, error) {
		n := 0
		for _, id := range ids {
			dropped, err := r.eraseLogs(ctx, id)
			if err != nil {
				return n, fmt.Errorf("subject %s: %w", id, err)
			}
			n += dropped
		}
		return n, nil
	})
	if err != nil {
		return out, fmt.Errorf("delete consents: %w", err)
	}
	return out, r.journal.record([]ledger.Record{{
		ID: "erase:" + id, Time: r.opts.Now(), Kind: ledger.KindRetention, Controller: controller,
		Subject: ids[0], Actor: actor, Action: "erase", Reason: string(Erased), Ref: id,
		Data: map[string]string{"logs": fmt.Sprint(out.Logs), "case": caseNo},
	}})
}

// eraseLogs deletes a subject's consent logs until none is left.
func (r *Registry) eraseLogs(ctx context.Context, id address.SubjectID) (int, error) {
	total := 0
	for {
		fields, err := r.rdb.HGetAll(ctx, subjectKey(id)).Result()
		if err != nil {
			return total, err
		}
		args := []any{"", ""}
		for field, log := range fields {
			if _, _, ok := parseConsentField(field); ok {
				args = append(args, field, log)
			}
		}
		if len(args) == 2 {
			return total, nil // looked at and found gone
		}
		n, err := dropScript.Run(ctx, r.rdb, []string{subjectKey(id)}, args...).Int()
		if err != nil {
			return total, err
		}
		total += n
	}
}

// Revert takes back a flood of opt-outs from one source within a time, by an
// operator with a reason (design D13). Bounces, complaints and erasures stay.
// It tells how many were ended. Errors wrap ErrRefused or ErrStoreUnavailable.
func (r *Registry) Revert(ctx context.Context, controller, source string, from, to time.Time, actor, reason string) (int, error) {
	if source == "" || !from.Before(to) {
		return 0, fmt.Errorf("%w: a revert needs the source and a time from and to", ErrRefused)
	}
	var ids []string
	err := r.Suppressions(ctx, controller, func(s SuppressionRecord) error {
		revertible := liftable(s.Reason) || s.Reason == Held
		if revertible && s.Stands() && s.Source == source && !s.Time.Before(from) && s.Time.Before(to) {
			ids = append(ids, s.ID)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("find opt-outs to revert: %w", err)
	}
	for i, id := range ids {
		if err := r.Release(ctx, Release{ID: id, Actor: actor, Reason: reason}); err != nil {
			return i, fmt.Errorf("revert %s: %w", id, err)
		}
	}
	return len(ids), nil
}
