package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Attempt is one try to log in.
type Attempt struct {
	Name     string
	Password string
	Code     string // of the authenticator, "" where the user has none
	Client   string // who asks, as ClientOf gives it
}

// LogIn checks a try and starts a session under a fresh id, whatever cookie
// came along (so no session can be fixed). Errors wrap ErrWrong for anything
// wrong, which of the three is not told, and ErrLimit after too many.
func (s *Store) LogIn(ctx context.Context, a Attempt) (cookie string, u User, err error) {
	name := CleanName(a.Name)
	if err := s.try(ctx, name, a.Client); err != nil {
		return "", User{}, err
	}
	if u, err = s.verify(ctx, name, a); err != nil {
		return "", User{}, err
	}
	if err := s.pass(ctx, name, a.Client); err != nil {
		return "", User{}, err
	}
	cookie, err = s.start(ctx, u.Name, "")
	return cookie, u, err
}

// verify checks name, password and code. An unknown name takes as long as a
// known one.
func (s *Store) verify(ctx context.Context, name string, a Attempt) (User, error) {
	u, f, err := s.user(ctx, name)
	if err != nil && !errors.Is(err, ErrInput) {
		return User{}, err
	}
	hash := s.decoy
	if err == nil && !u.External {
		hash = f["hash"]
	}
	ok, matchErr := s.matches(ctx, hash, a.Password)
	if matchErr != nil {
		return User{}, matchErr
	}
	if !ok || err != nil || u.Disabled || u.External {
		return User{}, ErrWrong
	}
	return u, s.code(ctx, u, f, a.Code)
}

var usedScript = redis.NewScript(`
-- KEYS user; ARGV counter. Marks a one-time code as used: 1, or 0 where it or a later one was.
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or '0')
if last >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'last', ARGV[1])
return 1`)

// code checks a one-time code and uses it up.
func (s *Store) code(ctx context.Context, u User, f map[string]string, code string) error {
	if f["totp"] == "" {
		return nil
	}
	key, err := s.seals.Unwrap("console:"+u.Name, f["totpkey"])
	if err != nil {
		return err
	}
	secret, err := key.Open(f["totp"], "totp:"+u.Name)
	if err != nil {
		return err
	}
	last, _ := strconv.ParseInt(f["last"], 10, 64)
	n := totpCounter(string(secret), strings.ReplaceAll(strings.TrimSpace(code), " ", ""), s.o.Now(), last)
	if n == 0 {
		return ErrWrong
	}
	won, err := usedScript.Run(ctx, s.rdb, []string{keyUser(u.Name)}, n).Int()
	if err != nil {
		return fmt.Errorf("use one-time code: %w", err)
	}
	if won == 0 {
		return ErrWrong
	}
	return nil
}

// Confirm checks the password of a user who is signed in, before something
// that a left-open screen must not do. It counts as a try.
func (s *Store) Confirm(ctx context.Context, name, password, client string) error {
	if err := s.try(ctx, name, client); err != nil {
		return err
	}
	_, f, err := s.user(ctx, name)
	if err != nil {
		return err
	}
	ok, err := s.matches(ctx, f["hash"], password)
	if err != nil {
		return err
	}
	if !ok {
		return ErrWrong
	}
	return s.pass(ctx, name, client)
}

// tries are the counters of one name from one client, with their bounds.
func (s *Store) tries(name, client string) (keys []string, most []int) {
	return []string{keyTries("pair", digest(name+" "+client)), keyTries("client", digest(client)), keyTries("name", digest(name))},
		[]int{s.o.PerPair, s.o.PerClient, s.o.PerName}
}

var tryScript = redis.NewScript(`
-- KEYS counters; ARGV life in ms, then the most of each. Counts one more in all, the life starting
-- at the first: 1, or 0 where one of them is full.
for i, k in ipairs(KEYS) do
  if tonumber(redis.call('GET', k) or '0') >= tonumber(ARGV[i + 1]) then return 0 end
end
for _, k in ipairs(KEYS) do
  if redis.call('INCR', k) == 1 then redis.call('PEXPIRE', k, ARGV[1]) end
end
return 1`)

// try counts a try before anything is looked at, so that many at once get no
// further than one after the other; ErrLimit where there were too many. What
// was right is taken off again by pass.
func (s *Store) try(ctx context.Context, name, client string) error {
	keys, most := s.tries(name, client)
	args := []any{int64(s.o.Window / time.Millisecond)}
	for _, n := range most {
		args = append(args, n)
	}
	within, err := tryScript.Run(ctx, s.rdb, keys, args...).Int()
	if err != nil {
		return fmt.Errorf("count tries: %w", err)
	}
	if within == 0 {
		return ErrLimit
	}
	return nil
}

var passScript = redis.NewScript(`
-- KEYS counters, that of name and client first. Forgets that one, and counts one less in the others.
redis.call('DEL', KEYS[1])
for i = 2, #KEYS do
  if tonumber(redis.call('GET', KEYS[i]) or '0') > 0 then redis.call('DECR', KEYS[i]) end
end
return 0`)

// pass takes a try that was right off the counters.
func (s *Store) pass(ctx context.Context, name, client string) error {
	keys, _ := s.tries(name, client)
	if err := passScript.Run(ctx, s.rdb, keys).Err(); err != nil {
		return fmt.Errorf("forget tries: %w", err)
	}
	return nil
}

// ClientOf names the network a request comes from: an IPv4 address or an IPv6
// /64, from "host:port" or an address alone.
func ClientOf(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	ip := ap.Addr()
	if err != nil {
		if ip, err = netip.ParseAddr(remote); err != nil {
			return "unknown"
		}
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
