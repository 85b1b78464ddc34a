package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Person names the human behind an operator's name: an account, an account of
// the identity provider, or a login of the machine. One who has several of them
// is one person once Bind says so, and a name that nobody bound is its own.
func (s *Store) Person(ctx context.Context, name string) (string, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	bound, err := s.rdb.HGet(ctx, keyPersons, name).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return name, nil
	case err != nil:
		return "", fmt.Errorf("who is behind an operator: %w", err)
	}
	return bound, nil
}

// bindScript binds a name.
//
//	KEYS[1]  the bindings; ARGV[1] name; ARGV[2] person, "" ends the binding
//
// Names bound to this one follow it, so that no binding leads through another.
// Returns the person.
var bindScript = redis.NewScript(`
if ARGV[2] == '' or ARGV[2] == ARGV[1] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return ARGV[1]
end
local person = redis.call('HGET', KEYS[1], ARGV[2]) or ARGV[2]
if person == ARGV[1] then return person end
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i + 1] == ARGV[1] then redis.call('HSET', KEYS[1], all[i], person) end
end
redis.call('HSET', KEYS[1], ARGV[1], person)
return person`)

// Bind says that two operator names are one person; person "" ends what was
// said of name. It gives the person that name now stands for. Errors wrap
// ErrInput.
func (s *Store) Bind(ctx context.Context, name, person string) (string, error) {
	clean, whose := CleanName(name), CleanName(person)
	if clean == "" || whose == "" && person != "" {
		return "", fmt.Errorf("%w: a name is a to z, 0 to 9, dot, hyphen and underscore", ErrInput)
	}
	got, err := bindScript.Run(ctx, s.rdb, []string{keyPersons}, clean, whose).Text()
	if err != nil {
		return "", fmt.Errorf("bind operator: %w", err)
	}
	return got, nil
}

// Bindings lists the names that stand for another person: name to person.
func (s *Store) Bindings(ctx context.Context) (map[string]string, error) {
	all, err := s.rdb.HGetAll(ctx, keyPersons).Result()
	if err != nil {
		return nil, fmt.Errorf("list bound operators: %w", err)
	}
	return all, nil
}
