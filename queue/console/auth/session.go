package auth

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Session is one log-in that lasts.
type Session struct {
	ID      string // digest of the cookie: names it in lists, opens nothing
	User    string
	Created time.Time
	Seen    time.Time
}

// start makes a session under a new random cookie of 160 bits, with the sealed
// ID token where there is one.
func (s *Store) start(ctx context.Context, name, token string) (string, error) {
	cookie := randomText(20)
	id, now := digest(cookie), strconv.FormatInt(s.o.Now().Unix(), 10)
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, keySession(id), "user", name, "created", now, "seen", now)
		if token != "" {
			p.HSet(ctx, keySession(id), "token", token)
		}
		p.PExpire(ctx, keySession(id), s.o.Idle)
		p.SAdd(ctx, keySessions(name), id)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("start session: %w", err)
	}
	return cookie, nil
}

var findScript = redis.NewScript(`
-- KEYS session; ARGV now in s, longest life in s, idle life in ms. Answers user and time of
-- log-in and prolongs it, or nothing; one that is too old is deleted.
local f = redis.call('HMGET', KEYS[1], 'user', 'created', 'seen')
if not f[1] then return {} end
local now = tonumber(ARGV[1])
if now - tonumber(f[2]) >= tonumber(ARGV[2]) or (now - tonumber(f[3])) * 1000 >= tonumber(ARGV[3]) then
  redis.call('DEL', KEYS[1])
  return {}
end
redis.call('HSET', KEYS[1], 'seen', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {f[1], f[2]}`)

// Find gives the session of a cookie and its user, and prolongs it. Errors
// wrap ErrNone where it is unknown, ended, or its user is shut out.
func (s *Store) Find(ctx context.Context, cookie string) (Session, User, error) {
	if len(cookie) != 32 {
		return Session{}, User{}, ErrNone
	}
	id, now := digest(cookie), s.o.Now()
	got, err := findScript.Run(ctx, s.rdb, []string{keySession(id)},
		now.Unix(), int64(s.o.Max/time.Second), int64(s.o.Idle/time.Millisecond)).StringSlice()
	if err != nil {
		return Session{}, User{}, fmt.Errorf("find session: %w", err)
	}
	if len(got) != 2 {
		return Session{}, User{}, ErrNone
	}
	u, err := s.User(ctx, got[0])
	if errors.Is(err, ErrInput) || u.Disabled {
		return Session{}, User{}, ErrNone
	}
	if err != nil {
		return Session{}, User{}, err
	}
	created, _ := strconv.ParseInt(got[1], 10, 64)
	return Session{ID: id, User: u.Name, Created: time.Unix(created, 0).UTC(), Seen: now}, u, nil
}

// End ends the session of a cookie.
func (s *Store) End(ctx context.Context, cookie string) error {
	return s.end(ctx, digest(cookie))
}

func (s *Store) end(ctx context.Context, ids ...string) error {
	for _, id := range ids {
		name, err := s.rdb.HGet(ctx, keySession(id), "user").Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("end session: %w", err)
		}
		_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Del(ctx, keySession(id))
			p.SRem(ctx, keySessions(name), id)
			return nil
		})
		if err != nil {
			return fmt.Errorf("end session: %w", err)
		}
	}
	return nil
}

// EndAll ends all sessions of a user but the one of the cookie keep.
func (s *Store) EndAll(ctx context.Context, name, keep string) error {
	list, err := s.Sessions(ctx, name)
	if err != nil {
		return err
	}
	for _, one := range list {
		if keep != "" && one.ID == digest(keep) {
			continue
		}
		if err := s.end(ctx, one.ID); err != nil {
			return err
		}
	}
	return nil
}

// Sessions lists the live sessions of a user.
func (s *Store) Sessions(ctx context.Context, name string) ([]Session, error) {
	ids, err := s.rdb.SMembers(ctx, keySessions(name)).Result()
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	var out []Session
	for _, id := range ids {
		f, err := s.rdb.HGetAll(ctx, keySession(id)).Result()
		if err != nil {
			return nil, fmt.Errorf("read session: %w", err)
		}
		if len(f) == 0 {
			if err := s.rdb.SRem(ctx, keySessions(name), id).Err(); err != nil {
				return nil, fmt.Errorf("tidy sessions: %w", err)
			}
			continue
		}
		created, _ := strconv.ParseInt(f["created"], 10, 64)
		seen, _ := strconv.ParseInt(f["seen"], 10, 64)
		out = append(out, Session{ID: id, User: name, Created: time.Unix(created, 0).UTC(), Seen: time.Unix(seen, 0).UTC()})
	}
	return out, nil
}

// Alive tells whether a session goes on, without prolonging it: a page that
// stands open is no use of it.
func (s *Store) Alive(ctx context.Context, cookie string) (bool, error) {
	n, err := s.rdb.Exists(ctx, keySession(digest(cookie))).Result()
	if err != nil {
		return false, fmt.Errorf("look for session: %w", err)
	}
	return n > 0, nil
}
