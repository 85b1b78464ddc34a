package consent

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
)

// Rotation of subject-id keys (design D8): an address's data under an older
// key moves to the newest when the address is next seen. The opt-outs are
// copied and also stay where they are, so that at no moment and on no node
// anybody loses sight of them; consents move, and the old id points on.

// move is an address that a look-up found under an older key.
type move struct {
	controller string
	address    address.Address
}

// noteOld remembers to move an address; when too many wait it is left for the
// next time it is seen.
func (r *Registry) noteOld(controller string, a address.Address, replies [][]any) {
	for _, old := range replies[1:] {
		if len(old) == 3 && (old[1] != nil || old[2] != nil || (old[0] != nil && replies[0][0] == nil)) {
			select {
			case r.moves <- move{controller, a}:
			default:
			}
			return
		}
	}
}

// settle brings what older keys hold of an address under the newest one.
func (r *Registry) settle(ctx context.Context, controller string, a address.Address) error {
	if r.keys == 1 {
		return nil
	}
	ids := r.ring.Identities(controller, a)
	for _, old := range ids[1:] {
		if err := r.settleFrom(ctx, controller, old, ids[0]); err != nil {
			return fmt.Errorf("move subject %s to the newest key: %w", old.ID, err)
		}
	}
	return nil
}

func (r *Registry) settleFrom(ctx context.Context, controller string, old, to address.Identity) error {
	fields, err := r.rdb.HGetAll(ctx, subjectKey(old.ID)).Result()
	if err != nil || len(fields) == 0 {
		return err
	}
	c := &change{subject: to.ID, controller: controller}
	args := []any{fieldMoved, to.ID.String()}
	for field, log := range fields {
		target := field
		exact, purpose, isConsent := parseConsentField(field)
		switch {
		case isConsent && exact == old.Exact:
			target = consentField(to.Exact, purpose)
			args = append(args, field, log)
		case isConsent && exact != anyForm, !isConsent && field != fieldSuppression:
			continue // another form of the person: its hash under the new key is not known
		}
		err := eachFrame(log, func(entry string) error {
			c.parts = append(c.parts, part{target, entry})
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(c.parts) == 0 {
		return nil
	}
	if _, err := r.apply(ctx, []*change{c}); err != nil {
		return err
	}
	return dropScript.Run(ctx, r.rdb, []string{subjectKey(old.ID)}, args...).Err()
}

// movedTo follows the pointer that settle left; zero where there is none.
func (r *Registry) movedTo(ctx context.Context, id address.SubjectID) (address.SubjectID, error) {
	text, err := r.rdb.HGet(ctx, subjectKey(id), fieldMoved).Result()
	if errors.Is(err, redis.Nil) {
		return address.SubjectID{}, nil
	}
	if err != nil {
		return address.SubjectID{}, err
	}
	to, err := address.ParseSubjectID(text)
	if err != nil {
		return to, fmt.Errorf("%w: pointer of subject %s", ErrDamaged, id)
	}
	return to, nil
}

// settleWaiting moves what look-ups have noted.
func (r *Registry) settleWaiting(ctx context.Context) error {
	for {
		select {
		case m := <-r.moves:
			if err := r.settle(ctx, m.controller, m.address); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}
