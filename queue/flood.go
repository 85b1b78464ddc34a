package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/consent"
)

// source names who handed an opt-out in, as a keyed hash; "" if nothing is
// known. Without an IP address the reverse-path's domain stands in.
func (q *Queue) source(in Incoming) string {
	from := in.Source
	if from == "" {
		if _, domain, ok := strings.Cut(strings.Trim(in.ReturnPath, "<>"), "@"); ok {
			from = "domain:" + strings.ToLower(domain)
		}
	}
	if from == "" {
		return ""
	}
	return q.vault.Lookups("source", from)[0]
}

// optOutMail is a mail of a case whose opt-outs bind.
type optOutMail struct {
	no    string
	index int
	in    Incoming
}

// countOptOuts remembers that the opt-outs of mails bind and rings the alarm
// once per window where one source sends too many: they all bind, but an
// operator has to look (design D13).
func (q *Queue) countOptOuts(ctx context.Context, mails ...optOutMail) error {
	if len(mails) == 0 {
		return nil
	}
	now := q.o.Now()
	last := map[string]optOutMail{} // of each source
	counts := map[string]*redis.IntCmd{}
	at := float64(now.UnixMilli())
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		var all []redis.Z
		bySource := map[string][]redis.Z{}
		for _, m := range mails {
			source := q.source(m.in)
			member := m.no + " " + strconv.Itoa(m.index)
			all = append(all, redis.Z{Score: at, Member: member + " " + source})
			if source != "" {
				bySource[source] = append(bySource[source], redis.Z{Score: at, Member: member})
				last[source] = m
			}
		}
		p.ZAddNX(ctx, keyOptOut, all...)
		for source, members := range bySource {
			p.ZAddNX(ctx, keyFlood(source), members...)
			p.ZRemRangeByScore(ctx, keyFlood(source), "-inf", millis(now.Add(-48*time.Hour)))
			counts[source] = p.ZCount(ctx, keyFlood(source), millis(now.Add(-q.rules().FloodWindow)), "+inf")
			p.Expire(ctx, keyFlood(source), 48*time.Hour)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count opt-outs of %d mails: %w", len(mails), err)
	}
	for source, count := range counts {
		if count.Val() < int64(q.rules().FloodCount) {
			continue
		}
		first, err := q.rdb.SetNX(ctx, keyAlarm(source), "1", q.rules().FloodWindow).Result()
		if err != nil {
			return fmt.Errorf("ring flood alarm: %w", err)
		}
		if first {
			q.o.Log.Error("many opt-outs from one source, see whether they are forged", "source", source, "count", count.Val())
			q.tell(ctx, Notice{Kind: "optout-flood", Case: last[source].no, Controller: last[source].in.Controller, Reason: source})
		}
	}
	return nil
}

// Revert picks opt-outs to take back.
type Revert struct {
	Source     string // as the alarm named it; "" takes all sources
	From, Till time.Time
	Controller string // "" takes all
	Actor      string // "operator:<name>"
	Reason     string // why, kept with each record
	DryRun     bool
}

// Reverted tells what a reversal did, or would do.
type Reverted struct {
	Cases    []string
	Released int // opt-outs ended
	Gone     int // ended before, or unknown by now
}

// RevertOptOuts takes back the opt-outs that mails of one source placed in a
// span of time, after a flood of forged ones. Only what these very mails bound
// is released: the same person's other opt-outs stand. It may be repeated.
func (q *Queue) RevertOptOuts(ctx context.Context, r Revert) (Reverted, error) {
	var done Reverted
	releaser, ok := q.d.Optout.(Releaser)
	switch {
	case !ok:
		return done, errors.New("revert opt-outs: the registry can't release")
	case !strings.HasPrefix(r.Actor, "operator:") || r.Reason == "":
		return done, errors.New("revert opt-outs: an operator and a reason are needed")
	case r.From.IsZero() || r.Till.IsZero():
		return done, errors.New("revert opt-outs: a span of time is needed")
	}
	members, err := q.rdb.ZRangeByScore(ctx, keyOptOut, &redis.ZRangeBy{Min: millis(r.From), Max: millis(r.Till)}).Result()
	if err != nil {
		return done, fmt.Errorf("revert opt-outs: %w", err)
	}
	for _, m := range members {
		no, rest, _ := strings.Cut(m, " ")
		index, source, _ := strings.Cut(rest, " ")
		if r.Source != "" && source != r.Source {
			continue
		}
		if err := q.revertMail(ctx, releaser, r, no, index, &done); err != nil {
			return done, err
		}
	}
	return done, nil
}

func (q *Queue) revertMail(ctx context.Context, releaser Releaser, r Revert, no, index string, done *Reverted) error {
	c, events, err := q.Show(ctx, no)
	if errors.Is(err, ErrUnknown) || err == nil && r.Controller != "" && c.Controller != r.Controller {
		return nil
	}
	if err != nil {
		return err
	}
	any := false
	for _, e := range events {
		id := e.Data["event"]
		if (e.Action != ActSuppress && e.Action != ActHold) || id == "" || e.Data["mail"] != index {
			continue
		}
		any = true
		if r.DryRun {
			done.Released++
			continue
		}
		err := releaser.Release(ctx, consent.Release{ID: id, Controller: c.Controller, Actor: r.Actor, Reason: r.Reason})
		switch {
		case errors.Is(err, consent.ErrNotFound):
			done.Gone++
			continue
		case err != nil:
			return fmt.Errorf("revert opt-out of case %s: %w", no, err)
		}
		done.Released++
		_, _, err = q.change(ctx, no, "released:"+id, func(_ *Case, ch *changing) error {
			ch.events = append(ch.events, Event{Actor: r.Actor, Action: ActRelease, Reason: string(e.Reason), Note: r.Reason, Data: map[string]string{"event": id}})
			return nil
		})
		if err != nil {
			return err
		}
	}
	if any {
		done.Cases = append(done.Cases, no)
	}
	return nil
}
