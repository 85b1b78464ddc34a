package consent

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
)

// scanCount is how many keys Redis walks per SCAN call.
const scanCount = 1000

// eachSubject walks all subjects, in pages, on every master of a cluster. A
// subject may come twice, as SCAN has it; callers bear that.
func (r *Registry) eachSubject(ctx context.Context, yield func([]address.SubjectID) error) error {
	scan := func(ctx context.Context, c redis.Cmdable) error {
		var cursor uint64
		for {
			keys, next, err := c.Scan(ctx, cursor, subjectPrefix+"*", scanCount).Result()
			if err != nil {
				return asUnavailable(err)
			}
			ids := make([]address.SubjectID, 0, len(keys))
			for _, k := range keys {
				if id, ok := subjectOfKey(k); ok {
					ids = append(ids, id)
				}
			}
			if len(ids) > 0 {
				if err := yield(ids); err != nil {
					return err
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	cluster, ok := r.rdb.(*redis.ClusterClient)
	if !ok {
		return scan(ctx, r.rdb)
	}
	var one sync.Mutex // masters are walked at once, yield is not
	return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		one.Lock()
		defer one.Unlock()
		return scan(ctx, c)
	})
}

// Suppressions gives every suppression of a controller, ended ones too, in no
// order; controller "" takes all. An error of yield ends it and comes back.
// Other errors wrap ErrStoreUnavailable or ErrDamaged.
func (r *Registry) Suppressions(ctx context.Context, controller string, yield func(SuppressionRecord) error) error {
	seen := map[string]bool{}
	return r.eachSubject(ctx, func(ids []address.SubjectID) error {
		return r.suppressionsOf(ctx, r.rdb, controller, ids, seen, yield)
	})
}

// suppressionsOf gives those of some subjects.
func (r *Registry) suppressionsOf(ctx context.Context, c redis.Cmdable, controller string, ids []address.SubjectID, seen map[string]bool, yield func(SuppressionRecord) error) error {
	pipe := c.Pipeline()
	cmds := make([]*redis.SliceCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.HMGet(ctx, subjectKey(id), fieldController, fieldSuppression)
	}
	_, _ = pipe.Exec(ctx)
	for i, id := range ids {
		fields, err := cmds[i].Result()
		if err != nil {
			return asUnavailable(err)
		}
		of, _ := fields[0].(string)
		log, _ := fields[1].(string)
		if log == "" || (controller != "" && of != controller) {
			continue
		}
		if err := yieldSuppressions(of, id, log, seen, yield); err != nil {
			return err
		}
	}
	return nil
}

// pageKeys bounds how many keys one page walks, so that it is prompt where only
// few of many people are suppressed.
const pageKeys = 20 * scanCount

// SuppressionsPage gives at most limit suppressions that keep says yes to, and
// where the next page begins, "" after the last: so a caller goes through any
// number of them in steps that each take a bounded time. A page may hold fewer
// than limit, and none, though more follow. The order is none; what stands from
// the first page to the last comes at least once, and may come twice. Errors
// wrap ErrStoreUnavailable, ErrDamaged, or ErrRefused for a place that is none.
func (r *Registry) SuppressionsPage(ctx context.Context, controller, from string, limit int, keep func(SuppressionRecord) bool) (out []SuppressionRecord, next string, err error) {
	masters, err := r.masters(ctx)
	if err != nil {
		return nil, "", err
	}
	at, err := parsePlace(from)
	if err != nil || at.master >= len(masters) {
		return nil, "", fmt.Errorf("%w: no place in the list", ErrRefused)
	}
	for walked := 0; at.master < len(masters); {
		if walked >= pageKeys {
			return out, at.String(), nil
		}
		keys, after, err := masters[at.master].Scan(ctx, at.cursor, subjectPrefix+"*", scanCount).Result()
		if err != nil {
			return nil, "", asUnavailable(err)
		}
		walked += scanCount
		batch, err := r.suppressionsOfKeys(ctx, masters[at.master], controller, keys)
		if err != nil {
			return nil, "", err
		}
		for _, s := range batch { // in the order of their names, so that a page can end among them
			if s.ID <= at.after || !keep(s) {
				continue
			}
			if len(out) == limit {
				at.after = out[limit-1].ID
				return out, at.String(), nil
			}
			out = append(out, s)
		}
		at.cursor, at.after = after, ""
		if after == 0 {
			at.master++
		}
	}
	return out, "", nil
}

func (r *Registry) suppressionsOfKeys(ctx context.Context, c redis.Cmdable, controller string, keys []string) (out []SuppressionRecord, err error) {
	ids := make([]address.SubjectID, 0, len(keys))
	for _, k := range keys {
		if id, ok := subjectOfKey(k); ok {
			ids = append(ids, id)
		}
	}
	err = r.suppressionsOf(ctx, c, controller, ids, map[string]bool{}, func(s SuppressionRecord) error {
		out = append(out, s)
		return nil
	})
	slices.SortFunc(out, func(a, b SuppressionRecord) int { return strings.Compare(a.ID, b.ID) })
	return out, err
}

// masters are the servers that hold subjects, in an order that stays.
func (r *Registry) masters(ctx context.Context) ([]redis.Cmdable, error) {
	cluster, ok := r.rdb.(*redis.ClusterClient)
	if !ok {
		return []redis.Cmdable{r.rdb}, nil
	}
	var mu sync.Mutex
	var found []*redis.Client
	err := cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, c)
		return nil
	})
	if err != nil {
		return nil, asUnavailable(err)
	}
	slices.SortFunc(found, func(a, b *redis.Client) int { return strings.Compare(a.Options().Addr, b.Options().Addr) })
	out := make([]redis.Cmdable, len(found))
	for i, c := range found {
		out[i] = c
	}
	return out, nil
}

// place is where a page ended: a master, its SCAN cursor, and the name of the
// last entry of that batch that was given.
type place struct {
	master int
	cursor uint64
	after  string
}

func (p place) String() string {
	return fmt.Sprintf("%d:%d:%s", p.master, p.cursor, p.after)
}

func parsePlace(text string) (p place, err error) {
	if text == "" {
		return p, nil
	}
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return p, ErrRefused
	}
	if p.master, err = strconv.Atoi(parts[0]); err == nil {
		p.cursor, err = strconv.ParseUint(parts[1], 10, 64)
	}
	p.after = parts[2]
	if p.master < 0 {
		return p, ErrRefused
	}
	return p, err
}

func yieldSuppressions(controller string, id address.SubjectID, log string, seen map[string]bool, yield func(SuppressionRecord) error) error {
	entries, err := decodeSuppEntries(log, nil)
	if err != nil {
		return fmt.Errorf("subject %s: %w", id, err)
	}
	for _, e := range entries {
		if e.op != opSet {
			continue
		}
		rec := suppressionRecord(controller, id, entries, e)
		if seen[rec.ID] {
			continue
		}
		seen[rec.ID] = true
		if err := yield(rec); err != nil {
			return err
		}
	}
	return nil
}
