package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/gateway/ledger"
)

// keyLooked is the hash of how far the mails set aside were looked through:
// until (Unix ms), by (actor), at (Unix ms); no end.
const keyLooked = prefix + "looked"

// LookThrough marks that an operator looked at every mail set aside that was
// received until then. The mark never goes back; it is a ledger record, for an
// unread pile is a request overlooked (DSR-1).
func (q *Queue) LookThrough(ctx context.Context, until time.Time, actor string) error {
	if !strings.HasPrefix(actor, "operator:") {
		return fmt.Errorf("%w: an actor is needed", ErrMove)
	}
	was, _, err := q.LookedThrough(ctx)
	if err != nil || !until.After(was) {
		return err
	}
	if err := q.rdb.HSet(ctx, keyLooked, "until", millis(until), "by", actor, "at", millis(q.o.Now())).Err(); err != nil {
		return fmt.Errorf("mark mails set aside as looked through: %w", err)
	}
	return q.d.Trail.Append(ctx, ledger.Record{
		ID: "looked:" + ulid.Make().String(), Time: q.o.Now(), Kind: ledger.KindCase, Actor: actor, Action: "looked-through",
		Data: map[string]string{"until": millis(until)},
	})
}

// LookedThrough tells up to which receipt mails set aside were looked at, and
// by whom; the zero time: never.
func (q *Queue) LookedThrough(ctx context.Context) (until time.Time, by string, err error) {
	f, err := q.rdb.HGetAll(ctx, keyLooked).Result()
	if err != nil {
		return time.Time{}, "", fmt.Errorf("read how far mails set aside were looked at: %w", err)
	}
	return fromMillis(f["until"]), f["by"], nil
}

// NotLookedThrough counts the mails set aside after that mark.
func (q *Queue) NotLookedThrough(ctx context.Context) (int64, error) {
	until, _, err := q.LookedThrough(ctx)
	if err != nil {
		return 0, err
	}
	from := "-inf"
	if !until.IsZero() {
		from = "(" + millis(until)
	}
	n, err := q.rdb.ZCount(ctx, keyAside, from, "+inf").Result()
	if err != nil {
		return 0, fmt.Errorf("count mails set aside: %w", err)
	}
	return n, nil
}
