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
	"postern/queue/vault"
)

// orphanWait is how long a sealed file that no case names is kept still.
const orphanWait = 7 * 24 * time.Hour

// SweepOrphans deletes sealed files of this node's vault folder that no case
// names: a crash may leave one between its writing and that of its case, or
// between the deletion of the case's word of it and its own. It is found first
// and deleted a week later. Where far too many are found nothing happens, and the
// error wraps vault.ErrImplausible: the store may be the wrong one. A run that
// deletes is a ledger record.
func (q *Queue) SweepOrphans(ctx context.Context) (vault.Stale, error) {
	if q.files == nil {
		return vault.Stale{}, nil
	}
	s, err := q.files.Orphans(orphanWait, func(ids []string) (map[string]bool, error) { return q.namedFiles(ctx, ids) })
	if s.Found+s.Deleted > 0 {
		q.o.Log.Warn("sealed files that no case names", "found", s.Found, "deleted", s.Deleted, "of", s.Files)
	}
	if s.Deleted == 0 {
		return s, wrapf(err, "sweep the vault folder")
	}
	run := ledger.Record{ID: "retention:" + ulid.Make().String(), Time: q.o.Now(), Kind: ledger.KindRetention, Actor: "rule", Action: "delete",
		Reason: "orphaned", Data: map[string]string{"class": "vault", "count": strconv.Itoa(s.Deleted)}}
	return s, errors.Join(wrapf(err, "sweep the vault folder"), wrapf(q.d.Trail.Append(ctx, run), "prove deletion run"))
}

// namedFiles tells which of the ids some case names.
func (q *Queue) namedFiles(ctx context.Context, ids []string) (map[string]bool, error) {
	out := make(map[string]bool, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	numbers, err := q.rdb.ZRange(ctx, keyAll, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("look for files of cases: %w", err)
	}
	for chunk := range slices.Chunk(numbers, 1000) {
		lists := make([]*redis.StringCmd, len(chunk))
		_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, no := range chunk {
				lists[i] = p.HGet(ctx, keyCase(no), "vault")
			}
			return nil
		})
		if err != nil && !isNil(err) {
			return nil, fmt.Errorf("look for files of cases: %w", err)
		}
		for _, l := range lists {
			if err := l.Err(); err != nil && !isNil(err) {
				return nil, fmt.Errorf("look for files of cases: %w", err)
			}
			for _, id := range splitWords(l.Val()) {
				out[id] = true
			}
		}
	}
	return out, nil
}
