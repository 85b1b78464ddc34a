package consent

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// flush stores what was taken: opt-outs first, so that nothing is mailable in
// between.
func (im *importer) flush(ctx context.Context) error {
	defer func() { im.consents, im.opts = im.consents[:0], im.opts[:0] }()
	if err := im.flushOptOuts(ctx); err != nil {
		return err
	}
	return im.flushConsents(ctx)
}

func (im *importer) flushOptOuts(ctx context.Context) error {
	if len(im.opts) == 0 {
		return nil
	}
	if im.o.DryRun {
		im.rep.Suppressed += len(im.opts)
		return nil
	}
	changes := make([]*change, len(im.opts))
	recs := make([]ledger.Record, len(im.opts))
	for i, x := range im.opts {
		subject := x.s.Subject
		stamp := ""
		if !x.s.Time.IsZero() {
			stamp = x.s.Time.UTC().Format(time.RFC3339Nano)
		} else {
			x.s.Time = im.now
		}
		id := hashID("import", string(x.s.Reason), string(x.s.Scope), x.s.Purpose, stamp)
		if x.s.Scope == ScopeStream {
			id = hashID("import", string(x.s.Reason), string(x.s.Scope), strconv.Itoa(int(x.s.Stream)), stamp)
		}
		e := suppEntry{
			id: id, op: opSet, at: x.s.Time.UnixMilli(), reason: x.s.Reason, scope: x.s.Scope,
			purpose: x.s.Purpose, stream: x.s.Stream, source: x.s.Source, actor: x.s.Actor,
		}
		changes[i] = &change{subject: subject, controller: x.s.Controller, parts: []part{{fieldSuppression, string(e.encode())}}}
		recs[i] = x.s.record(subject, id)
	}
	if err := im.r.journal.write(changes, recs); err != nil {
		return err
	}
	added, err := bounded(ctx, im.r, im.r.opts.WriteTimeout, func(ctx context.Context) ([]int, error) {
		return im.r.applyJournalled(ctx, changes)
	})
	if err != nil {
		im.r.journal.setStuck(changes)
		return fmt.Errorf("import opt-outs: %w", err)
	}
	for i, n := range added {
		if n > 0 {
			im.rep.Suppressed++
			im.r.met.optOuts.WithLabelValues(string(im.opts[i].s.Reason), "import").Inc()
		} else {
			im.rep.Repeated++
		}
	}
	return nil
}

func (im *importer) flushConsents(ctx context.Context) error {
	if len(im.consents) == 0 {
		return nil
	}
	if err := within(ctx, im.r.opts.WriteTimeout, im.storeConsents); err != nil {
		return fmt.Errorf("import consents: %w", err)
	}
	return nil
}

func (im *importer) storeConsents(ctx context.Context) error {
	kept, err := im.optedOut(ctx)
	if err != nil {
		return err
	}
	changes := make([]*change, len(im.consents))
	recs := make([]ledger.Record, len(im.consents))
	for i, x := range im.consents {
		who := x.who
		terms, err := im.termsFor(ctx, x.event)
		if err != nil {
			return err
		}
		e := x.event
		en := entry{action: e.Action, basis: e.Basis, at: e.Time.UnixMilli(), imported: true, unproven: !x.full, terms: terms.hash}
		stamp := "?"
		if e.Time.IsZero() {
			en.at, e.Time = im.now.UnixMilli(), im.now
		} else {
			stamp = e.Time.UTC().Format(time.RFC3339Nano)
		}
		if !e.Expires.IsZero() {
			en.expires = e.Expires.Unix()
		}
		en.extras = extras{IP: e.IP}.encode()
		en.id = hashID("import", e.Purpose, string(who.Exact[:]), string(e.Action), stamp, terms.hash.String())
		changes[i] = &change{subject: who.ID, controller: e.Controller, parts: []part{{consentField(who.Exact, e.Purpose), string(en.encode())}}}
		recs[i] = recordOf(e, who.ID, en.id, terms.full)
	}
	added := make([]int, len(changes))
	for i := range added {
		added[i] = 1
	}
	if !im.o.DryRun {
		if err := im.r.journal.record(recs); err != nil {
			return err
		}
		if added, err = im.r.apply(ctx, changes); err != nil {
			return err
		}
	}
	for i, x := range im.consents {
		switch {
		case added[i] == 0:
			im.rep.Repeated++
		case kept[i]:
			im.rep.Kept++
		case x.full:
			im.rep.Active++
		default:
			im.rep.Unproven++
		}
	}
	return nil
}

// optedOut tells for each consent row whether the person said no before.
func (im *importer) optedOut(ctx context.Context) ([]bool, error) {
	out := make([]bool, len(im.consents))
	var f folder
	for from := 0; from < len(im.consents); {
		// Rows of one purpose are asked together.
		to := from + 1
		for to < len(im.consents) && im.consents[to].event.Purpose == im.consents[from].event.Purpose {
			to++
		}
		var qs []question
		for _, x := range im.consents[from:to] {
			if x.event.Address.IsZero() { // known by its hashes alone
				qs = append(qs, im.r.questionOf([]address.Identity{x.who}, x.event.Purpose, 0))
				continue
			}
			qs = append(qs, im.r.question(im.o.Controller, x.event.Purpose, 0, x.event.Address))
		}
		replies, err := im.r.read(ctx, im.consents[from].event.Purpose, qs)
		if err != nil {
			return nil, err
		}
		for i, q := range qs {
			a, err := f.answer(q, replies[:len(q.ids)], im.now)
			if err != nil {
				return nil, err
			}
			replies = replies[len(q.ids):]
			out[from+i] = a.Suppressed != "" || a.Status == StatusWithdrawn || a.Status == StatusObjected
		}
		from = to
	}
	return out, nil
}

func (im *importer) termsFor(ctx context.Context, e Event) (storedTerms, error) {
	t := termsOf(e)
	if had, ok := im.terms[t]; ok {
		return had, nil
	}
	text, hash, full, err := t.encode()
	if err == nil && !im.o.DryRun {
		err = im.r.storeTerms(ctx, text, hash)
	}
	if err != nil {
		return storedTerms{}, err
	}
	if len(im.terms) > 10_000 { // rows with a source each: do not hold them all
		clear(im.terms)
	}
	im.terms[t] = storedTerms{hash, full}
	return im.terms[t], nil
}
