package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// setupLife is how long a set-up code may be used.
const setupLife = 24 * time.Hour

// NewSetupCode makes the one-time code that lets its holder create an
// administrator, valid a day; an earlier one ends. Whoever can run it owns the
// machine.
func (s *Store) NewSetupCode(ctx context.Context) (string, error) {
	code := randomText(10) // 80 bits
	if err := s.rdb.Set(ctx, keySetup, digest(code), setupLife).Err(); err != nil {
		return "", fmt.Errorf("keep set-up code: %w", err)
	}
	return code[:4] + "-" + code[4:8] + "-" + code[8:12] + "-" + code[12:], nil
}

var takeScript = redis.NewScript(`
-- KEYS setup; ARGV digest. Uses the code up: 1, or 0 where it is another.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]); return 1 end
return 0`)

// SetUp makes the first account, or a further administrator, with the code of
// the terminal, which is used up. Errors wrap ErrWrong for a wrong code,
// ErrLimit after too many, ErrInput and ErrExists as Create.
func (s *Store) SetUp(ctx context.Context, code, client, name, password string) error {
	if err := s.try(ctx, "", client); err != nil {
		return err
	}
	code = strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(code))
	want, err := s.rdb.Get(ctx, keySetup).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read set-up code: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(digest(code))) != 1 {
		return ErrWrong
	}
	if err := s.pass(ctx, "", client); err != nil {
		return err
	}
	clean := CleanName(name)
	if clean == "" {
		return fmt.Errorf("%w: a name has 1 to 40 of a-z 0-9 . _ -", ErrInput)
	}
	if err := CheckPassword(clean, password); err != nil {
		return err // before the code is used up
	}
	if known, err := s.rdb.Exists(ctx, keyUser(clean)).Result(); err != nil || known > 0 {
		return errors.Join(err, fmt.Errorf("user %s: %w", clean, ErrExists))
	}
	won, err := takeScript.Run(ctx, s.rdb, []string{keySetup}, digest(code)).Int()
	if err != nil {
		return fmt.Errorf("use set-up code: %w", err)
	}
	if won == 0 {
		return ErrWrong
	}
	return s.Create(ctx, clean, password, []Role{Admin, Approver, Operator})
}

// SetupOpen tells whether a set-up code is out.
func (s *Store) SetupOpen(ctx context.Context) (bool, error) {
	n, err := s.rdb.Exists(ctx, keySetup).Result()
	if err != nil {
		return false, fmt.Errorf("look for set-up code: %w", err)
	}
	return n > 0, nil
}
