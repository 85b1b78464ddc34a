package consent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
)

// Profile is all that is known of one person towards one controller.
type Profile struct {
	Controller   string              `json:"controller"`
	Subjects     []address.SubjectID `json:"-"` // the ids it is stored under, newest key first
	Consents     []Consent           `json:"consents"`
	Suppressions []SuppressionRecord `json:"suppressions"`
}

// Consent is the state of one exact form and purpose with its history.
type Consent struct {
	Purpose  string            `json:"purpose"`
	Form     address.ExactHash `json:"-"` // which exact form; zero: opt-outs, which bind every form
	Status   Status            `json:"status"`
	Basis    Basis             `json:"basis,omitempty"`
	Since    time.Time         `json:"since"`            // when the deciding event was
	Expires  time.Time         `json:"expires,omitzero"` // zero: no end
	Evidence string            `json:"evidence"`         // id of the deciding event
	History  []EventRecord     `json:"history"`          // oldest first
}

// EventRecord is one stored event with its evidence.
type EventRecord struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Action   Action    `json:"action"`
	Pending  bool      `json:"pending,omitempty"`  // waits for confirmation
	Unproven bool      `json:"unproven,omitempty"` // CON-17
	Expires  time.Time `json:"expires,omitzero"`
	Terms    Terms     `json:"terms"`
	IP       string    `json:"ip,omitempty"`
	Agent    string    `json:"user_agent,omitempty"`
	Ref      string    `json:"ref,omitempty"`      // the sign-up that was confirmed
	Mail     string    `json:"mail,omitempty"`     // id of the confirmation mail
	Guardian bool      `json:"guardian,omitempty"` // the holder of parental responsibility consented
}

// SuppressionRecord is one suppression and what ended it.
type SuppressionRecord struct {
	ID         string            `json:"id"`
	Time       time.Time         `json:"time"`
	Controller string            `json:"controller"`
	Subject    address.SubjectID `json:"-"`
	Scope      Scope             `json:"scope"`
	Stream     uint16            `json:"stream,omitempty"`
	Purpose    string            `json:"purpose,omitempty"`
	Reason     Reason            `json:"reason"`
	Source     string            `json:"source,omitempty"`
	Case       string            `json:"case,omitempty"`
	Actor      string            `json:"actor,omitempty"`
	Ended      time.Time         `json:"ended,omitzero"`      // zero: it stands
	EndedBy    string            `json:"ended_by,omitempty"`  // "release", "undo"
	EndActor   string            `json:"end_actor,omitempty"` //
	EndReason  string            `json:"end_reason,omitempty"`
	SignedUp   []string          `json:"signed_up,omitempty"` // purposes for which the person signed up again since
}

// Stands tells whether the suppression still binds, at least in part.
func (s SuppressionRecord) Stands() bool { return s.Ended.IsZero() }

// Profile gives history and suppressions of an address, for `consent show` and
// pages, over all live keys. An unknown person has an empty one. Errors wrap
// ErrStoreUnavailable or ErrDamaged.
func (r *Registry) Profile(ctx context.Context, controller string, a address.Address) (Profile, error) {
	var ids []address.SubjectID
	for _, x := range r.ring.Identities(controller, a) {
		ids = append(ids, x.ID)
	}
	return r.profile(ctx, controller, ids)
}

// ProfileSubject is Profile for a subject id, as from a token.
func (r *Registry) ProfileSubject(ctx context.Context, controller string, id address.SubjectID) (Profile, error) {
	ids, err := r.withMoved(ctx, []address.SubjectID{id})
	if err != nil {
		return Profile{}, err
	}
	return r.profile(ctx, controller, ids)
}

func (r *Registry) profile(ctx context.Context, controller string, ids []address.SubjectID) (Profile, error) {
	p, err := bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) (Profile, error) {
		p := Profile{Controller: controller, Subjects: ids}
		for _, id := range ids {
			if err := r.addProfile(ctx, &p, id); err != nil {
				return p, fmt.Errorf("subject %s: %w", id, err)
			}
		}
		return p, nil
	})
	if err != nil {
		return Profile{}, fmt.Errorf("read profile: %w", err)
	}
	slices.SortFunc(p.Consents, func(a, b Consent) int {
		return cmp.Or(cmp.Compare(a.Purpose, b.Purpose), slices.Compare(a.Form[:], b.Form[:]))
	})
	slices.SortStableFunc(p.Suppressions, func(a, b SuppressionRecord) int { return a.Time.Compare(b.Time) })
	return p, nil
}

