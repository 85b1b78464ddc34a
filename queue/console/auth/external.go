package auth

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// name is the account name that the claims propose. Of an address it is the
// part before the at sign: names stand in records, addresses do not.
func (p *OIDC) name(claims map[string]any) string {
	list := []string{p.o.NameClaim}
	if p.o.NameClaim == "" {
		list = []string{"preferred_username", "email"}
	}
	for _, claim := range list {
		if claim == "email" && claims["email_verified"] == false {
			continue
		}
		for _, v := range claimValues(claims, claim) {
			local, _, _ := strings.Cut(v, "@")
			if name := CleanName(local); name != "" {
				return name
			}
		}
	}
	return ""
}

// claimValues are the texts of a claim, one or a list; where no claim has the
// whole name, its dots lead into objects.
func claimValues(claims map[string]any, name string) (out []string) {
	v, ok := claims[name]
	if !ok {
		first, rest, deeper := strings.Cut(name, ".")
		if inner, is := claims[first].(map[string]any); is && deeper {
			return claimValues(inner, rest)
		}
	}
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			if s, is := one.(string); is {
				out = append(out, s)
			}
		}
	}
	return out
}

// Arrival tells what a sign-in at the provider did to the account.
type Arrival string

// What it can be.
const (
	Known   Arrival = "known"
	Made    Arrival = "made"
	Changed Arrival = "changed" // it has other roles than before; other sessions have ended
)

var arriveScript = redis.NewScript(`
-- KEYS user, users, link; ARGV name, identity, roles, now. Makes or updates the account of an
-- identity: made, changed, known, or shut, taken (the name is another's), moved (the identity has
-- another name since a moment ago).
local linked = redis.call('GET', KEYS[3])
if linked and linked ~= ARGV[1] then return 'moved' end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'oidc', ARGV[2], 'roles', ARGV[3], 'created', ARGV[4])
  redis.call('SADD', KEYS[2], ARGV[1])
  redis.call('SET', KEYS[3], ARGV[1])
  return 'made'
end
local f = redis.call('HMGET', KEYS[1], 'oidc', 'disabled', 'roles')
if f[1] ~= ARGV[2] then return 'taken' end
if f[2] == '1' then return 'shut' end
redis.call('HSET', KEYS[1], 'roles', ARGV[3])
if f[3] == ARGV[3] then return 'known' end
return 'changed'`)

// Arrive starts a session for who signed in at the provider. The account is made at the first time and has no password. It belongs
// to issuer and subject and keeps its name whatever the provider calls its user
// later, so that neither a shut account nor the name of another is got round.
// Errors wrap ErrWrong for an answer that was used before, ErrShut, ErrExists
// where the name is another's, ErrInput where it can't be one.
func (s *Store) Arrive(ctx context.Context, who Identity) (cookie string, u User, did Arrival, err error) {
	won, err := s.rdb.SetNX(ctx, keyAnswer(digest(who.state)), "1", SignInFor).Result()
	if err != nil {
		return "", User{}, "", fmt.Errorf("use sign-in: %w", err)
	}
	if !won {
		return "", User{}, "", fmt.Errorf("%w: this sign-in was used before", ErrWrong)
	}
	name, err := s.rdb.Get(ctx, keyLink(who.id)).Result()
	if errors.Is(err, redis.Nil) {
		name, err = who.Name, nil
	}
	if err != nil {
		return "", User{}, "", fmt.Errorf("find account: %w", err)
	}
	if name == "" {
		return "", User{}, "", fmt.Errorf("%w: no claim holds a name", ErrInput)
	}
	got, err := arriveScript.Run(ctx, s.rdb, []string{keyUser(name), keyUsers, keyLink(who.id)},
		name, who.id, joinRoles(who.Roles), strconv.FormatInt(s.o.Now().Unix(), 10)).Text()
	if err != nil {
		return "", User{}, "", fmt.Errorf("keep account: %w", err)
	}
	switch did = Arrival(got); did {
	case Known, Made:
	case Changed:
		if err := s.EndAll(ctx, name, ""); err != nil {
			return "", User{}, "", err
		}
	default:
		kind := ErrExists
		if got == "shut" {
			kind = ErrShut
		}
		return "", User{}, "", fmt.Errorf("user %s: %w", name, kind)
	}
	if u, err = s.User(ctx, name); err != nil {
		return "", User{}, "", err
	}
	cookie, err = s.start(ctx, name, who.token)
	return cookie, u, did, err
}

// Tried counts a failed sign-in at the provider against the network it came
// from, and that alone: it names nobody, and a count of all would let one
// stranger shut the door for everybody.
func (s *Store) Tried(ctx context.Context, client string) error {
	if err := tryScript.Run(ctx, s.rdb, []string{keyTries("client", digest(client))}, int64(s.o.Window/time.Millisecond), s.o.PerClient).Err(); err != nil {
		return fmt.Errorf("count tries: %w", err)
	}
	return nil
}

// Limited gives ErrLimit where too many log-ins from a network failed.
func (s *Store) Limited(ctx context.Context, client string) error {
	n, err := s.rdb.Get(ctx, keyTries("client", digest(client))).Int()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read tries: %w", err)
	}
	if n >= s.o.PerClient {
		return ErrLimit
	}
	return nil
}
