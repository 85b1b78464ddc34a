package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"

	"postern/gateway/ledger"
)

// keySwept holds that the deletion run of a day was begun; lives 48 hours.
func keySwept(day string) string { return prefix + "swept:" + day }

// sweepDaily starts the deletion run once a day, on whichever node is first.
func (q *Queue) sweepDaily(ctx context.Context) error {
	first, err := q.rdb.SetNX(ctx, keySwept(q.o.Now().UTC().Format("20060102")), q.o.Node, 48*time.Hour).Result()
	if err != nil || !first {
		return wrapf(err, "begin deletion run")
	}
	_, err = q.Sweep(ctx)
	return errors.Join(err, q.forgetWorkers(ctx))
}

// Swept tells what a deletion run did.
type Swept struct {
	Cases  int // deleted
	Held   int // cases and mails set aside that a legal hold keeps
	Asides int // mails set aside, deleted
	Files  int // of ended cases, deleted before the case
}

// Sweep deletes what has reached the end of its time: ended cases, with their
// key, texts, letters and files, and mails set aside. A legal hold keeps a
// case. What remains is where its mails lay and keyed hashes of their ids, so
// that a mail read again is known. The run is a ledger record (ST-1, D12b).
func (q *Queue) Sweep(ctx context.Context) (Swept, error) {
	var s Swept
	old, err := q.rdb.ZRangeByScore(ctx, keyAll, &redis.ZRangeBy{Min: "-inf", Max: millis(q.o.Now().Add(-min(q.rules().KeepCases, q.rules().KeepFiles)))}).Result()
	if err != nil {
		return s, fmt.Errorf("find cases to delete: %w", err)
	}
	held := func(controller string) bool { _, ok := q.heldByLaw(controller); return ok }
	for chunk := range slices.Chunk(old, 256) {
		cases, err := q.readMany(ctx, chunk)
		if err != nil {
			return s, err
		}
		for _, c := range cases {
			switch {
			case c.State.Live() || c.EndedAt.IsZero() || slices.Contains(c.Flags, FlagLegalHold) || held(c.Controller):
			case c.EndedAt.Before(q.o.Now().Add(-q.rules().KeepFiles)) && c.EndedAt.After(q.o.Now().Add(-q.rules().KeepCases)):
				n, err := q.sweepFiles(ctx, c.Number)
				if err != nil {
					return s, err
				}
				s.Files += n
				continue
			}
			switch {
			case c.State.Live() || c.EndedAt.IsZero() || c.EndedAt.After(q.o.Now().Add(-q.rules().KeepCases)):
			case slices.Contains(c.Flags, FlagLegalHold) || held(c.Controller):
				s.Held++
			default:
				gone, err := q.deleteCase(ctx, c.Number)
				if err != nil {
					return s, err
				}
				if gone {
					s.Cases++
				}
			}
		}
	}
	if err := q.sweepAsides(ctx, &s); err != nil {
		return s, err
	}
	var runs []ledger.Record
	for _, class := range []struct {
		name, key string
		keep      time.Duration
		count     int
	}{{"cases", keyAll, q.rules().KeepCases, s.Cases}, {"aside", keyAside, q.rules().KeepAside, s.Asides}} {
		oldest, err := q.oldestLeft(ctx, class.key)
		if err != nil {
			return s, err
		}
		data := map[string]string{"class": class.name, "before": q.o.Now().Add(-class.keep).UTC().Format(time.RFC3339), "count": strconv.Itoa(class.count)}
		if !oldest.IsZero() {
			data["oldest"] = oldest.UTC().Format(time.RFC3339)
		}
		if class.name == "cases" {
			data["held"], data["files"] = strconv.Itoa(s.Held), strconv.Itoa(s.Files)
		}
		runs = append(runs, ledger.Record{ID: "retention:" + ulid.Make().String(), Time: q.o.Now(), Kind: ledger.KindRetention,
			Actor: "rule", Action: "delete", Reason: "end-of-time", Data: data})
	}
	return s, wrapf(q.d.Trail.Append(ctx, runs...), "prove deletion run")
}

