package consent

import (
	"context"
	"fmt"
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
		pipe := r.rdb.Pipeline()
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
	})
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
