package auth

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// User is an account without its secrets.
type User struct {
	Name     string
	Roles    []Role
	HasTOTP  bool
	Disabled bool
	External bool // signed in by the identity provider: no password, roles from there
	Created  time.Time

	Theme    string // "", "light" or "dark"
	Language string // BCP 47, "" asks the browser
	KeysOff  bool   // no single-key shortcuts (WCAG 2.1.4)
}

// Is tells whether the user has the role.
func (u User) Is(r Role) bool { return slices.Contains(u.Roles, r) }

// Actor is how records name the user.
func (u User) Actor() string { return "operator:" + u.Name }

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,39}$`)

// CleanName brings a typed name into its one form; "" where it can't be one.
func CleanName(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if !nameForm.MatchString(s) {
		return ""
	}
	return s
}

var createScript = redis.NewScript(`
-- KEYS user, users; ARGV name, then field and value pairs. Answers 1, or 0 where the user exists.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i+1]) end
redis.call('SADD', KEYS[2], ARGV[1])
return 1`)

// Create makes an account. Errors wrap ErrInput or ErrExists.
func (s *Store) Create(ctx context.Context, name, password string, roles []Role) error {
	clean := CleanName(name)
	if clean == "" {
		return fmt.Errorf("%w: a name has 1 to 40 of a-z 0-9 . _ -", ErrInput)
	}
	if err := CheckPassword(clean, password); err != nil {
		return err
	}
	made, err := createScript.Run(ctx, s.rdb, []string{keyUser(clean), keyUsers}, clean,
		"hash", hashOf(password), "roles", joinRoles(roles), "created", strconv.FormatInt(s.o.Now().Unix(), 10)).Int()
	if err != nil {
		return fmt.Errorf("create user: %w", err)
	}
	if made == 0 {
		return fmt.Errorf("user %s: %w", clean, ErrExists)
	}
	return nil
}

// Users lists all accounts by name.
func (s *Store) Users(ctx context.Context) ([]User, error) {
	names, err := s.rdb.SMembers(ctx, keyUsers).Result()
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	sort.Strings(names)
	out := make([]User, 0, len(names))
	for _, n := range names {
		u, _, err := s.user(ctx, n)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

// Empty tells whether there is no account yet.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	n, err := s.rdb.SCard(ctx, keyUsers).Result()
	if err != nil {
		return false, fmt.Errorf("count users: %w", err)
	}
	return n == 0, nil
}

// User reads one account. Errors wrap ErrInput where there is none.
func (s *Store) User(ctx context.Context, name string) (User, error) {
	u, _, err := s.user(ctx, CleanName(name))
	return u, err
}

func (s *Store) user(ctx context.Context, name string) (User, map[string]string, error) {
	f, err := s.rdb.HGetAll(ctx, keyUser(name)).Result()
	if err != nil {
		return User{}, nil, fmt.Errorf("read user: %w", err)
	}
	if name == "" || len(f) == 0 {
		return User{}, nil, fmt.Errorf("%w: no such user", ErrInput)
	}
	created, _ := strconv.ParseInt(f["created"], 10, 64)
	return User{
		Name: name, Roles: splitRoles(f["roles"]), HasTOTP: f["totp"] != "", Disabled: f["disabled"] == "1", External: f["oidc"] != "",
		Created: time.Unix(created, 0).UTC(), Theme: f["theme"], Language: f["language"], KeysOff: f["keys"] == "off",
	}, f, nil
}

// Prefer keeps how a user wants to see the console.
func (s *Store) Prefer(ctx context.Context, u User) error {
	keys := "on"
	if u.KeysOff {
		keys = "off"
	}
	if !slices.Contains([]string{"", "light", "dark"}, u.Theme) {
		return fmt.Errorf("%w: theme", ErrInput)
	}
	if err := s.rdb.HSet(ctx, keyUser(u.Name), "theme", u.Theme, "language", u.Language, "keys", keys).Err(); err != nil {
		return fmt.Errorf("keep preferences: %w", err)
	}
	return nil
}

// Change sets roles and whether an account is shut. Its sessions end, so that
// what was taken away is gone at once. The last admin who can log in stays
// (ErrLast).
func (s *Store) Change(ctx context.Context, name string, roles []Role, disabled bool) error {
	u, err := s.User(ctx, name)
	if err != nil {
		return err
	}
	if u.Is(Admin) && !u.Disabled && (disabled || !slices.Contains(roles, Admin)) {
		all, err := s.Users(ctx)
		if err != nil {
			return err
		}
		others := slices.ContainsFunc(all, func(o User) bool { return o.Name != u.Name && o.Is(Admin) && !o.Disabled })
		if !others {
			return ErrLast
		}
	}
	off := "0"
	if disabled {
		off = "1"
	}
	if err := s.rdb.HSet(ctx, keyUser(u.Name), "roles", joinRoles(roles), "disabled", off).Err(); err != nil {
		return fmt.Errorf("change user: %w", err)
	}
	return s.EndAll(ctx, u.Name, "")
}

// SetPassword changes a password; all sessions of the user end but keep, the
// cookie of the one that asked. Errors wrap ErrInput.
func (s *Store) SetPassword(ctx context.Context, name, password, keep string) error {
	u, err := s.User(ctx, name)
	if err != nil {
		return err
	}
	if u.External {
		return fmt.Errorf("%w: the identity provider signs this user in", ErrInput)
	}
	if err := CheckPassword(u.Name, password); err != nil {
		return err
	}
	if err := s.rdb.HSet(ctx, keyUser(u.Name), "hash", hashOf(password)).Err(); err != nil {
		return fmt.Errorf("change password: %w", err)
	}
	return s.EndAll(ctx, u.Name, keep)
}

// SetTOTP asks for one-time codes from now on, once the user has shown one; an
// empty secret ends that. Errors wrap ErrWrong where the code does not fit.
func (s *Store) SetTOTP(ctx context.Context, name, secret, code string) error {
	if secret == "" {
		if err := s.rdb.HDel(ctx, keyUser(name), "totp", "totpkey", "last").Err(); err != nil {
			return fmt.Errorf("end one-time codes: %w", err)
		}
		return nil
	}
	n := totpCounter(secret, code, s.o.Now(), 0)
	if n == 0 {
		return ErrWrong
	}
	key, wrapped, err := s.seals.Make("console:" + name)
	if err != nil {
		return err
	}
	err = s.rdb.HSet(ctx, keyUser(name), "totp", key.Seal([]byte(secret), "totp:"+name), "totpkey", wrapped, "last", n).Err()
	if err != nil {
		return fmt.Errorf("keep one-time codes: %w", err)
	}
	return nil
}
