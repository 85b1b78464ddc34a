package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/ledger"
)

// Errors of this room. Inspect with errors.Is.
var (
	// ErrInput says that what was given can't be taken.
	ErrInput = errors.New("not possible")
	// ErrNone says that there is no such token, or no longer.
	ErrNone = errors.New("no such token")
)

// Token is what a program shows to be let in, without its secret.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // the program that has it; stands as "operator:api:NAME" in records
	Scopes  []Scope   `json:"scopes"`
	By      string    `json:"by"`              // who made it
	Owner   string    `json:"owner,omitempty"` // the operator whose acts its acts are; "": no person's
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Used    time.Time `json:"used,omitzero"` // to the minute; zero: never
}

// Has tells whether the token opens a scope.
func (t Token) Has(s Scope) bool { return slices.Contains(t.Scopes, s) }

// Actor is how the token is named in records.
func (t Token) Actor() string { return "operator:api:" + t.Name }

// Trail takes a record of each token made and ended; *ledger.Ledger is one.
type Trail interface {
	Append(ctx context.Context, records ...ledger.Record) error
}

// Tokens keeps tokens in Redis as hashes. It is safe for concurrent use.
type Tokens struct {
	rdb   redis.UniversalClient
	trail Trail
	now   func() time.Time
}

// NewTokens makes a store; now nil is time.Now.
func NewTokens(rdb redis.UniversalClient, trail Trail, now func() time.Time) *Tokens {
	if now == nil {
		now = time.Now
	}
	return &Tokens{rdb, trail, now}
}

// Life of a token.
const (
	DefaultLife = 90 * 24 * time.Hour
	MaxLife     = 2 * 366 * 24 * time.Hour
)

