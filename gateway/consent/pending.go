package consent

import (
	"context"
	"fmt"
	"time"

	"postern/gateway/address"
)

// SignUp is a sign-up that waits for its confirmation (CON-12).
type SignUp struct {
	ID      string // of the given event: Record(Confirmed) takes it as Ref
	Subject address.SubjectID
	Time    time.Time
	Expires time.Time // then it vanishes
	Terms   Terms     // what was shown, for the confirmation page
	Mail    string    // id of the confirmation mail, if it was told
}

// Pending finds the sign-up that Record(Given) gave the id of, for the page
// that asks for the confirmation. Errors wrap ErrNotFound where it has run
// out, was confirmed or never was; ErrStoreUnavailable.
func (r *Registry) Pending(ctx context.Context, id string) (SignUp, error) {
	return bounded(ctx, r, r.opts.Timeout, func(ctx context.Context) (SignUp, error) {
		subject, want, err := parseID(id)
		if err != nil {
			return SignUp{}, fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		all, err := r.subjectLogs(ctx, subject)
		if err != nil {
			return SignUp{}, err
		}
		now := r.opts.Now()
		for key, events := range all {
			given := newestPending(events, now, &want)
			if given == nil || confirmedAfter(events, *given) {
				continue
			}
			rec, err := r.eventRecord(ctx, subject, *given)
			if err != nil {
				return SignUp{}, fmt.Errorf("sign-up for %s: %w", key.purpose, err)
			}
			return SignUp{ID: id, Subject: subject, Time: rec.Time, Expires: given.expiry(), Terms: rec.Terms, Mail: rec.Mail}, nil
		}
		return SignUp{}, ErrNotFound
	})
}

func confirmedAfter(events []entry, given entry) bool {
	for _, e := range events {
		if e.action == Confirmed && e.at >= given.at {
			return true
		}
	}
	return false
}

// subjectLogs reads the consent logs of a subject, following a move.
func (r *Registry) subjectLogs(ctx context.Context, id address.SubjectID) (map[logKey][]entry, error) {
	fields, err := r.rdb.HGetAll(ctx, subjectKey(id)).Result()
	if err != nil {
		return nil, err
	}
	logs, _, err := decodeSubject(fields, nil)
	if err != nil {
		return nil, err
	}
	to, err := address.ParseSubjectID(fields[fieldMoved])
	if err != nil {
		return logs, nil // it points nowhere
	}
	if fields, err = r.rdb.HGetAll(ctx, subjectKey(to)).Result(); err != nil {
		return nil, err
	}
	more, _, err := decodeSubject(fields, nil)
	if err != nil {
		return nil, err
	}
	for key, events := range more {
		logs[key] = append(logs[key], events...)
	}
	return logs, nil
}
