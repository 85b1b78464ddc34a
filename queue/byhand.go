package queue

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
)

// ByHand is a request that came by post, telephone, counter or web form.
type ByHand struct {
	Controller string
	Way        string    // "post", "phone", "counter", "form"
	Received   time.Time // when it truly arrived: the clock starts there
	Address    address.Address
	Name       string
	Text       string // what was asked, as taken down
	Labels     []classifier.Label
	Language   string
	Actor      string // "operator:<name>", or "person" for a form
	Key        string // the same key twice is the same request; made where empty
}

// ways a request may come beside mail.
var ways = []string{"post", "phone", "counter", "form"}

// OpenByHand makes a case of a request that was no mail. It follows the same
// path: opt-outs in it bind at once, the clock starts at the true receipt. No
// automatic mail leaves, for nothing proves whose address it is.
func (q *Queue) OpenByHand(ctx context.Context, b ByHand) (Ref, error) {
	switch {
	case !slices.Contains(ways, b.Way):
		return Ref{}, fmt.Errorf("open case by hand: way %q is none of %s", b.Way, strings.Join(ways, ", "))
	case b.Received.IsZero() || b.Received.After(q.o.Now()):
		return Ref{}, errors.New("open case by hand: the date of receipt is missing or in the future")
	case !strings.HasPrefix(b.Actor, "operator:") && b.Actor != "person":
		return Ref{}, errors.New("open case by hand: an actor is needed")
	}
	if _, ok := q.d.Streams().Controller(b.Controller); !ok {
		return Ref{}, fmt.Errorf("open case by hand: controller %q is not configured", b.Controller)
	}
	if b.Key == "" {
		raw := make([]byte, 16)
		if _, err := rand.Read(raw); err != nil {
			return Ref{}, fmt.Errorf("open case by hand: %w", err)
		}
		b.Key = hex.EncodeToString(raw)
	}
	return q.Open(ctx, Incoming{
		Controller: b.Controller, Mailbox: ByHandMailbox, Folder: b.Way + "/" + b.Key, ContentHash: sha("by-hand\x00" + b.Key), Received: b.Received,
		From: b.Address, FromName: b.Name, Text: b.Text, Grade: Unknown, GradeWhy: "by " + b.Way, NoReplyWhy: "by-hand",
		Result: classifier.Result{Language: b.Language, Kind: classifier.KindRequest, Decided: b.Labels, Abstain: len(b.Labels) == 0, Asker: "subject"},
	})
}
