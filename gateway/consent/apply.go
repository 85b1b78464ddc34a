package consent

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// applyBatch is how many changes go to Redis in one flight.
const applyBatch = 500

func (c *change) args() []any {
	args := make([]any, 0, 1+3*len(c.parts))
	args = append(args, c.controller)
	for _, p := range c.parts {
		if p.field == fieldTerms {
			continue
		}
		args = append(args, p.field, p.entry[:8], string(appendFrame(nil, []byte(p.entry))))
	}
	return args
}

// apply adds changes to Redis, pipelined, and tells how many entries of each
// were new. It fails as a whole at the first error; what went through before
// does no harm, since repeating adds nothing.
func (r *Registry) apply(ctx context.Context, changes []*change) ([]int, error) {
	added := make([]int, len(changes))
	for from := 0; from < len(changes); from += applyBatch {
		to := min(from+applyBatch, len(changes))
		if err := r.applyFlight(ctx, changes[from:to], added[from:to]); err != nil {
			return nil, err
		}
	}
	return added, nil
}

func (r *Registry) applyFlight(ctx context.Context, changes []*change, added []int) error {
	cmds := r.sendFlight(ctx, changes)
	if noScript(cmds[0].Err()) { // a server that was just started: it learns the script once
		if err := appendScript.Load(ctx, r.rdb).Err(); err != nil {
			return fmt.Errorf("load append script: %w", err)
		}
		cmds = r.sendFlight(ctx, changes)
	}
	for i, c := range changes {
		n, err := cmds[i].Int()
		if noScript(err) {
			n, err = appendScript.Run(ctx, r.rdb, []string{subjectKey(c.subject)}, c.args()...).Int()
		}
		if err != nil {
			return fmt.Errorf("append for subject %s: %w", c.subject, err)
		}
		added[i] = n
	}
	return nil
}

func noScript(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") }

// sendFlight sends changes in one pipeline; each command keeps its own error.
func (r *Registry) sendFlight(ctx context.Context, changes []*change) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(changes))
	pipe := r.rdb.Pipeline()
	for i, c := range changes {
		for _, p := range c.parts {
			if p.field == fieldTerms {
				pipe.SetNX(ctx, termsKey(hashTerms(p.entry)), p.entry, 0)
			}
		}
		cmds[i] = pipe.EvalSha(ctx, appendScript.Hash(), []string{subjectKey(c.subject)}, c.args()...)
	}
	_, _ = pipe.Exec(ctx)
	return cmds
}

// applyJournalled is apply for changes of the journal: after it they need no
// longer be kept in memory, and the marker in Redis follows.
func (r *Registry) applyJournalled(ctx context.Context, changes []*change) ([]int, error) {
	added, err := r.apply(ctx, changes)
	if err != nil {
		r.journal.setStuck(changes)
		return nil, err
	}
	r.journal.applied(changes...)
	if stuck := r.journal.stuckAll(); len(stuck) > 0 { // Redis is back: bring what it missed
		if _, err := r.apply(ctx, stuck); err == nil {
			r.journal.applied(stuck...)
		}
	}
	if !r.journal.isVerified() {
		return added, r.heal(ctx) // it writes the marker, too
	}
	r.mark(ctx)
	return added, nil
}

// mark writes to Redis how far the journal is applied. A Redis that falls back
// behind it has forgotten something, and every look-up of every node notices.
// Failing is harmless: the next call writes it.
func (r *Registry) mark(ctx context.Context) {
	j := r.journal
	for j.isVerified() && j.reached() > j.proven(j.node) && j.marking.TryLock() {
		err := r.setMarker(ctx, j.proven(j.node), j.reached())
		j.marking.Unlock()
		if err != nil {
			return
		}
	}
}

// setMarker raises the marker. An error where Redis shows less than had, which
// it is known to have shown: it has forgotten what stands between. The caller
// holds marking.
func (r *Registry) setMarker(ctx context.Context, had, to uint64) error {
	j := r.journal
	done, err := markScript.Run(ctx, r.rdb, []string{keyNodes}, j.node, had, to).Bool()
	if err != nil {
		return err
	}
	if !done {
		return fmt.Errorf("%w: it forgot what this node wrote", ErrStoreUnavailable)
	}
	j.mu.Lock()
	j.markers[j.node] = max(j.markers[j.node], to)
	j.mu.Unlock()
	return nil
}

// heal brings Redis up to the journal from where its marker stands. What
// another node wrote and Redis forgot only that node can bring back: till then
// the store is not believed.
func (r *Registry) heal(ctx context.Context) error {
	release, err := r.holdHealing(ctx)
	if err != nil {
		return err
	}
	defer release()
	own, behind, forgotten, err := r.readMarkers(ctx)
	if err != nil {
		return err
	}
	if behind {
		if _, err := r.replay(ctx, own, own); err != nil {
			return err
		}
		if _, behind, forgotten, err = r.readMarkers(ctx); err != nil {
			return err
		}
	}
	switch {
	case len(forgotten) > 0:
		return fmt.Errorf("%w: %w: start node %s, or accept the loss with postern node retire", ErrStoreUnavailable, ErrForgotten, strings.Join(forgotten, ", "))
	case behind:
		return fmt.Errorf("%w: it forgot what this node wrote", ErrStoreUnavailable)
	}
	return nil
}

// holdHealing lets one replay run at a time; others wait as long as ctx lasts.
func (r *Registry) holdHealing(ctx context.Context) (release func(), err error) {
	select {
	case r.healing <- struct{}{}:
		return func() { <-r.healing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the replay of opt-outs: %w", ctx.Err())
	}
}

// replay applies the journal after seq and moves the marker, which Redis shows
// at shown. Should Redis fall back meanwhile, the marker stays there.
func (r *Registry) replay(ctx context.Context, after, shown uint64) (n int, err error) {
	j := r.journal
	j.skipTo(shown)
	upTo := j.reached() // what waits now may be in flight by another call
	var flight []*change
	move := func(to uint64) error {
		j.marking.Lock()
		defer j.marking.Unlock()
		err := r.setMarker(ctx, shown, to)
		shown = max(shown, to)
		return err
	}
	flush := func() error {
		if len(flight) == 0 {
			return nil
		}
		if _, err := r.apply(ctx, flight); err != nil {
			return err
		}
		n += len(flight)
		j.applied(flight...)
		last := flight[len(flight)-1].seq
		flight = flight[:0]
		if last <= shown || last >= upTo {
			return nil
		}
		return move(last) // what is done stays done if this is cut short
	}
	err = j.each(after, func(c *change) error {
		flight = append(flight, c)
		if len(flight) < applyBatch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = move(max(upTo, shown))
	}
	if err != nil {
		return n, err
	}
	j.mu.Lock()
	j.verified = true
	j.mu.Unlock()
	return n, nil
}

// Replay brings every opt-out, release and undo of this node's journal to
// Redis again and tells how many there were. Repeating it changes nothing.
// Errors wrap ErrStoreUnavailable.
func (r *Registry) Replay(ctx context.Context) (int, error) {
	release, err := r.holdHealing(ctx)
	if err != nil {
		return 0, asUnavailable(err)
	}
	defer release()
	own, _, _, err := r.readMarkers(ctx)
	if err != nil {
		return 0, asUnavailable(err)
	}
	n, err := r.replay(ctx, 0, own)
	return n, asUnavailable(err)
}
