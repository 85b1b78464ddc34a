package consent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// Release is an operator's decision that a suppression was wrong, with the
// reason that has to be on record.
type Release struct {
	ID         string            // one suppression; or else all of the person with Reason
	Controller string            // with Address or Subject
	Address    address.Address   //
	Subject    address.SubjectID //
	Only       Reason            // without ID: those with this reason; "" takes all
	Actor      string            // "operator:<name>"
	Reason     string            // why, in the operator's words; kept with the person, not in the ledger
	Time       time.Time         // zero: now
}

// Release ends suppressions by an operator's decision. No import can: Actor
// has to be an operator. Errors wrap ErrRefused without actor or reason,
// ErrNotFound where nothing stands, ErrStoreUnavailable.
func (r *Registry) Release(ctx context.Context, rel Release) error {
	if !strings.HasPrefix(rel.Actor, "operator:") || len(rel.Actor) == len("operator:") {
		return fmt.Errorf("%w: only an operator, named as operator:<name>, releases a suppression", ErrRefused)
	}
	if strings.TrimSpace(rel.Reason) == "" || len(rel.Reason) > maxOwn {
		return fmt.Errorf("%w: a release needs its reason", ErrRefused)
	}
	ids := []address.SubjectID{rel.Subject}
	var only *eventID
	if rel.ID != "" {
		subject, id, err := parseID(rel.ID)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		ids, only = []address.SubjectID{subject}, &id
	} else if !rel.Address.IsZero() {
		ids = ids[:0]
		for _, x := range r.ring.Identities(rel.Controller, rel.Address) {
			ids = append(ids, x.ID)
		}
	}
	ids, err := r.withMoved(ctx, ids)
	if err != nil {
		return err
	}
	pick := func(e suppEntry) bool {
		return (only == nil || e.id == *only) && (rel.Only == "" || e.reason == rel.Only)
	}
	return r.closeAll(ctx, ids, pick, suppEntry{op: opRelease, actor: rel.Actor, why: rel.Reason, at: r.timeOr(rel.Time)})
}

// Exchange places s in the stead of a suppression of the same person that waits
// for an erasure, once none comes: that one ends only when s, which reaches as
// far, binds. So nothing restarts by itself, and what stands then is a no that
// the person can take back. It gives the id of s. Errors wrap ErrRefused,
// ErrNotFound where old is none that waits, ErrStoreUnavailable.
func (r *Registry) Exchange(ctx context.Context, old string, s Suppression) (string, error) {
	subject, id, err := parseID(old)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if s.Scope != ScopeController || !liftable(s.Reason) {
		return "", fmt.Errorf("%w: what takes the place of a pending erasure stops all marketing, and its person can take it back", ErrRefused)
	}
	ids, err := r.withMoved(ctx, []address.SubjectID{subject})
	if err != nil {
		return "", err
	}
	s.Address, s.Subject = address.Address{}, ids[len(ids)-1]
	placed, err := r.Suppress(ctx, s)
	if err != nil {
		return "", err
	}
	pick := func(e suppEntry) bool { return e.id == id && e.reason == ErasurePending && e.scope == ScopeController }
	return placed, r.closeAll(ctx, ids, pick, suppEntry{op: opRelease, actor: s.Actor, why: "in its place: " + placed, at: r.timeOr(s.Time)})
}

func (r *Registry) timeOr(t time.Time) int64 {
	if t.IsZero() {
		t = r.opts.Now()
	}
	return t.UnixMilli()
}

// Undo takes back one opt-out within its time (24 h), as the link on the page
// does (design D7): only that one, so that the state before it is restored.
// What an operator, a bounce or a complaint set has no undo. Undoing twice is
// undoing once. Errors wrap ErrNotFound, ErrUndoOver, ErrStoreUnavailable.
func (r *Registry) Undo(ctx context.Context, suppressionID string) error {
	subject, id, err := parseID(suppressionID)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	now := r.opts.Now()
	over := false
	pick := func(e suppEntry) bool {
		if e.id != id && e.target != id {
			return false
		}
		over = !liftable(e.reason) || now.Sub(e.time()) > r.opts.UndoFor
		return !over
	}
	ids, err := r.withMoved(ctx, []address.SubjectID{subject})
	if err != nil {
		return err
	}
	err = r.closeAll(ctx, ids, pick, suppEntry{op: opUndo, actor: "link", at: now.UnixMilli()})
	if over {
		return fmt.Errorf("undo %s: %w", suppressionID, ErrUndoOver)
	}
	return err
}

