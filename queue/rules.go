package queue

import (
	"context"
	"errors"
	"fmt"

	"postern/queue/clock"
	"postern/queue/reply"
)

// rules are the Options in force with what is made of them. Those that say
// where things lie (keys, folders, Redis) never change while the queue works.
type rules struct {
	*Options
	catalogue *reply.Catalogue
	calendars map[string]*clock.Calendar // of controllers with further days off
}

// rules are those in force: of the last Reload, else those of New.
func (q *Queue) rules() *rules { return q.inForce.Load() }

// texts are the letters to persons as they are in force.
func (q *Queue) texts() *reply.Catalogue { return q.rules().catalogue }

// rulesOf checks Options and makes what hangs on them.
func (q *Queue) rulesOf(o *Options) (*rules, error) {
	if err := errors.Join(CheckPolicy(o.Policy), q.checkHandling(o), checkProcessors(o.Processors)); err != nil {
		return nil, err
	}
	texts, err := reply.Load(o.TextDir)
	if err != nil {
		return nil, err
	}
	if o.TextOverride != nil {
		texts.Override(func(language string, s reply.Step) (string, string, bool) { return o.TextOverride(language, string(s)) })
	}
	calendars, err := q.holidays(o)
	return &rules{o, texts, calendars}, err
}

// holidays makes the calendars of controllers with days off of their own.
func (q *Queue) holidays(o *Options) (map[string]*clock.Calendar, error) {
	out := map[string]*clock.Calendar{}
	for id, days := range o.Holidays {
		base, err := clock.For(q.controller(id).Country)
		if err != nil {
			base = clock.Plain()
		}
		c, err := base.WithDays(days...)
		if err != nil {
			return nil, fmt.Errorf("controller %q: %w", id, err)
		}
		out[id] = c
	}
	return out, nil
}

// Reload takes over how requests are handled, from now on; with an error all
// stays as it was. Keys, folders, the store, metrics, log and clock of New
// stay. Work in hand ends under the rules it began with. Clocks that run keep
// their due dates, mailed links their end.
func (q *Queue) Reload(ctx context.Context, o Options) error {
	was := q.o
	o.VaultKey, o.OldVaultKeys, o.Keyring, o.VaultDir = was.VaultKey, was.OldVaultKeys, was.Keyring, was.VaultDir
	o.Now, o.Log, o.Metrics, o.Volatile, o.Node = was.Now, was.Log, was.Metrics, was.Volatile, was.Node
	o.TextOverride, o.Subscribed = was.TextOverride, was.Subscribed
	o.Tick, o.Lease, o.Attempts, o.Backoff = was.Tick, was.Lease, was.Attempts, was.Backoff
	o = o.withDefaults()
	r, err := q.rulesOf(&o)
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if err := q.publishNotices(ctx, o.Handling); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	q.inForce.Store(r)
	select {
	case q.crewed <- struct{}{}: // more workers may be wanted
	default: // it looks already
	}
	return nil
}
