package consent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Run looks after the store until ctx ends; an error is the node store's. It
// brings to Redis what could not be written, notices a Redis that was replaced or fell
// back, replays the journal then, and stops all sending where another key came
// into use that this node lacks.
func (r *Registry) Run(ctx context.Context) error {
	tick := time.NewTicker(r.opts.Tick)
	defer tick.Stop()
	var servers map[string]string
	down := false
	for {
		var err error
		servers, err = r.look(ctx, servers)
		switch {
		case ctx.Err() != nil:
			return r.journal.keepMarkers()
		case err != nil && !down:
			r.opts.Log.Warn("consent store needs attention", "err", err)
		case err == nil && down:
			r.opts.Log.Info("consent store is back")
		}
		down = err != nil
		if err == nil {
			if err := r.sweepIfDue(ctx); err != nil && ctx.Err() == nil {
				r.opts.Log.Error("consents not swept", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return r.journal.keepMarkers()
		case <-tick.C:
		}
	}
}

// look is one round of Run. It gives the run ids of the Redis servers. A
// replay takes the time it needs, all else is bounded.
func (r *Registry) look(ctx context.Context, before map[string]string) (map[string]string, error) {
	now := before
	err := within(ctx, r.opts.WriteTimeout, func(ctx context.Context) (err error) {
		now, err = r.runIDs(ctx)
		return err
	})
	if err != nil {
		return before, err
	}
	// The marker lives on one master: what another one lost while this node
	// was away does not show in it.
	_, sharded := r.rdb.(*redis.ClusterClient)
	if before == nil && sharded || before != nil && changed(before, now) {
		r.opts.Log.Info("replaying the journal of opt-outs: redis was restarted or replaced, or is a cluster")
		if _, err := r.Replay(ctx); err != nil {
			return before, err
		}
	}
	if err := r.heal(ctx); err != nil {
		return now, asUnavailable(err)
	}
	return now, within(ctx, r.opts.WriteTimeout, r.tidy)
}

// tidy compares keys, brings what is stuck and moves what look-ups noted.
func (r *Registry) tidy(ctx context.Context) error {
	if err := r.watchKeys(ctx); err != nil {
		return err
	}
	if stuck := r.journal.stuckAll(); len(stuck) > 0 {
		if _, err := r.applyJournalled(ctx, stuck); err != nil {
			return err
		}
	}
	r.mark(ctx)
	if err := r.journal.keepMarkers(); err != nil {
		return err
	}
	return r.settleWaiting(ctx)
}

// watchKeys stops look-ups while the keys in use are not this node's. A store
// without fingerprints is left to Check.
func (r *Registry) watchKeys(ctx context.Context) error {
	known, err := r.rdb.HGetAll(ctx, keyFingerprints).Result()
	if err != nil {
		return err
	}
	if len(known) > 0 {
		err = compareKeys(r.ring.Fingerprints(), known)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	r.blocked.set(err)
	return err
}

// runIDs gives each master's address and run id; empty where INFO is not
// allowed or not there, as in process.
func (r *Registry) runIDs(ctx context.Context) (map[string]string, error) {
	ids := map[string]string{}
	var mu sync.Mutex
	ask := func(ctx context.Context, c redis.Cmdable, name string) error {
		text, err := c.Info(ctx, "server").Result()
		var answered redis.Error
		if errors.As(err, &answered) {
			return nil // refused, not away
		}
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		ids[name] = infoField(text, "run_id")
		return nil
	}
	if cluster, ok := r.rdb.(*redis.ClusterClient); ok {
		err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			return ask(ctx, c, c.Options().Addr)
		})
		return ids, err
	}
	return ids, ask(ctx, r.rdb, "")
}

func changed(before, now map[string]string) bool {
	for name, id := range now {
		if before[name] != id {
			return true
		}
	}
	return false
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	return ""
}