// withMoved adds the ids that took the place of ids after a rotation.
func (r *Registry) withMoved(ctx context.Context, ids []address.SubjectID) ([]address.SubjectID, error) {
	if r.keys == 1 {
		return ids, nil
	}
	return bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) ([]address.SubjectID, error) {
		out := slices.Clone(ids)
		for _, id := range ids {
			to, err := r.movedTo(ctx, id)
			if err != nil {
				return nil, err
			}
			if !to.IsZero() && !slices.Contains(out, to) {
				out = append(out, to)
			}
		}
		return out, nil
	})
}

// stored is what Redis holds of the suppressions of one subject.
type stored struct {
	subject    address.SubjectID
	controller string
	log        []suppEntry
}

// closeAll writes a closing entry for each standing suppression that pick takes.
func (r *Registry) closeAll(ctx context.Context, ids []address.SubjectID, pick func(suppEntry) bool, by suppEntry) error {
	all, err := bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) ([]stored, error) { return r.suppressionLogs(ctx, ids) })
	if err != nil {
		return fmt.Errorf("read suppressions: %w", err)
	}
	var changes []*change
	var recs []ledger.Record
	found := false
	for _, st := range all {
		for _, e := range st.log {
			if e.op != opSet || !pick(e) {
				continue
			}
			found = true
			if closedBy(st.log, e) != nil {
				continue
			}
			x := by
			x.target = e.id
			x.id = hashID("close", string(e.id[:]), string([]byte{by.op}))
			changes = append(changes, &change{subject: st.subject, controller: st.controller, parts: []part{{fieldSuppression, string(x.encode())}}})
			recs = append(recs, closeRecord(st, e, x))
		}
	}
	if !found {
		return ErrNotFound
	}
	if len(changes) == 0 {
		return nil
	}
	if err := r.journal.write(changes, recs); err != nil {
		return err
	}
	_, err = bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) ([]int, error) { return r.applyJournalled(ctx, changes) })
	if err != nil {
		r.journal.setStuck(changes)
	}
	return err
}

func closeRecord(st stored, e, by suppEntry) ledger.Record {
	action := "release"
	if by.op == opUndo {
		action = "undo"
	}
	return ledger.Record{
		ID: action + ":" + by.id.of(st.subject), Time: by.time(), Kind: ledger.KindSuppression, Controller: st.controller,
		Subject: st.subject, Actor: by.actor, Action: action, Reason: string(e.reason), Stream: e.stream, Ref: e.id.of(st.subject),
	}
}

// suppressionLogs reads suppressions of subjects, with what the journal holds.
func (r *Registry) suppressionLogs(ctx context.Context, ids []address.SubjectID) ([]stored, error) {
	out := make([]stored, 0, len(ids))
	for _, id := range ids {
		if id.IsZero() {
			continue
		}
		st := stored{subject: id}
		waiting := r.journal.waitingFor(id)
		fields, err := r.rdb.HMGet(ctx, subjectKey(id), fieldController, fieldSuppression).Result()
		if err != nil {
			return nil, err
		}
		st.controller, _ = fields[0].(string)
		log, _ := fields[1].(string)
		if st.log, err = decodeSuppEntries(log, nil); err != nil {
			return nil, fmt.Errorf("subject %s: %w", id, err)
		}
		for _, c := range waiting {
			st.controller = c.controller
			f := folder{supp: st.log}
			if err := f.addWaiting(c, ""); err != nil {
				return nil, err
			}
			st.log = f.supp
		}
		out = append(out, st)
	}
	return out, nil
}