func (r *Registry) addProfile(ctx context.Context, p *Profile, id address.SubjectID) error {
	waiting := r.journal.waitingFor(id)
	fields, err := r.rdb.HGetAll(ctx, subjectKey(id)).Result()
	if err != nil {
		return err
	}
	if had := fields[fieldController]; had != "" && had != p.Controller {
		return fmt.Errorf("%w: it belongs to another controller", ErrNotFound)
	}
	logs, supp, err := decodeSubject(fields, waiting)
	if err != nil {
		return err
	}
	for _, e := range supp {
		if e.op == opSet && !p.knows(e.id) {
			p.Suppressions = append(p.Suppressions, suppressionRecord(p.Controller, id, supp, e))
		}
	}
	for key, events := range logs {
		c, err := r.consentOf(ctx, id, key, events, logs[logKey{anyForm, key.purpose}])
		if err != nil {
			return err
		}
		p.Consents = append(p.Consents, c)
	}
	return nil
}

// knows tells whether a suppression is listed already, under another key.
func (p *Profile) knows(id eventID) bool {
	for _, s := range p.Suppressions {
		if _, had, err := parseID(s.ID); err == nil && had == id {
			return true
		}
	}
	return false
}

// logKey names one consent log of a subject.
type logKey struct {
	exact   address.ExactHash
	purpose string
}

// decodeSubject reads a subject's hash and adds what the journal still holds.
func decodeSubject(fields map[string]string, waiting []*change) (map[logKey][]entry, []suppEntry, error) {
	logs := map[logKey][]entry{}
	supp, err := decodeSuppEntries(fields[fieldSuppression], nil)
	if err != nil {
		return nil, nil, err
	}
	for field, log := range fields {
		exact, purpose, ok := parseConsentField(field)
		if !ok {
			continue
		}
		key := logKey{exact, purpose}
		if logs[key], err = decodeEntries(log, nil); err != nil {
			return nil, nil, err
		}
	}
	for _, c := range waiting {
		for _, pt := range c.parts {
			if pt.field == fieldSuppression {
				e, err := decodeSuppEntry(pt.entry)
				if err != nil {
					return nil, nil, err
				}
				supp = append(supp, e)
			} else if exact, purpose, ok := parseConsentField(pt.field); ok {
				e, err := decodeEntry(pt.entry)
				if err != nil {
					return nil, nil, err
				}
				key := logKey{exact, purpose}
				logs[key] = append(logs[key], e)
			}
		}
	}
	return logs, supp, nil
}

func (r *Registry) consentOf(ctx context.Context, id address.SubjectID, key logKey, own, any []entry) (Consent, error) {
	all := slices.Clone(own)
	if key.exact != anyForm {
		all = append(all, any...)
	}
	st := fold(all, r.opts.Now())
	c := Consent{Purpose: key.purpose, Form: key.exact, Status: st.status}
	if st.known {
		c.Basis, c.Since, c.Expires, c.Evidence = st.by.basis, st.by.time(), st.by.expiry(), st.by.id.of(id)
	}
	seen := map[eventID]bool{}
	for i, e := range all { // fold sorted them
		if seen[e.id] {
			continue
		}
		seen[e.id] = true
		rec, err := r.eventRecord(ctx, id, e)
		if err != nil {
			return c, err
		}
		if e.action == Confirmed && rec.Ref == "" {
			if su := newestPending(all[:i], e.time(), nil); su != nil {
				rec.Ref = su.id.of(id)
			}
		}
		c.History = append(c.History, rec)
	}
	return c, nil
}

func (r *Registry) eventRecord(ctx context.Context, id address.SubjectID, e entry) (EventRecord, error) {
	rec := EventRecord{
		ID: e.id.of(id), Time: e.time(), Action: e.action, Pending: e.pending, Unproven: e.unproven, Expires: e.expiry(),
	}
	own, err := decodeExtras(e.extras)
	if err != nil {
		return rec, err
	}
	rec.IP, rec.Agent, rec.Ref, rec.Mail, rec.Guardian = own.IP, own.UserAgent, own.Ref, own.Mail, own.Guardian
	rec.Terms, err = r.loadTerms(ctx, e.terms)
	return rec, err
}

// loadTerms reads shared evidence; where it is gone there is nothing to show.
func (r *Registry) loadTerms(ctx context.Context, h termsHash) (Terms, error) {
	text, err := r.rdb.Get(ctx, termsKey(h)).Result()
	if errors.Is(err, redis.Nil) {
		return Terms{}, nil
	}
	if err != nil {
		return Terms{}, err
	}
	return decodeTerms(text)
}

func suppressionRecord(controller string, id address.SubjectID, log []suppEntry, e suppEntry) SuppressionRecord {
	s := SuppressionRecord{
		ID: e.id.of(id), Time: e.time(), Controller: controller, Subject: id, Scope: e.scope, Stream: e.stream,
		Purpose: e.purpose, Reason: e.reason, Source: e.source, Case: e.caseNo, Actor: e.actor,
	}
	if by := closedBy(log, e); by != nil {
		s.Ended, s.EndActor, s.EndReason, s.EndedBy = by.time(), by.actor, by.why, "release"
		if by.op == opUndo {
			s.EndedBy = "undo"
		}
	}
	for _, l := range log {
		if l.lifts(log, e) {
			s.SignedUp = append(s.SignedUp, l.purpose)
		}
	}
	return s
}