var tokenName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,39}$`)

// Create makes a token that lives for life (0: DefaultLife) and gives its text,
// which is shown this once. by is "operator:<name>"; owner is the operator name
// whose acts its acts count as where two persons are needed, "" for a program
// that nobody acts by. Errors wrap ErrInput.
func (s *Tokens) Create(ctx context.Context, name string, scopes []Scope, life time.Duration, by, owner string) (string, Token, error) {
	if life == 0 {
		life = DefaultLife
	}
	switch {
	case !tokenName.MatchString(name):
		return "", Token{}, fmt.Errorf("%w: a name is 2 to 40 of a-z, 0-9 and hyphen", ErrInput)
	case life < time.Minute || life > MaxLife:
		return "", Token{}, fmt.Errorf("%w: a token lives from a minute to two years", ErrInput)
	case by == "" || len(scopes) == 0:
		return "", Token{}, fmt.Errorf("%w: who makes it, and a scope, are needed", ErrInput)
	}
	list, err := s.List(ctx)
	if err != nil {
		return "", Token{}, err
	}
	if slices.ContainsFunc(list, func(t Token) bool { return t.Name == name }) {
		return "", Token{}, fmt.Errorf("%w: a token has the name %q already", ErrInput, name)
	}
	raw := make([]byte, 5+20)
	_, _ = rand.Read(raw) // never fails since Go 1.24
	now := s.now().UTC().Truncate(time.Second)
	t := Token{ID: hex.EncodeToString(raw[:5]), Name: name, Scopes: slices.Clone(scopes), By: by, Owner: owner, Created: now, Expires: now.Add(life)}
	text := "postern_" + t.ID + "_" + hex.EncodeToString(raw[5:])
	if err := s.record(ctx, by, "token-created", t); err != nil {
		return "", Token{}, err
	}
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, keyToken(t.ID), "name", name, "digest", digest(text), "scopes", joinScopes(scopes), "by", by, "owner", owner,
			"created", now.Unix(), "expires", t.Expires.Unix())
		p.ExpireAt(ctx, keyToken(t.ID), t.Expires)
		p.SAdd(ctx, keyTokens, t.ID)
		return nil
	})
	if err != nil {
		return "", Token{}, fmt.Errorf("make token: %w", err)
	}
	return text, t, nil
}

// Revoke ends a token by its id or name. Errors wrap ErrNone.
func (s *Tokens) Revoke(ctx context.Context, which, by string) error {
	list, err := s.List(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(t Token) bool { return t.ID == which || t.Name == which })
	if i < 0 {
		return ErrNone
	}
	t := list[i]
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, keyToken(t.ID))
		p.SRem(ctx, keyTokens, t.ID)
		return nil
	})
	if err != nil {
		return fmt.Errorf("end token: %w", err)
	}
	return s.record(ctx, by, "token-revoked", t)
}

// List gives the tokens that live, by name.
func (s *Tokens) List(ctx context.Context) ([]Token, error) {
	ids, err := s.rdb.SMembers(ctx, keyTokens).Result()
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	out := []Token{}
	for _, id := range ids {
		f, err := s.rdb.HGetAll(ctx, keyToken(id)).Result()
		if err != nil {
			return nil, fmt.Errorf("list tokens: %w", err)
		}
		if len(f) == 0 {
			_ = s.rdb.SRem(ctx, keyTokens, id).Err() // expired; the next listing tries again
			continue
		}
		if t := readToken(id, f); t.Expires.After(s.now()) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b Token) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Find gives the token of a text, and notes that it was used. Errors wrap
// ErrNone, or are those of Redis.
func (s *Tokens) Find(ctx context.Context, text string) (Token, error) {
	id, ok := tokenID(text)
	if !ok {
		return Token{}, ErrNone
	}
	f, err := s.rdb.HGetAll(ctx, keyToken(id)).Result()
	if err != nil {
		return Token{}, fmt.Errorf("find token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(f["digest"]), []byte(digest(text))) != 1 {
		return Token{}, ErrNone
	}
	t, now := readToken(id, f), s.now()
	if !t.Expires.After(now) {
		return Token{}, ErrNone
	}
	if now.Sub(t.Used) >= time.Minute {
		if err := usedScript.Run(ctx, s.rdb, []string{keyToken(id)}, now.Unix()).Err(); err != nil {
			return Token{}, fmt.Errorf("note use of token: %w", err)
		}
	}
	return t, nil
}

// Owner gives the operator whose acts a token's acts are, "" where there is none
// or no such token any more.
func (s *Tokens) Owner(ctx context.Context, name string) (string, error) {
	list, err := s.List(ctx)
	if err != nil {
		return "", err
	}
	for _, t := range list {
		if t.Name == name {
			return t.Owner, nil
		}
	}
	return "", nil
}

// usedScript notes when a token was used; a revoked one is not made anew.
//
//	KEYS[1]  the token
//	ARGV[1]  now in seconds
var usedScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'used', ARGV[1]) end
return 1`)

// tokenID reads the id out of a token's text.
func tokenID(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, "postern_")
	id, secret, two := strings.Cut(rest, "_")
	if !ok || !two || len(id) != 10 || len(secret) != 40 {
		return "", false
	}
	_, err := hex.DecodeString(id)
	return id, err == nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func readToken(id string, f map[string]string) Token {
	t := Token{ID: id, Name: f["name"], By: f["by"], Created: seconds(f["created"]), Expires: seconds(f["expires"]), Used: seconds(f["used"])}
	t.Owner = f["owner"]
	if _, told := f["owner"]; !told { // made before there were owners
		t.Owner = strings.TrimPrefix(t.By, "operator:")
	}
	for _, s := range strings.Fields(f["scopes"]) {
		t.Scopes = append(t.Scopes, Scope(s))
	}
	return t
}

func joinScopes(list []Scope) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = string(s)
	}
	return strings.Join(words, " ")
}

func seconds(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

func (s *Tokens) record(ctx context.Context, by, action string, t Token) error {
	err := s.trail.Append(ctx, ledger.Record{Time: s.now(), Kind: ledger.KindConfig, Actor: by, Action: action, Ref: t.ID,
		Data: map[string]string{"name": t.Name, "scopes": joinScopes(t.Scopes), "owner": t.Owner}})
	if err != nil {
		return fmt.Errorf("prove %s: %w", action, err)
	}
	return nil
}
