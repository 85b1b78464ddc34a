package consent

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// Swept is what one run of the expiry and retention job did.
type Swept struct {
	Subjects int // looked at
	Vanished int // sign-ups deleted unconfirmed (CON-12)
	Expired  int // consents marked as expired (CON-15)
	Deleted  int // logs deleted at the end of their retention (ST-1)
}

// keyJob is the lease that lets one node sweep for all; it names its holder.
const keyJob = "pc:job:sweep"

// SweepNow runs the expiry and retention job over all subjects: unconfirmed
// sign-ups vanish, ended consents get their expired event, evidence whose
// consent ended longer than the retention ago goes. Suppressions stay. It is
// safe beside everything else. Errors wrap ErrStoreUnavailable or ErrDamaged.
func (r *Registry) SweepNow(ctx context.Context) (Swept, error) {
	var done Swept
	err := r.eachSubject(ctx, func(ids []address.SubjectID) error {
		return within(ctx, r.opts.WriteTimeout, func(ctx context.Context) error { return r.sweepPage(ctx, ids, &done) })
	})
	if err != nil {
		return done, fmt.Errorf("sweep consents: %w", err)
	}
	now := r.opts.Now()
	return done, r.journal.record([]ledger.Record{{
		ID: "sweep:" + r.journal.node + ":" + now.UTC().Format(time.RFC3339), Time: now, Kind: ledger.KindRetention,
		Actor: "rule", Action: "sweep", Reason: "consent-retention",
		Data: map[string]string{
			"subjects": fmt.Sprint(done.Subjects), "vanished": fmt.Sprint(done.Vanished),
			"expired": fmt.Sprint(done.Expired), "deleted": fmt.Sprint(done.Deleted),
		},
	}})
}

func (r *Registry) sweepPage(ctx context.Context, ids []address.SubjectID, done *Swept) error {
	pipe := r.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.HGetAll(ctx, subjectKey(id))
	}
	_, _ = pipe.Exec(ctx) // each command keeps its own error
	for i, id := range ids {
		fields, err := cmds[i].Result()
		if err != nil {
			return err
		}
		done.Subjects++
		if err := r.sweepSubject(ctx, id, fields, done); err != nil {
			return fmt.Errorf("subject %s: %w", id, err)
		}
	}
	return nil
}

func (r *Registry) sweepSubject(ctx context.Context, id address.SubjectID, fields map[string]string, done *Swept) error {
	now := r.opts.Now()
	for field, log := range fields {
		exact, purpose, ok := parseConsentField(field)
		if !ok || exact == anyForm {
			continue // opt-outs stay, as suppressions do
		}
		events, err := decodeEntries(log, nil)
		if err != nil {
			return err
		}
		if events, err = decodeEntries(fields[consentField(anyForm, purpose)], events); err != nil {
			return err
		}
		p := planSweep(events, now, r.opts.Retention)
		switch {
		case p.drop:
			ok, err := r.swap(ctx, id, field, log, "")
			if err != nil {
				return err
			}
			done.Deleted += ok
		case len(p.vanish) > 0:
			rest, err := without(log, p.vanish)
			if err != nil {
				return err
			}
			ok, err := r.swap(ctx, id, field, log, rest)
			if err != nil {
				return err
			}
			done.Vanished += ok * len(p.vanish)
		case p.expired != nil:
			if err := r.expire(ctx, id, fields[fieldController], field, purpose, *p.expired); err != nil {
				return err
			}
			done.Expired++
		}
	}
	return nil
}

// sweepPlan is what is to be done with one log.
type sweepPlan struct {
	drop    bool
	vanish  map[eventID]bool
	expired *entry // the consent that ended without an event that says so
}

func planSweep(events []entry, now time.Time, retention time.Duration) sweepPlan {
	st := fold(events, now)
	var p sweepPlan
	p.vanish = map[eventID]bool{}
	lastEnd := time.Time{}
	for i, e := range events { // fold sorted them
		if e.action == Given && e.pending && e.over(now) && !confirmedInTime(events[i:], e) {
			p.vanish[e.id] = true
			continue
		}
		lastEnd = later(lastEnd, later(e.time(), e.expiry()))
	}
	ended := st.status != StatusActive && st.status != StatusPending
	switch {
	case len(events) > 0 && len(p.vanish) == len(events):
		p.drop = true
	case ended && now.Sub(lastEnd) > retention:
		p.drop = true
	case st.status == StatusExpired && st.by.action != Expired:
		by := st.by
		p.expired = &by
	}
	return p
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// confirmedInTime tells whether a sign-up was confirmed while it waited.
func confirmedInTime(after []entry, given entry) bool {
	for _, e := range after {
		if e.action == Confirmed && !given.over(e.time()) {
			return true
		}
	}
	return false
}

// without gives a log without some of its entries.
func without(log string, ids map[eventID]bool) (string, error) {
	var out []byte
	err := eachFrame(log, func(entry string) error {
		var id eventID
		copy(id[:], entry)
		if !ids[id] {
			out = appendFrame(out, []byte(entry))
		}
		return nil
	})
	return string(out), err
}

// swap replaces a field that still is as it was seen; 1 where it did.
func (r *Registry) swap(ctx context.Context, id address.SubjectID, field, seen, value string) (int, error) {
	return swapScript.Run(ctx, r.rdb, []string{subjectKey(id)}, field, seen, value).Int()
}

// expire writes the event that says when a consent ended.
func (r *Registry) expire(ctx context.Context, id address.SubjectID, controller, field, purpose string, of entry) error {
	at := of.expiry()
	if at.IsZero() {
		at = of.time()
	}
	e := entry{id: hashID("expired", string(of.id[:])), action: Expired, basis: of.basis, at: at.UnixMilli(), terms: of.terms}
	rec := ledger.Record{
		ID: "consent:" + e.id.of(id), Time: at, Kind: ledger.KindConsent, Controller: controller, Subject: id,
		Actor: "rule", Action: string(Expired), Reason: string(of.basis), Ref: e.id.of(id), Data: map[string]string{"purpose": purpose},
	}
	if err := r.journal.record([]ledger.Record{rec}); err != nil {
		return err
	}
	_, err := r.apply(ctx, []*change{{subject: id, controller: controller, parts: []part{{field, string(e.encode())}}}})
	return err
}

// sweepIfDue sweeps where no node did so within the interval.
func (r *Registry) sweepIfDue(ctx context.Context) error {
	if r.opts.Sweep < 0 {
		return nil
	}
	mine, err := bounded(ctx, r, r.opts.Timeout, func(ctx context.Context) (bool, error) {
		return r.rdb.SetNX(ctx, keyJob, r.journal.node, r.opts.Sweep).Result()
	})
	if err != nil || !mine {
		return err
	}
	done, err := r.SweepNow(ctx)
	if err != nil {
		_ = r.rdb.Del(context.WithoutCancel(ctx), keyJob).Err() // the next round tries again
		return err
	}
	r.opts.Log.Info("consents swept", "subjects", done.Subjects, "vanished", done.Vanished, "expired", done.Expired, "deleted", done.Deleted)
	return nil
}
