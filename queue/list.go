package queue

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// List gives the cases a filter picks, those due first, then ended ones newest
// first; their mails are left out.
func (q *Queue) List(ctx context.Context, f Filter) ([]Case, error) {
	numbers, err := q.candidates(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("list cases: %w", err)
	}
	limit := orInt(f.Limit, 1000)
	skip := f.Offset
	out := []Case{}
	for chunk := range slices.Chunk(numbers, 256) {
		cases, err := q.readMany(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, c := range cases {
			if !f.picks(c) {
				continue
			}
			if skip > 0 {
				skip--
				continue
			}
			if out = append(out, *c); len(out) == limit {
				return out, nil
			}
		}
	}
	return out, nil
}

func (q *Queue) candidates(ctx context.Context, f Filter) ([]string, error) {
	if !f.Subject.IsZero() {
		return q.rdb.SMembers(ctx, keyPerson(f.Subject.String())).Result()
	}
	until := strconv.FormatInt(math.MaxInt64, 10)
	if !f.DueBefore.IsZero() {
		until = "(" + millis(f.DueBefore)
	}
	due, err := q.rdb.ZRangeByScore(ctx, keyDue, &redis.ZRangeBy{Min: "-inf", Max: until}).Result()
	if err != nil || f.Live || !f.DueBefore.IsZero() {
		return due, err
	}
	all, err := q.rdb.ZRevRange(ctx, keyAll, 0, -1).Result()
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(due))
	for _, no := range due {
		seen[no] = true
	}
	for _, no := range all {
		if !seen[no] {
			due = append(due, no)
		}
	}
	return due, nil
}

func (q *Queue) readMany(ctx context.Context, numbers []string) ([]*Case, error) {
	cmds := make([]*redis.MapStringStringCmd, len(numbers))
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, no := range numbers {
			cmds[i] = p.HGetAll(ctx, keyCase(no))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %d cases: %w", len(numbers), err)
	}
	out := make([]*Case, 0, len(numbers))
	for i, cmd := range cmds {
		c, err := parseCase(numbers[i], cmd.Val())
		if err != nil {
			continue // deleted between the two reads
		}
		out = append(out, c)
	}
	return out, nil
}

func (f Filter) picks(c *Case) bool {
	return (f.Controller == "" || f.Controller == c.Controller) &&
		(len(f.States) == 0 || slices.Contains(f.States, c.State)) &&
		(f.Label == "" || slices.Contains(c.Labels, f.Label)) &&
		(f.Asker == "" || f.Asker == c.Asker) &&
		(f.Owner == "" || f.Owner == c.Owner) &&
		(f.Roles == nil || c.Role == "" || slices.Contains(f.Roles, c.Role)) &&
		(!f.Live || c.State.Live()) &&
		(f.DueBefore.IsZero() || c.State.Live() && c.Due.Before(f.DueBefore))
}

// Show opens a case with its mails and its events, oldest first. The number
// may be written in any way FindCaseNo reads.
func (q *Queue) Show(ctx context.Context, number string) (Case, []Event, error) {
	no := FindCaseNo(number)
	if no == "" {
		return Case{}, nil, fmt.Errorf("case %q: %w", number, ErrUnknown)
	}
	c, _, key, err := q.load(ctx, no)
	if err != nil {
		return Case{}, nil, err
	}
	sealed, err := q.rdb.LRange(ctx, keyMails(no), 0, -1).Result()
	if err != nil {
		return Case{}, nil, fmt.Errorf("read mails of case %s: %w", no, err)
	}
	for _, s := range sealed {
		in, err := openMail(key, no, s)
		if err != nil {
			return Case{}, nil, err
		}
		c.Mails = append(c.Mails, in)
	}
	lines, err := q.rdb.LRange(ctx, keyLog(no), 0, -1).Result()
	if err != nil {
		return Case{}, nil, fmt.Errorf("read log of case %s: %w", no, err)
	}
	events := make([]Event, 0, len(lines))
	for i, line := range lines {
		e, err := decodeEvent(key, no, i, line)
		if err != nil {
			return Case{}, nil, err
		}
		events = append(events, e)
	}
	return *c, events, nil
}
