package consent

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// outrankSignUps makes suppressions that were just placed win over a sign-up
// dated after them that can't have come later: of a node whose clock is ahead,
// or from before a clock was set right. Who says no says it last (CON-5). ids
// are those of the suppressions; one that had to be placed again, behind the
// sign-up, gives its new id. Nothing is done where a sign-up did come later
// than what was asked for then.
func (r *Registry) outrankSignUps(ctx context.Context, list []Suppression, binders []binder, ids []string) error {
	people := make([][]address.SubjectID, len(list))
	for i, s := range list {
		var err error
		if people[i], err = r.idsOf(ctx, s, binders[i].subject); err != nil {
			return fmt.Errorf("look after opt-out %s: %w", ids[i], err)
		}
	}
	logs, err := r.suppressionEntries(ctx, people)
	if err != nil {
		return fmt.Errorf("look after %d opt-outs: %w", len(list), err)
	}
	now := r.opts.Now()
	for i, s := range list {
		since := now.UnixMilli()
		if s.Time.IsZero() || now.Sub(s.Time) < time.Second {
			since = 0 // it is of now
		}
		ahead := aheadOf(logs[i], ids[i], since)
		if ahead == 0 {
			continue
		}
		if ids[i], err = r.suppressBehind(ctx, s, binders[i].id, ahead); err != nil {
			return err
		}
	}
	return nil
}

// aheadOf is the time of the last sign-up, not before since, that ends the
// suppression of that id; 0 where none does.
func aheadOf(log []suppEntry, text string, since int64) (ahead int64) {
	_, id, err := parseID(text)
	if err != nil {
		return 0
	}
	for _, e := range log {
		if e.op != opSet || e.id != id {
			continue
		}
		for _, l := range log {
			if l.at >= since && l.lifts(log, e) {
				ahead = max(ahead, l.at)
			}
		}
	}
	return ahead
}

// suppressBehind places s again a moment after a sign-up. It repeats first, so
// that the same link is still the same opt-out and one undo takes back both.
func (r *Registry) suppressBehind(ctx context.Context, s Suppression, first eventID, ahead int64) (string, error) {
	s.ID, s.Time = "", time.UnixMilli(ahead+1).UTC()
	b, err := r.suppressionAt(s)
	if err != nil {
		return "", err
	}
	build := b.build
	b.build = func(id, _ eventID) (part, ledger.Record) { return build(id, first) }
	return r.bind(ctx, b)
}

// idsOf are all ids that the person of a suppression may be stored under.
func (r *Registry) idsOf(ctx context.Context, s Suppression, subject address.SubjectID) ([]address.SubjectID, error) {
	ids := []address.SubjectID{subject}
	if r.keys > 1 && !s.Address.IsZero() {
		ids = ids[:0]
		for _, x := range r.ring.Identities(s.Controller, s.Address) {
			ids = append(ids, x.ID)
		}
	}
	return r.withMoved(ctx, ids)
}

// suppressionEntries reads the suppression logs of people, each known by some
// ids, in one flight.
func (r *Registry) suppressionEntries(ctx context.Context, people [][]address.SubjectID) ([][]suppEntry, error) {
	return bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) ([][]suppEntry, error) {
		pipe := r.rdb.Pipeline()
		cmds := make([][]*redis.SliceCmd, len(people))
		for i, ids := range people {
			for _, id := range ids {
				cmds[i] = append(cmds[i], pipe.HMGet(ctx, subjectKey(id), fieldSuppression))
			}
		}
		_, _ = pipe.Exec(ctx) // each command keeps its own error
		out := make([][]suppEntry, len(people))
		for i := range people {
			for _, cmd := range cmds[i] {
				fields, err := cmd.Result()
				if err != nil {
					return nil, err
				}
				log, _ := fields[0].(string)
				if out[i], err = decodeSuppEntries(log, out[i]); err != nil {
					return nil, err
				}
			}
		}
		return out, nil
	})
}
