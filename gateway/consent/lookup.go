package consent

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
)

// Lookup tells for each address, in the given order, whether mail of a stream
// may go to it: one round trip for all. purpose is "" for mail that is not
// marketing; then only what covers everything binds. A nil error is needed to
// send: errors wrap ErrStoreUnavailable, also where Redis may have forgotten
// something, or ErrDamaged.
func (r *Registry) Lookup(ctx context.Context, controller, purpose string, stream uint16, addrs []address.Address) ([]Answer, error) {
	from := time.Now()
	answers, err := r.lookup(ctx, controller, purpose, stream, addrs)
	r.met.looked(len(addrs), time.Since(from), err)
	return answers, err
}

func (r *Registry) lookup(ctx context.Context, controller, purpose string, stream uint16, addrs []address.Address) ([]Answer, error) {
	if err := r.blocked.get(); err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, nil
	}
	qs := make([]question, 0, len(addrs))
	for _, a := range addrs {
		qs = append(qs, r.question(controller, purpose, stream, a))
	}
	// What the journal still waits for is read before Redis: whatever leaves
	// it in between is in Redis by then.
	read := func(ctx context.Context) ([][]any, error) { return r.read(ctx, purpose, qs) }
	replies, err := bounded(ctx, r, r.opts.Timeout, read)
	if err != nil {
		return nil, fmt.Errorf("look up consent of %d recipients: %w", len(addrs), err)
	}
	now := r.opts.Now()
	answers := make([]Answer, len(addrs))
	var f folder
	for i := range qs {
		n := len(qs[i].ids)
		if answers[i], err = f.answer(qs[i], replies[:n], now); err != nil {
			return nil, fmt.Errorf("read consent of subject %s: %w", qs[i].ids[0].ID, err)
		}
		if n > 1 {
			r.noteOld(controller, addrs[i], replies[:n])
		}
		replies = replies[n:]
	}
	return answers, nil
}

// question is one recipient as Redis is asked about it.
type question struct {
	ids     []address.Identity // under every live key, newest first
	waiting []*change          // what Redis may not know yet
	asked
}

func (r *Registry) question(controller, purpose string, stream uint16, a address.Address) question {
	return r.questionOf(r.ring.Identities(controller, a), purpose, stream)
}

func (r *Registry) questionOf(ids []address.Identity, purpose string, stream uint16) question {
	q := question{ids: ids}
	q.asked = asked{purpose: purpose, stream: stream, former: r.opts.Former(stream), exact: make([]address.ExactHash, len(q.ids))}
	for i, id := range q.ids {
		q.exact[i] = id.Exact
		q.waiting = append(q.waiting, r.journal.waitingFor(id.ID)...)
	}
	return q
}

// read fetches for each identity the suppression log, the consent log of the
// exact form and that of every form.
func (r *Registry) read(ctx context.Context, purpose string, qs []question) ([][]any, error) {
	for attempt := 0; ; attempt++ {
		expected, verified := r.journal.expected()
		pipe := r.rdb.Pipeline()
		nodes := pipe.HGetAll(ctx, keyNodes)
		cmds := make([]*redis.SliceCmd, 0, len(qs))
		anyone := consentField(anyForm, purpose)
		for i := range qs {
			for _, id := range qs[i].ids {
				cmds = append(cmds, pipe.HMGet(ctx, subjectKey(id.ID), fieldSuppression, consentField(id.Exact, purpose), anyone))
			}
		}
		_, _ = pipe.Exec(ctx) // each command keeps its own error
		markers, err := parseMarkers(nodes.Result())
		if err != nil {
			return nil, err
		}
		out := make([][]any, len(cmds))
		for i, c := range cmds {
			if out[i], err = c.Result(); err != nil {
				return nil, err
			}
		}
		if r.journal.saw(markers, expected) && verified {
			return out, nil
		}
		if attempt > 0 {
			return nil, fmt.Errorf("%w: it forgot what this node wrote", ErrStoreUnavailable)
		}
		if err := r.heal(ctx); err != nil {
			return nil, err
		}
	}
}

// folder turns stored logs into answers; it keeps its buffers.
type folder struct {
	supp    []suppEntry
	consent []entry
}

func (f *folder) answer(q question, replies [][]any, now time.Time) (Answer, error) {
	f.supp, f.consent = f.supp[:0], f.consent[:0]
	for _, fields := range replies {
		if err := f.add(fields); err != nil {
			return Answer{}, err
		}
	}
	for _, c := range q.waiting {
		if err := f.addWaiting(c, q.purpose); err != nil {
			return Answer{}, err
		}
	}
	own := q.ids[0].ID
	a := Answer{Subject: own}
	if st := fold(f.consent, now); st.known {
		a.Status, a.Basis, a.Evidence = st.status, st.by.basis, st.by.id.of(own)
	}
	if e, ok := binding(f.supp, q.asked); ok {
		a.Suppressed, a.Scope, a.Evidence = e.reason, e.scope, e.id.of(own)
	}
	return a, nil
}

func (f *folder) add(fields []any) (err error) {
	if len(fields) != 3 {
		return fmt.Errorf("%w: reply of %d fields", ErrDamaged, len(fields))
	}
	if s, ok := fields[0].(string); ok {
		if f.supp, err = decodeSuppEntries(s, f.supp); err != nil {
			return err
		}
	}
	for _, x := range fields[1:] {
		if s, ok := x.(string); ok {
			if f.consent, err = decodeEntries(s, f.consent); err != nil {
				return err
			}
		}
	}
	return nil
}

// addWaiting adds what only the journal holds yet. It holds consent events of
// opt-outs alone, which bind every exact form.
func (f *folder) addWaiting(c *change, purpose string) error {
	for _, p := range c.parts {
		if p.field == fieldSuppression {
			e, err := decodeSuppEntry(p.entry)
			if err != nil {
				return err
			}
			f.supp = append(f.supp, e)
			continue
		}
		if _, of, ok := parseConsentField(p.field); ok && of == purpose {
			e, err := decodeEntry(p.entry)
			if err != nil {
				return err
			}
			f.consent = append(f.consent, e)
		}
	}
	return nil
}
