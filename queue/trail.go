package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/ledger"
)

// happened is an event of a case on its way into the ledger.
type happened struct {
	c *Case
	e Event
}

// prove writes one event of a case into the ledger.
func (q *Queue) prove(ctx context.Context, no, n string) error {
	o, err := q.happened(ctx, no, n)
	if err != nil {
		return err
	}
	return q.proveAll(ctx, o)
}

// happened reads event number n of a case, and the case as it is now.
func (q *Queue) happened(ctx context.Context, no, n string) (happened, error) {
	seq, err := strconv.Atoi(n)
	if err != nil {
		return happened{}, fmt.Errorf("%w: event %q", errPermanent, n)
	}
	line, err := q.rdb.LIndex(ctx, keyLog(no), int64(seq)).Result()
	if err != nil {
		return happened{}, fmt.Errorf("read event %d of case %s: %w", seq, no, err)
	}
	e, err := decodeEvent(nil, no, seq, line)
	if err != nil {
		return happened{}, err
	}
	f, err := q.rdb.HGetAll(ctx, keyCase(no)).Result()
	if err != nil {
		return happened{}, fmt.Errorf("read case %s: %w", no, err)
	}
	c, err := parseCase(no, f)
	return happened{c, e}, err
}

// proveAll writes events into the ledger in one commit, each under an id made
// of case and event number: what is there by then is not written again. Then
// it tells those who want to know.
func (q *Queue) proveAll(ctx context.Context, list ...happened) error {
	if len(list) == 0 {
		return nil
	}
	records := make([]ledger.Record, len(list))
	for i, o := range list {
		r := ledger.Record{
			ID: "case:" + o.c.Number + ":" + strconv.Itoa(o.e.Seq), Time: o.e.Time, Kind: ledger.KindCase, Controller: o.c.Controller, Subject: o.c.Subject,
			Actor: o.e.Actor, Action: string(o.e.Action), Reason: o.e.Reason, Ref: o.c.Number, Data: maps.Clone(o.e.Data),
		}
		if o.e.To != "" {
			if r.Data == nil {
				r.Data = map[string]string{}
			}
			r.Data["from"], r.Data["to"] = string(o.e.From), string(o.e.To)
		}
		records[i] = r
	}
	if err := q.d.Trail.Append(ctx, records...); err != nil {
		return fmt.Errorf("prove event %d of case %s and %d others: %w", list[0].e.Seq, list[0].c.Number, len(list)-1, err)
	}
	return q.publish(ctx, list...)
}

// resume does what was left to do with cases that were stored together, by a
// process that ended or failed before it was done. All of it may have been done
// before.
func (q *Queue) resume(ctx context.Context, numbers []string) error {
	cases, logs := make([]*redis.MapStringStringCmd, len(numbers)), make([]*redis.StringSliceCmd, len(numbers))
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, no := range numbers {
			cases[i], logs[i] = p.HGetAll(ctx, keyCase(no)), p.LRange(ctx, keyLog(no), 0, -1)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %d cases: %w", len(numbers), err)
	}
	var list []happened
	_, err = q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, no := range numbers {
			c, err := parseCase(no, cases[i].Val())
			if errors.Is(err, ErrUnknown) {
				continue // its mail was in a case already, or it was deleted
			}
			if err != nil {
				return err
			}
			p.XAdd(ctx, &redis.XAddArgs{Stream: keyWork, Values: []string{"case", no, "do", "mail", "n", "0", "try", "0"}})
			for seq, line := range logs[i].Val() {
				e, err := decodeEvent(nil, no, seq, line)
				if err != nil {
					return err
				}
				list = append(list, happened{c, e})
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("take up %d cases: %w", len(numbers), err)
	}
	return q.proveAll(ctx, list...)
}

// stored is an event as it is read back from its log: in whole milliseconds.
func (e Event) stored() Event {
	e.Time = time.UnixMilli(e.Time.UnixMilli()).UTC()
	return e
}