// oldestLeft is when the oldest item of a sorted set was received; zero where
// it is empty.
func (q *Queue) oldestLeft(ctx context.Context, key string) (time.Time, error) {
	first, err := q.rdb.ZRangeWithScores(ctx, key, 0, 0).Result()
	if err != nil || len(first) == 0 {
		return time.Time{}, wrapf(err, "find what is left")
	}
	return time.UnixMilli(int64(first[0].Score)), nil
}

// deleteCase deletes a case whose time is over, unless it came to life again or
// was put on hold since it was found: then it stays, with the mail that woke it.
func (q *Queue) deleteCase(ctx context.Context, no string) (gone bool, err error) {
	err = q.rdb.Watch(ctx, func(tx *redis.Tx) error {
		gone = false
		f, err := tx.HGetAll(ctx, keyCase(no)).Result()
		if err != nil || len(f) == 0 {
			return err
		}
		c, err := parseCase(no, f)
		if err != nil {
			return err
		}
		_, held := q.heldByLaw(c.Controller)
		if held || c.State.Live() || c.EndedAt.IsZero() || slices.Contains(c.Flags, FlagLegalHold) || c.EndedAt.After(q.o.Now().Add(-q.rules().KeepCases)) {
			return nil
		}
		tasks, err := tasksOf(f)
		if err != nil {
			return err
		}
		if err := q.deleteFiles(f, tasks); err != nil { // first: without the record nobody would find them
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			q.stageDelete(ctx, p, c, f, tasks)
			return nil
		})
		gone = err == nil
		return err
	}, keyCase(no))
	if errors.Is(err, redis.TxFailedErr) {
		return false, nil // it changed just now: the next run looks again
	}
	return gone, wrapf(err, "delete case %s", no)
}

func (q *Queue) deleteFiles(f map[string]string, tasks []Task) error {
	if q.files == nil {
		return nil
	}
	for _, t := range tasks {
		if t.File != "" {
			if err := q.files.Delete(t.File); err != nil {
				return err
			}
		}
	}
	for _, id := range splitWords(f["vault"]) {
		if err := q.files.Delete(id); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) stageDelete(ctx context.Context, p redis.Pipeliner, c *Case, f map[string]string, tasks []Task) {
	p.Del(ctx, keyCase(c.Number), keyMails(c.Number), keyLog(c.Number), keyOut(c.Number))
	p.ZRem(ctx, keyAll, c.Number)
	p.ZRem(ctx, keyDue, c.Number)
	p.ZRem(ctx, keyTouched, c.Number)
	for _, m := range append(allReminders(c.Number), allBreachReminders(c.Number)...) {
		p.ZRem(ctx, keyRemind, m)
	}
	p.SRem(ctx, keyPerson(subjectText(c.Subject)), c.Number)
	for _, link := range []string{f[linkChallenge], f[linkStatus], f[linkDownload]} {
		if link != "" {
			p.HDel(ctx, keyLinks, link)
		}
	}
	for _, t := range tasks {
		for round := 0; t.Person && round <= t.Round; round++ {
			p.HDel(ctx, keyLinks, q.vault.Lookups("link", q.taskToken(t.Key, round))...)
		}
	}
}

func (q *Queue) sweepAsides(ctx context.Context, s *Swept) error {
	old, err := q.rdb.ZRangeByScore(ctx, keyAside, &redis.ZRangeBy{Min: "-inf", Max: millis(q.o.Now().Add(-q.rules().KeepAside))}).Result()
	if err != nil {
		return fmt.Errorf("find mails set aside: %w", err)
	}
	for _, id := range old {
		controller, err := q.rdb.HGet(ctx, keyAsideMail(id), "controller").Result()
		if err != nil && !isNil(err) {
			return fmt.Errorf("read mail set aside %s: %w", id, err)
		}
		if _, held := q.heldByLaw(controller); held {
			s.Held++
			continue
		}
		_, err = q.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Del(ctx, keyAsideMail(id))
			p.ZRem(ctx, keyAside, id)
			return nil
		})
		if err != nil {
			return fmt.Errorf("delete mail set aside %s: %w", id, err)
		}
		s.Asides++
	}
	return nil
}
