package consent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Durability says what is asked of Redis (design D11).
type Durability struct {
	AllowVolatile bool // take a store that forgets: the demo only
	Asserted      bool // the operator's word where INFO or CONFIG can't be read
}

// CheckDurability refuses a Redis that may lose or evict what it holds: it
// wants AOF on, fsync at every write and no eviction, on every master (ST-8).
// What can't be read counts as refused unless asserted; what is read and wrong
// is refused even then. Errors wrap ErrVolatile with what to do, or
// ErrStoreUnavailable.
func CheckDurability(ctx context.Context, rdb redis.UniversalClient, o Durability) error {
	if o.AllowVolatile {
		return nil
	}
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			return checkServer(ctx, c, o)
		})
	}
	return checkServer(ctx, rdb, o)
}

func checkServer(ctx context.Context, c redis.Cmdable, o Durability) error {
	var faults []string
	aof, readable, err := infoValue(ctx, c, "persistence", "aof_enabled")
	if err != nil {
		return err
	}
	judge := func(name, value, want string, readable bool, advice string) {
		switch {
		case !readable && !o.Asserted:
			faults = append(faults, name+" can't be read: allow INFO and CONFIG GET, or set redis.durability_asserted if you know that it is "+want)
		case readable && value != want:
			faults = append(faults, fmt.Sprintf("%s is %q: %s", name, value, advice))
		}
	}
	if aof == "0" {
		aof = "no"
	} else if aof == "1" {
		aof = "yes"
	}
	judge("appendonly", aof, "yes", readable, "set appendonly yes")
	for _, want := range [][3]string{
		{"maxmemory-policy", "noeviction", "set maxmemory-policy noeviction"},
		{"appendfsync", "always", "set appendfsync always"},
	} {
		value, readable, err := configValue(ctx, c, want[0])
		if err != nil {
			return err
		}
		if !readable && want[0] == "maxmemory-policy" {
			if value, readable, err = infoValue(ctx, c, "memory", "maxmemory_policy"); err != nil {
				return err
			}
		}
		judge(want[0], value, want[1], readable, want[2])
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %s", ErrVolatile, strings.Join(faults, "; "))
	}
	return nil
}

// infoValue reads a field of INFO; readable is false where the server refuses.
func infoValue(ctx context.Context, c redis.Cmdable, section, field string) (value string, readable bool, err error) {
	text, err := c.Info(ctx, section).Result()
	var refused redis.Error
	if errors.As(err, &refused) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("%w: read INFO %s: %w", ErrStoreUnavailable, section, err)
	}
	value = infoField(text, field)
	return value, value != "", nil
}

func configValue(ctx context.Context, c redis.Cmdable, name string) (value string, readable bool, err error) {
	got, err := c.ConfigGet(ctx, name).Result()
	var refused redis.Error
	if errors.As(err, &refused) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("%w: read CONFIG %s: %w", ErrStoreUnavailable, name, err)
	}
	value, ok := got[name]
	return value, ok, nil
}
