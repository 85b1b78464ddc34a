package intake

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Keys, all of a mailbox under one hash tag:
//
//	pi:{NAME}:lease   string: owner, expires with the lease
//	pi:{NAME}:fence   counter of lease holders, kept
//	pi:{NAME}:folders hash: folder → "validity last fence swept", kept
//	pi:{NAME}:tried   hash: "folder validity uid" → failed readings, 7 days
func keyLease(mailbox string) string   { return "pi:{" + mailbox + "}:lease" }
func keyFence(mailbox string) string   { return "pi:{" + mailbox + "}:fence" }
func keyFolders(mailbox string) string { return "pi:{" + mailbox + "}:folders" }
func keyTried(mailbox string) string   { return "pi:{" + mailbox + "}:tried" }

// acquireScript: KEYS lease, fence; ARGV owner, ttl in ms. Returns the new
// fence, or 0 while another owner holds the lease.
var acquireScript = redis.NewScript(`
local o = redis.call('GET', KEYS[1])
if o and o ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('INCR', KEYS[2])`)

// renewScript: KEYS lease; ARGV owner, ttl in ms. Returns 1, or 0 if the lease
// is not the owner's.
var renewScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

// releaseScript: KEYS lease; ARGV owner.
var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`)

// saveScript: KEYS fence, folders; ARGV folder, fence, validity, last,
// swept. Returns 1, or 0 if a later holder took the lease.
var saveScript = redis.NewScript(`
local f = tonumber(redis.call('GET', KEYS[1]) or '0')
if f > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[2] .. ' ' .. ARGV[5])
return 1`)

// RedisState is State on Redis.
type RedisState struct{ rdb redis.UniversalClient }

var _ State = (*RedisState)(nil)

// NewRedisState keeps the state behind rdb.
func NewRedisState(rdb redis.UniversalClient) *RedisState { return &RedisState{rdb} }

// Acquire implements State.
func (s *RedisState) Acquire(ctx context.Context, mailbox, owner string, ttl time.Duration) (int64, bool, error) {
	n, err := acquireScript.Run(ctx, s.rdb, []string{keyLease(mailbox), keyFence(mailbox)}, owner, ttl.Milliseconds()).Int64()
	if err != nil {
		return 0, false, fmt.Errorf("take lease of mailbox %q: %w", mailbox, err)
	}
	return n, n > 0, nil
}

// Renew implements State.
func (s *RedisState) Renew(ctx context.Context, mailbox, owner string, ttl time.Duration) error {
	n, err := renewScript.Run(ctx, s.rdb, []string{keyLease(mailbox)}, owner, ttl.Milliseconds()).Int64()
	if err != nil {
		return fmt.Errorf("renew lease of mailbox %q: %w", mailbox, err)
	}
	if n == 0 {
		return fmt.Errorf("renew lease of mailbox %q: %w", mailbox, ErrFenced)
	}
	return nil
}

// Release implements State.
func (s *RedisState) Release(ctx context.Context, mailbox, owner string) error {
	if err := releaseScript.Run(ctx, s.rdb, []string{keyLease(mailbox)}, owner).Err(); err != nil {
		return fmt.Errorf("release lease of mailbox %q: %w", mailbox, err)
	}
	return nil
}

// Load implements State.
func (s *RedisState) Load(ctx context.Context, mailbox, folder string) (Checkpoint, error) {
	text, err := s.rdb.HGet(ctx, keyFolders(mailbox), folder).Result()
	if errors.Is(err, redis.Nil) {
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("load checkpoint of %q in mailbox %q: %w", folder, mailbox, err)
	}
	var c Checkpoint
	var fence int64
	// An entry from before Swept was kept ends after the fence.
	if n, err := fmt.Sscan(text, &c.Validity, &c.Last, &fence, &c.Swept); n < 3 {
		return Checkpoint{}, fmt.Errorf("read checkpoint of %q in mailbox %q: %w", folder, mailbox, err)
	}
	return c, nil
}

// Save implements State.
func (s *RedisState) Save(ctx context.Context, mailbox, folder string, fence int64, c Checkpoint) error {
	n, err := saveScript.Run(ctx, s.rdb, []string{keyFence(mailbox), keyFolders(mailbox)}, folder, fence, c.Validity, c.Last, c.Swept).Int64()
	if err != nil {
		return fmt.Errorf("save checkpoint of %q in mailbox %q: %w", folder, mailbox, err)
	}
	if n == 0 {
		return fmt.Errorf("save checkpoint of %q in mailbox %q: %w", folder, mailbox, ErrFenced)
	}
	return nil
}

// Tried implements State.
func (s *RedisState) Tried(ctx context.Context, mailbox, folder string, validity, uid uint32) (int, error) {
	key := keyTried(mailbox)
	field := folder + " " + strconv.FormatUint(uint64(validity), 10) + " " + strconv.FormatUint(uint64(uid), 10)
	n, err := s.rdb.HIncrBy(ctx, key, field, 1).Result()
	if err != nil {
		return 0, fmt.Errorf("count readings in mailbox %q: %w", mailbox, err)
	}
	if err := s.rdb.Expire(ctx, key, 7*24*time.Hour).Err(); err != nil {
		return 0, fmt.Errorf("count readings in mailbox %q: %w", mailbox, err)
	}
	return int(n), nil
}
