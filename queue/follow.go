package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"postern/gateway/consent"
)

// follow does at once what follows on mails that were just stored: their
// opt-outs bind, and what happened is proven. A failure is not lost: the jobs
// stored with the cases have a worker do it, now or after followWithin.
func (q *Queue) follow(ctx context.Context, list []*opening) {
	if len(list) == 0 {
		return
	}
	err := q.bindAll(ctx, list)
	if err == nil {
		return
	}
	q.o.Log.Warn("opt-outs not yet bound or cases not yet proven, a worker will repeat it", "err", err)
	_ = q.hurry(ctx, list) // else it is taken up in its time
}

// hurry has workers take up now what is left to do with new cases.
func (q *Queue) hurry(ctx context.Context, list []*opening) error {
	var now []redis.Z
	for _, job := range jobsOf(list) {
		now = append(now, redis.Z{Score: float64(q.o.Now().UnixMilli()), Member: job})
	}
	if len(now) == 0 {
		return nil
	}
	return wrapf(q.rdb.ZAddXX(ctx, keyLater, now...).Err(), "hurry the work on %d new cases", len(list))
}

// jobsOf are the jobs stored with new cases, each once.
func jobsOf(list []*opening) (out []string) {
	for _, o := range list {
		if o.new != nil && !slices.Contains(out, o.new.job) {
			out = append(out, o.new.job)
		}
	}
	return out
}

// bindAll binds the opt-outs of mails that were just stored: what opened a case
// with few round trips for all, what joined one as bind does.
func (q *Queue) bindAll(ctx context.Context, stored []*opening) error {
	g := new(errgroup.Group)
	g.SetLimit(sideBySide)
	var fresh []*opening
	for _, o := range stored {
		switch {
		case o.new != nil:
			fresh = append(fresh, o)
		case o.index >= 0:
			g.Go(func() error { return q.bind(ctx, o.ref.Number, o.index) })
		}
	}
	return errors.Join(q.bindFresh(ctx, fresh), g.Wait())
}

// bindFresh binds the opt-outs of mails that opened a case, notes them there,
// proves all that happened in one commit, and has workers do the rest.
func (q *Queue) bindFresh(ctx context.Context, fresh []*opening) error {
	if len(fresh) == 0 {
		return nil
	}
	lists, flags := make([][]consent.Suppression, len(fresh)), make([]string, len(fresh))
	var all []consent.Suppression
	var counted []optOutMail
	for i, o := range fresh {
		lists[i], flags[i] = q.suppressions(o.ref.Number, 0, o.in)
		if all = append(all, lists[i]...); len(lists[i]) > 0 {
			counted = append(counted, optOutMail{o.ref.Number, 0, o.in})
		}
	}
	ids, err := q.suppress(ctx, all)
	if err != nil {
		return fmt.Errorf("suppress for %d cases: %w", len(fresh), err)
	}
	if err := q.countOptOuts(ctx, counted...); err != nil {
		return err
	}
	proofs := make([]happened, 0, len(fresh)+len(all))
	noted := make([][]happened, len(fresh))
	runs := parcels{shared: []string{keyWork, keyTouched, keyTick}}
	for i, o := range fresh {
		n := len(lists[i])
		fields, events, err := o.new.bound(q, lists[i], ids[:n], flags[i])
		if err != nil {
			return err
		}
		ids, proofs = ids[n:], append(proofs, happened{o.new.c, o.new.opened.stored()})
		args := withList([]any{o.ref.Number}, fields)
		texts := make([]string, len(events))
		for k, e := range events {
			if texts[k], err = e.encode(o.new.key, o.ref.Number); err != nil {
				return err
			}
			noted[i] = append(noted[i], happened{o.new.c, e.stored()})
		}
		runs.add([]string{keyCase(o.ref.Number), keyLog(o.ref.Number)}, withList(args, texts))
	}
	words, err := q.rows(ctx, settleScript, runs.calls, len(fresh))
	if err != nil {
		return fmt.Errorf("note what %d cases bound: %w", len(fresh), err)
	}
	changed := false
	for i, o := range fresh {
		if words[i] == "ok" {
			proofs = append(proofs, noted[i]...)
			continue
		}
		changed = true
		if err := q.bind(ctx, o.ref.Number, 0); err != nil && !errors.Is(err, ErrUnknown) { // unknown: deleted meanwhile
			return err
		}
	}
	if err := q.proveAll(ctx, proofs...); err != nil {
		return err
	}
	if changed { // by another, or by this very run before its answer was lost: only the logs tell what is to be proven
		return q.hurry(ctx, fresh)
	}
	jobs := make([]any, 0, 1)
	for _, job := range jobsOf(fresh) {
		jobs = append(jobs, job)
	}
	return wrapf(q.rdb.ZRem(ctx, keyLater, jobs...).Err(), "end the work on %d new cases", len(fresh))
}

// bound gives the fields (name, value) and events that a new case gets when its
// mail bound the list; none where nothing was to bind.
func (d *draft) bound(q *Queue, list []consent.Suppression, ids []string, flag string) (fields []string, events []Event, err error) {
	if len(list) == 0 && flag == "" {
		return nil, nil, nil
	}
	ch := &changing{before: d.before, extra: map[string]string{boundField(0): "1"}}
	if err := noteBound(0, list, ids, flag)(d.c, ch); err != nil {
		return nil, nil, err
	}
	for _, set := range []map[string]string{d.c.changed(d.before), ch.extra} {
		for name, value := range set {
			fields = append(fields, name, value)
		}
	}
	for i := range ch.events {
		ch.events[i].stamp(q.o.Now(), d.c.State, d.c.State)
		ch.events[i].Seq = 1 + i
	}
	return fields, ch.events, nil
}
