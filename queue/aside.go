package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"

	"postern/classifier"
	"postern/gateway/consent"
)

// Aside is a mail that became no case.
type Aside struct {
	ID         string
	Controller string
	Why        string
	Received   time.Time
	Mail       Incoming
}

// SetAside keeps mails that became no case, each with the reason in a closed
// word, so that an operator can look through them and make a case of one with
// its true receipt date (DSR-1). Of each only Why and Mail are read. It is
// idempotent on the message's place. A bounce at the reverse-path of a case
// marks that case (AR-10).
func (q *Queue) SetAside(ctx context.Context, list ...Aside) error {
	runs := parcels{shared: []string{keySeen, keyAside}}
	for _, a := range list {
		if err := q.bounced(ctx, a.Mail, a.Why); err != nil {
			return err
		}
		id := ulid.Make().String()
		key, wrapped, err := q.vault.Make(id)
		if err != nil {
			return err
		}
		sealed, err := sealMail(key, id, a.Mail)
		if err != nil {
			return err
		}
		runs.add([]string{keyAsideMail(id)}, []any{seenField(a.Mail), id, millis(a.Mail.Received), wrapped, sealed, a.Why, a.Mail.Controller})
	}
	if len(runs.calls) == 0 {
		return nil
	}
	if _, err := q.durable(ctx, asideScript, runs.calls...); err != nil {
		return fmt.Errorf("set %d mails aside: %w", len(list), err)
	}
	return nil
}

// bounced marks the case whose letter came back; delays and receipts of
// delivery say nothing final.
func (q *Queue) bounced(ctx context.Context, in Incoming, why string) error {
	if in.Result.Kind != classifier.KindBounce || why != bounceFailed {
		return nil
	}
	no := q.ParseCaseToken(in.ReplyToken)
	if no == "" {
		var err error
		if no, err = q.letterReturned(ctx, in); err != nil || no == "" {
			return err
		}
	}
	err := q.undeliverable(ctx, no, "dsn", "bounce:"+sha(seenField(in)))
	if errors.Is(err, ErrUnknown) {
		return nil // the case was deleted at the end of its time
	}
	return err
}

// letterReturned is the case of the letter that a report at the contact address
// is about, where no reverse-path of the case's own is configured; "" for none.
// Who got the letter could forge the report: it opens their case again.
func (q *Queue) letterReturned(ctx context.Context, in Incoming) (string, error) {
	no := FindCaseNo(in.Returned)
	if no == "" {
		return "", nil
	}
	controller, err := q.rdb.HGet(ctx, keyCase(no), "controller").Result()
	if isNil(err) || err == nil && controller != in.Controller {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look up case %s: %w", no, err)
	}
	letters, err := q.rdb.LLen(ctx, keyOut(no)).Result()
	if err != nil {
		return "", fmt.Errorf("count letters of case %s: %w", no, err)
	}
	for n := range letters {
		if strings.HasPrefix(in.Returned, messageID(no, outRef(no, strconv.FormatInt(n, 10)))+"@") {
			return no, nil
		}
	}
	return "", nil
}

// bounceFailed is intake's word for a report of final failure.
const bounceFailed = "bounce"

// Asides lists mails set aside, newest first.
func (q *Queue) Asides(ctx context.Context, limit, offset int) ([]Aside, error) {
	if limit <= 0 {
		limit = 100
	}
	ids, err := q.rdb.ZRevRange(ctx, keyAside, int64(offset), int64(offset+limit-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("list mails set aside: %w", err)
	}
	var out []Aside
	for _, id := range ids {
		a, err := q.asideByID(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func (q *Queue) asideByID(ctx context.Context, id string) (Aside, error) {
	f, err := q.rdb.HGetAll(ctx, keyAsideMail(id)).Result()
	if err != nil {
		return Aside{}, fmt.Errorf("read mail set aside %s: %w", id, err)
	}
	if len(f) == 0 {
		return Aside{}, fmt.Errorf("mail set aside %s: %w", id, ErrUnknown)
	}
	key, err := q.vault.Unwrap(id, f["key"])
	if err != nil {
		return Aside{}, err
	}
	in, err := openMail(key, id, f["mail"])
	if err != nil {
		return Aside{}, err
	}
	return Aside{ID: id, Controller: f["controller"], Why: f["why"], Received: fromMillis(f["received"]), Mail: in}, nil
}

// Promote makes a case of a mail set aside; its clock starts at the mail's
// receipt, as if it had never been aside.
func (q *Queue) Promote(ctx context.Context, id string) (Ref, error) {
	a, err := q.asideByID(ctx, id)
	if err != nil {
		return Ref{}, err
	}
	// The place in the mailbox points to the aside entry: it is freed first.
	// A crash here leaves the entry listed, and promoting again finds the case
	// by its bytes.
	if err := q.rdb.HDel(ctx, keySeen, seenField(a.Mail)).Err(); err != nil {
		return Ref{}, fmt.Errorf("promote %s: %w", id, err)
	}
	ref, err := q.Open(ctx, a.Mail)
	if err != nil {
		return Ref{}, err
	}
	if _, err := q.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.ZRem(ctx, keyAside, id)
		p.Del(ctx, keyAsideMail(id))
		return nil
	}); err != nil {
		return ref, fmt.Errorf("promote %s: %w", id, err)
	}
	return ref, nil
}

// OptOut handles a mail to the unsubscribe address: the token in its
// local-part names subject and stream, so it binds at once, whoever sent it,
// and nothing is answered (UNS-8). A token that does not authenticate makes
// the mail a case, for a person wanted something.
func (q *Queue) OptOut(ctx context.Context, token string, in Incoming) error {
	subject, number, ok := q.token(token)
	if !ok {
		in.Token = ""
		in.MayReply, in.NoReplyWhy = false, "unsubscribe-address"
		_, err := q.Open(ctx, in)
		return err
	}
	controller := in.Controller
	if st, ok := q.d.Streams().ByNumber(number); ok {
		controller = st.Controller
	}
	at := in.Received
	if at.IsZero() {
		at = q.o.Now()
	}
	_, err := q.d.Optout.Suppress(ctx, consent.Suppression{
		ID: "mailto:" + seenField(in)[2:], Time: at, Controller: controller, Subject: subject,
		Scope: consent.ScopeStream, Stream: number, Reason: consent.Unsubscribed, Source: "mailto", Actor: "link",
	})
	if err != nil {
		return fmt.Errorf("unsubscribe by mail, uid %d in %q: %w", in.UID, in.Mailbox, err)
	}
	return nil
}
