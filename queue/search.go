package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// OfAddress finds the cases of an address, with every controller and under
// every live key, unordered.
func (q *Queue) OfAddress(ctx context.Context, a address.Address) ([]string, error) {
	var cmds []*redis.StringSliceCmd
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, c := range q.d.Streams().Controllers() {
			for _, id := range q.subjectIDs(c.ID, a) {
				cmds = append(cmds, p.SMembers(ctx, keyPerson(id)))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for cases of an address: %w", err)
	}
	var out []string
	for _, cmd := range cmds {
		for _, no := range cmd.Val() {
			if !slices.Contains(out, no) {
				out = append(out, no)
			}
		}
	}
	return out, nil
}

// Person is the address a case is about: that of its first mail's sender, or
// of the mail a colleague passed on. Zero where none is known.
func (q *Queue) Person(c *Case) address.Address {
	if len(c.Mails) == 0 {
		return address.Address{}
	}
	return q.person(c.Mails[0])
}

// Systems names the systems that are asked for a verb in a case.
func (q *Queue) Systems(c *Case, v fulfil.Verb) []string {
	var out []string
	for _, s := range q.systems(c, v) {
		out = append(out, s.Connector.Name())
	}
	return out
}

// FourEyes tells whether an act (EyesErase, EyesDeny) takes two operators at a
// controller.
func (q *Queue) FourEyes(controller, act string) bool { return q.fourEyes(controller, act) }

// CanChallenge tells whether a page for one-time links is configured.
func (q *Queue) CanChallenge(controller string) bool { return q.rules().LinkBase[controller] != "" }

// ExtendedUntil is the due date after an extension, in the controller's zone.
// Errors wrap ErrMove where the law knows none, or it is too late for it.
func (q *Queue) ExtendedUntil(c *Case) (time.Time, error) {
	end, err := q.extendedEnd(c)
	if err != nil {
		return time.Time{}, err
	}
	_, loc := q.seat(q.controller(c.Controller))
	return end.In(loc), nil
}

// ReplyLanguages are the languages there are letter texts for.
func (q *Queue) ReplyLanguages() []string { return q.texts().Languages() }

// ReplyTexts are the texts of replies, for those who edit them.
func (q *Queue) ReplyTexts() *reply.Catalogue { return q.texts() }

// TwoForTexts tells whether an edited text needs a second person: it does where
// a controller asks for four eyes on anything.
func (q *Queue) TwoForTexts() bool {
	for _, h := range q.rules().Handling {
		if len(h.FourEyes) > 0 {
			return true
		}
	}
	return false
}
