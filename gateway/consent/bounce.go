package consent

import (
	"context"
	"fmt"

	"postern/gateway/address"
)

// Bounce counts a permanent failure of one message to an address; ref names
// the message, so that one message counts once. After Options.HardBounces
// within Options.BounceWindow the address is suppressed for all marketing of
// the controller. A soft failure (hard false) changes nothing. Errors wrap
// ErrStoreUnavailable.
func (r *Registry) Bounce(ctx context.Context, controller string, a address.Address, hard bool, ref string) error {
	if !hard || a.IsZero() {
		return nil
	}
	subject := r.ring.Identify(controller, a).ID
	if r.opts.HardBounces > 1 {
		n, err := bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) (int, error) {
			return r.countBounce(ctx, controller, subject, ref)
		})
		if err != nil {
			return fmt.Errorf("count bounce of subject %s: %w", subject, err)
		}
		if n < r.opts.HardBounces {
			return nil
		}
	}
	_, err := r.Suppress(ctx, Suppression{
		ID: "bounce:" + ref, Controller: controller, Address: a, Scope: ScopeController,
		Reason: Bounced, Source: "bounce", Actor: "rule",
	})
	return err
}

// countBounce adds a mark and tells how many count: within the window and
// since an operator last released a bounce.
func (r *Registry) countBounce(ctx context.Context, controller string, s address.SubjectID, ref string) (int, error) {
	now := r.opts.Now()
	mark := suppEntry{id: hashID("bounce", ref), op: opBounce, at: now.UnixMilli()}
	c := &change{subject: s, controller: controller, parts: []part{{fieldSuppression, string(mark.encode())}}}
	if _, err := r.apply(ctx, []*change{c}); err != nil {
		return 0, err
	}
	log, err := r.rdb.HGet(ctx, subjectKey(s), fieldSuppression).Result()
	if err != nil {
		return 0, err
	}
	entries, err := decodeSuppEntries(log, nil)
	if err != nil {
		return 0, err
	}
	since := now.Add(-r.opts.BounceWindow).UnixMilli()
	for _, e := range entries {
		if e.op == opSet && e.reason == Bounced {
			if by := closedBy(entries, e); by != nil {
				since = max(since, by.at)
			}
		}
	}
	n := 0
	for _, e := range entries {
		if e.op == opBounce && e.at > since {
			n++
		}
	}
	return n, nil
}
