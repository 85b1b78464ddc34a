package consent

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// applyBatch is how many changes go to Redis in one flight.
const applyBatch = 500

func (c *change) args() []any {
	args := make([]any, 0, 1+3*len(c.parts))
	args = append(args, c.controller)
	for _, p := range c.parts {
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
	cmds := make([]*redis.Cmd, len(changes))
	pipe := r.rdb.Pipeline()
	for i, c := range changes {
		cmds[i] = pipe.EvalSha(ctx, appendScript.Hash(), []string{subjectKey(c.subject)}, c.args()...)
	}
	_, _ = pipe.Exec(ctx) // each command keeps its own error
	for i, c := range changes {
		n, err := cmds[i].Int()
		if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
			n, err = appendScript.Run(ctx, r.rdb, []string{subjectKey(c.subject)}, c.args()...).Int()
		}
		if err != nil {
			return fmt.Errorf("append for subject %s: %w", c.subject, err)
		}
		added[i] = n
	}
	return nil
}

// applyJournalled is apply for changes of the journal: after it they need no
// longer be kept in memory, and the marker in Redis follows.
func (r *Registry) applyJournalled(ctx context.Context, changes []*change) ([]int, error) {
	added, err := r.apply(ctx, changes)
	if err != nil {
		return nil, err
	}
	r.journal.applied(changes...)
	r.mark(ctx)
	return added, nil
}

// mark writes to Redis how far the journal is applied. A Redis that falls back
// behind it has forgotten something, and every look-up notices. Failing is
// harmless: the next call writes it.
func (r *Registry) mark(ctx context.Context) {
	j := r.journal
	if !j.marking.TryLock() {
		return
	}
	defer j.marking.Unlock()
	j.mu.Lock()
	ready, proven := j.verified, j.proven
	j.mu.Unlock()
	to := j.reached()
	if !ready || to <= proven {
		return
	}
	if r.rdb.HSet(ctx, keyNodes, j.node, strconv.FormatUint(to, 10)).Err() == nil {
		j.mu.Lock()
		j.proven = max(j.proven, to)
		j.mu.Unlock()
	}
}

// marker reads what mark wrote last; a Redis that knows nothing says 0.
func parseMarker(text string, err error) (uint64, error) {
	if err == redis.Nil {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: journal marker", ErrDamaged)
	}
	return n, nil
}

// trusted tells whether a marker just read shows that Redis holds all it held.
func (r *Registry) trusted(marker uint64) bool {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	return r.journal.verified && marker >= r.journal.proven
}

// heal brings Redis up to the journal from where its marker stands.
func (r *Registry) heal(ctx context.Context) error {
	r.healing.Lock()
	defer r.healing.Unlock()
	marker, err := parseMarker(r.rdb.HGet(ctx, keyNodes, r.journal.node).Result())
	if err != nil {
		return err
	}
	if r.trusted(marker) {
		return nil
	}
	_, err = r.replay(ctx, marker)
	return err
}

// replay applies the journal after seq and moves the marker.
func (r *Registry) replay(ctx context.Context, after uint64) (n int, err error) {
	j := r.journal
	upTo := j.reached() // what waits now may be in flight by another call
	var flight []*change
	flush := func() error {
		if _, err := r.apply(ctx, flight); err != nil {
			return err
		}
		n += len(flight)
		j.applied(flight...)
		flight = flight[:0]
		return nil
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
	if err != nil {
		return n, err
	}
	upTo = max(upTo, after)
	if err := r.rdb.HSet(ctx, keyNodes, j.node, strconv.FormatUint(upTo, 10)).Err(); err != nil {
		return n, err
	}
	j.mu.Lock()
	j.proven, j.verified = upTo, true
	j.mu.Unlock()
	return n, nil
}

// Replay brings every opt-out, release and undo of this node's journal to
// Redis again and tells how many there were. Repeating it changes nothing.
// Errors wrap ErrStoreUnavailable.
func (r *Registry) Replay(ctx context.Context) (int, error) {
	r.healing.Lock()
	defer r.healing.Unlock()
	n, err := r.replay(ctx, 0)
	return n, asUnavailable(err)
}
