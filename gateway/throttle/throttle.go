// Package throttle counts acts against limits that all nodes share, so that
// nobody multiplies them by asking several nodes: sign-ups, requests for fresh
// links, and whatever else leads to a mail to somebody who may not want it.
// It owns the Redis key prefix "pl:". Whoever is counted appears as a keyed
// hash alone (ST-3).
package throttle

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrUnavailable says that it could not be counted. Nothing is to be sent then.
var ErrUnavailable = errors.New("rate limits cannot be counted")

// Limit is how often something may be done by or to one.
type Limit struct {
	Name   string        // part of the key: a closed set of short words
	Most   int           // within Window
	Window time.Duration // begins with the first act
}

// Limiter counts in Redis. It is safe for concurrent use.
type Limiter struct {
	rdb     redis.UniversalClient
	secret  []byte
	timeout time.Duration
}

// Redis keys:
//
//	pl:<limit>:<hash>  string; acts in the window that runs. TTL: what is left of it
func (l *Limiter) key(limit Limit, who string) string {
	m := hmac.New(sha256.New, l.secret)
	m.Write([]byte(limit.Name + "\x00" + who))
	return "pl:" + limit.Name + ":" + base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16])
}

// takeScript counts one act.
//
//	KEYS[1]  the counter
//	ARGV[1]  window in milliseconds; ARGV[2] the most acts
//
// Returns 1 where the act is within the limit. Acts beyond it are not counted,
// so that the window ends when it would.
var takeScript = redis.NewScript(`
local n = tonumber(redis.call('GET', KEYS[1]) or '0')
if n >= tonumber(ARGV[2]) then return 0 end
if redis.call('INCR', KEYS[1]) == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
`)

// New makes a limiter. secret keys the hashes and must be the same on all
// nodes; timeout bounds each count, default 2 s.
func New(rdb redis.UniversalClient, secret []byte, timeout time.Duration) *Limiter {
	if timeout <= 0 {
		timeout = 2 * time.Second
	}
	return &Limiter{rdb: rdb, secret: secret, timeout: timeout}
}

// Take counts one act of or to who and tells whether it is within the limit.
// Errors wrap ErrUnavailable: then the act is not to be done.
func (l *Limiter) Take(ctx context.Context, limit Limit, who string) (bool, error) {
	if limit.Most <= 0 || limit.Window <= 0 || limit.Name == "" {
		return false, fmt.Errorf("limit %q: %w: it names no number or no time", limit.Name, ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	n, err := takeScript.Run(ctx, l.rdb, []string{l.key(limit, who)}, limit.Window.Milliseconds(), limit.Most).Int()
	if err != nil {
		return false, fmt.Errorf("count for limit %s: %w: %w", limit.Name, ErrUnavailable, err)
	}
	return n == 1, nil
}
