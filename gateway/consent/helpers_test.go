package consent

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cutter lets some commands pass and then fails all, before they are sent, as
// a lost connection does.
type cutter struct {
	after int
	seen  atomic.Int64
	off   atomic.Bool
}

var errCut = errors.New("connection was cut")

func (c *cutter) cut() bool { return c.seen.Add(1) > int64(c.after) && !c.off.Load() }

func (c *cutter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *cutter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if c.cut() {
			cmd.SetErr(errCut)
			return errCut
		}
		return next(ctx, cmd)
	}
}

func (c *cutter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if c.cut() {
			for _, cmd := range cmds {
				cmd.SetErr(errCut)
			}
			return errCut
		}
		return next(ctx, cmds)
	}
}

// content is what a Redis holds: hashes and strings.
type content struct {
	hashes  map[string]map[string]string
	strings map[string]string
}

func (g *rig) snapshot(t tb) content {
	ctx := context.Background()
	c := content{map[string]map[string]string{}, map[string]string{}}
	keys, err := g.rdb.Keys(ctx, "*").Result()
	require.NoError(t, err)
	for _, k := range keys {
		kind, err := g.rdb.Type(ctx, k).Result()
		require.NoError(t, err)
		if kind == "hash" {
			c.hashes[k], err = g.rdb.HGetAll(ctx, k).Result()
		} else {
			c.strings[k], err = g.rdb.Get(ctx, k).Result()
		}
		require.NoError(t, err)
	}
	return c
}

// restore makes Redis hold c and nothing else, as a restored backup does.
func (g *rig) restore(t tb, c content) {
	ctx := context.Background()
	require.NoError(t, g.rdb.FlushAll(ctx).Err())
	for k, h := range c.hashes {
		require.NoError(t, g.rdb.HSet(ctx, k, h).Err())
	}
	for k, v := range c.strings {
		require.NoError(t, g.rdb.Set(ctx, k, v, 0).Err())
	}
}
