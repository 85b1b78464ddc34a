package queue

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Index is a copy of all case records in this process, so that any filter over
// a hundred thousand cases answers in milliseconds. Redis numbers the changes
// of cases; a Snapshot first takes over those since the last one, so it is never
// older than the call. It is safe for concurrent use.
type Index struct {
	q    *Queue
	mu   sync.Mutex
	last *Snapshot

	names    sync.RWMutex
	byNumber map[string]*Case
}

// Snapshot is the state of all cases at one moment. It is immutable: the cases
// it points to are shared and must not be written to. Their Mails are empty.
type Snapshot struct {
	Tick  int64   // number of the last change it holds
	Cases []*Case // those due first, then ended ones newest first

	x *Index
}

// Case finds one by its number in the newest state that the index holds, or
// nil.
func (s *Snapshot) Case(number string) *Case {
	s.x.names.RLock()
	defer s.x.names.RUnlock()
	return s.x.byNumber[number]
}

// Index is the one index that rooms of this process share.
func (q *Queue) Index() *Index { return q.index }

// NewIndex makes an empty index; the first Snapshot reads every case.
func (q *Queue) NewIndex() *Index { return &Index{q: q} }

// Snapshot gives the state as of now, and the numbers of the cases that changed
// since the snapshot before; nil for the first.
func (x *Index) Snapshot(ctx context.Context) (*Snapshot, []string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last == nil {
		s, err := x.load(ctx)
		if err != nil {
			return nil, nil, err
		}
		x.last = s
		return s, nil, nil
	}
	p := x.q.rdb.Pipeline()
	fresh := p.ZRangeByScoreWithScores(ctx, keyTouched, &redis.ZRangeBy{Min: "(" + strconv.FormatInt(x.last.Tick, 10), Max: "+inf"})
	count, tick := p.ZCard(ctx, keyAll), p.Get(ctx, keyTick)
	if _, err := p.Exec(ctx); err != nil && !isNil(err) {
		return nil, nil, fmt.Errorf("index cases: %w", err)
	}
	if now, _ := strconv.ParseInt(tick.Val(), 10, 64); now < x.last.Tick { // the store was restored from an older copy
		return x.reload(ctx, nil)
	}
	if len(fresh.Val()) == 0 && int(count.Val()) == len(x.last.Cases) {
		return x.last, nil, nil
	}
	numbers := make([]string, len(fresh.Val()))
	upTo := x.last.Tick
	for i, z := range fresh.Val() {
		numbers[i], _ = z.Member.(string)
		upTo = max(upTo, int64(z.Score))
	}
	next, err := x.merge(ctx, numbers, upTo)
	if err != nil {
		return nil, nil, err
	}
	if len(next.Cases) < int(count.Val()) || len(next.Cases) > int(count.Val())+len(numbers) { // deletions do not count as changes
		return x.reload(ctx, numbers)
	}
	x.last = next
	return next, numbers, nil
}

func (x *Index) reload(ctx context.Context, changed []string) (*Snapshot, []string, error) {
	s, err := x.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	x.last = s
	return s, changed, nil
}

// load reads every case. The tick is read first: a change in between is read
// once more by the next call.
func (x *Index) load(ctx context.Context) (*Snapshot, error) {
	tick, err := x.q.rdb.Get(ctx, keyTick).Int64()
	if err != nil && !isNil(err) {
		return nil, fmt.Errorf("index cases: %w", err)
	}
	numbers, err := x.q.rdb.ZRange(ctx, keyAll, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("index cases: %w", err)
	}
	s := &Snapshot{Tick: tick, x: x}
	for chunk := range slices.Chunk(numbers, 1000) {
		cases, err := x.q.readMany(ctx, chunk)
		if err != nil {
			return nil, err
		}
		s.Cases = append(s.Cases, cases...)
	}
	slices.SortFunc(s.Cases, byDue)
	byNumber := make(map[string]*Case, len(s.Cases))
	for _, c := range s.Cases {
		byNumber[c.Number] = c
	}
	x.names.Lock()
	x.byNumber = byNumber
	x.names.Unlock()
	return s, nil
}

// merge is the last snapshot with the numbered cases read anew.
func (x *Index) merge(ctx context.Context, numbers []string, tick int64) (*Snapshot, error) {
	var fresh []*Case
	for chunk := range slices.Chunk(numbers, 1000) {
		cases, err := x.q.readMany(ctx, chunk)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, cases...)
	}
	s := &Snapshot{Tick: tick, x: x, Cases: slices.Clone(x.last.Cases)}
	x.names.Lock()
	defer x.names.Unlock()
	gone := make(map[*Case]bool, len(numbers))
	for _, no := range numbers {
		if old := x.byNumber[no]; old != nil {
			gone[old] = true
			delete(x.byNumber, no)
		}
	}
	for _, c := range fresh {
		x.byNumber[c.Number] = c
	}
	if len(numbers) > fewChanges {
		s.Cases = append(slices.DeleteFunc(s.Cases, func(c *Case) bool { return gone[c] }), fresh...)
		slices.SortFunc(s.Cases, byDue)
		return s, nil
	}
	for old := range gone {
		if at, ok := slices.BinarySearchFunc(s.Cases, old, byDue); ok {
			s.Cases = slices.Delete(s.Cases, at, at+1)
		}
	}
	for _, c := range fresh {
		at, _ := slices.BinarySearchFunc(s.Cases, c, byDue)
		s.Cases = slices.Insert(s.Cases, at, c)
	}
	return s, nil
}

// fewChanges are put in their places one by one; more are sorted in.
const fewChanges = 64

// byDue orders live cases by what is due first, then ended ones newest first.
func byDue(a, b *Case) int {
	ka, kb := orderKey(a), orderKey(b)
	switch {
	case ka < kb:
		return -1
	case ka > kb:
		return 1
	}
	return strings.Compare(a.Number, b.Number)
}

func orderKey(c *Case) int64 {
	if c.State.Live() {
		return c.Due.UnixMilli()
	}
	return math.MaxInt64 - max(c.EndedAt.UnixMilli(), 0)
}

// FirstMails opens the first mail of each case, for the line that a list shows.
// Cases without one are left out.
func (q *Queue) FirstMails(ctx context.Context, numbers []string) (map[string]Incoming, error) {
	keys, mails := make([]*redis.StringCmd, len(numbers)), make([]*redis.StringCmd, len(numbers))
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, no := range numbers {
			keys[i], mails[i] = p.HGet(ctx, keyCase(no), "key"), p.LIndex(ctx, keyMails(no), 0)
		}
		return nil
	})
	if err != nil && !isNil(err) {
		return nil, fmt.Errorf("read first mails: %w", err)
	}
	out := make(map[string]Incoming, len(numbers))
	for i, no := range numbers {
		if keys[i].Val() == "" || mails[i].Val() == "" {
			continue
		}
		key, err := q.vault.Unwrap(no, keys[i].Val())
		if err != nil {
			return nil, err
		}
		if out[no], err = openMail(key, no, mails[i].Val()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Touched gives the numbers of the cases that changed after the change of that
// number; none for 0.
func (q *Queue) Touched(ctx context.Context, after int64) ([]string, error) {
	if after <= 0 {
		return nil, nil
	}
	numbers, err := q.rdb.ZRangeByScore(ctx, keyTouched, &redis.ZRangeBy{Min: "(" + strconv.FormatInt(after, 10), Max: "+inf", Count: 1000}).Result()
	if err != nil {
		return nil, fmt.Errorf("look for changed cases: %w", err)
	}
	return numbers, nil
}
