// Package wording keeps the texts that operators edit, with every version and
// who approved it: what people are asked to agree to, and what they are
// answered. A text in force is never changed, a new version takes its place;
// old ones stay, for a consent has to be provable in the words it was given in
// (GDPR Art. 7(1)). Texts name no person.
package wording

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/ledger"
)

// State is where a version stands.
type State string

const (
	Proposed State = "proposed" // waits for a second person
	Active   State = "active"   // in force
	Former   State = "former"   // was in force, or would have been
	Refused  State = "refused"  // by the second person
)

// Version is one text with its history.
type Version struct {
	N       int       `json:"n"` // from 1
	Subject string    `json:"subject,omitempty"`
	Text    string    `json:"text"`
	State   State     `json:"state"`
	By      string    `json:"by"` // "operator:<name>"
	At      time.Time `json:"at"`
	Decided string    `json:"decided,omitempty"` // who approved or refused it
	When    time.Time `json:"when,omitzero"`     // of that, or of the return to the built-in text
}

// keyTexts is the hash of all texts: name → JSON list of versions; no end.
const keyTexts = "pw:texts"

// swapVersions sets a text's versions unless another did meanwhile.
// KEYS: keyTexts; ARGV: name, versions as read ("" for none), versions now.
// Returns 1 if it did.
var swapVersions = redis.NewScript(`
local had = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if had ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1`)

// Errors that callers tell apart.
var (
	ErrUnknown = errors.New("no such version of the text")
	ErrSame    = errors.New("another person has to approve it")
	ErrBusy    = errors.New("another changed the text meanwhile")
	ErrLength  = errors.New("a text has 1 to 20,000 bytes and a subject at most 250")
)

// Trail takes a record of each change; *ledger.Ledger is one.
type Trail interface {
	Append(ctx context.Context, records ...ledger.Record) error
}

// Store keeps the versions in Redis and what is in force in memory. It is
// safe for concurrent use.
type Store struct {
	rdb   redis.UniversalClient
	trail Trail
	now   func() time.Time
	log   *slog.Logger
	force atomic.Pointer[map[string]Version]
}

// New makes a store; now and log may be nil.
func New(rdb redis.UniversalClient, trail Trail, now func() time.Time, log *slog.Logger) *Store {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{rdb: rdb, trail: trail, now: now, log: log}
	s.force.Store(&map[string]Version{})
	return s
}

// Run takes what other nodes changed, every five seconds, until ctx ends.
// While Redis is away the texts it last gave hold.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		if err := s.Load(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("texts not refreshed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Load reads what is in force now.
func (s *Store) Load(ctx context.Context) error {
	all, err := s.All(ctx)
	if err != nil {
		return err
	}
	force := map[string]Version{}
	for name, versions := range all {
		for _, v := range versions {
			if v.State == Active {
				force[name] = v
			}
		}
	}
	s.force.Store(&force)
	return nil
}

// Current is the version in force of a text; false where the built-in one is.
func (s *Store) Current(name string) (Version, bool) {
	v, ok := (*s.force.Load())[name]
	return v, ok
}

// All gives every edited text with its versions, oldest first.
func (s *Store) All(ctx context.Context) (map[string][]Version, error) {
	raw, err := s.rdb.HGetAll(ctx, keyTexts).Result()
	if err != nil {
		return nil, fmt.Errorf("read texts: %w", err)
	}
	out := make(map[string][]Version, len(raw))
	for name, text := range raw {
		var versions []Version
		if err := json.Unmarshal([]byte(text), &versions); err != nil {
			return nil, fmt.Errorf("read text %s: %w", name, err)
		}
		out[name] = versions
	}
	return out, nil
}

// Versions gives one text's, oldest first.
func (s *Store) Versions(ctx context.Context, name string) ([]Version, error) {
	versions, _, err := s.read(ctx, name)
	return versions, err
}

func (s *Store) read(ctx context.Context, name string) ([]Version, string, error) {
	raw, err := s.rdb.HGet(ctx, keyTexts, name).Result()
	if errors.Is(err, redis.Nil) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read text %s: %w", name, err)
	}
	var versions []Version
	if err := json.Unmarshal([]byte(raw), &versions); err != nil {
		return nil, "", fmt.Errorf("read text %s: %w", name, err)
	}
	return versions, raw, nil
}

// Propose adds a version: in force at once, or with second waiting for another
// person. A proposal that waited gives way to it.
func (s *Store) Propose(ctx context.Context, name, subject, text, actor string, second bool) (Version, error) {
	if text = strings.TrimSpace(text); text == "" || len(text) > 20_000 || len(subject) > 250 {
		return Version{}, ErrLength
	}
	v := Version{Subject: strings.TrimSpace(subject), Text: text, State: Active, By: actor, At: s.now().UTC()}
	if second {
		v.State = Proposed
	}
	err := s.change(ctx, name, actor, "text-"+string(v.State), func(list []Version) ([]Version, int, error) {
		for i := range list {
			if list[i].State == Proposed || list[i].State == Active && !second {
				list[i].State = Former
			}
		}
		v.N = len(list) + 1
		return append(list, v), v.N, nil
	})
	return v, err
}

// Decide approves or refuses a proposal. Whoever proposed it can't approve it.
func (s *Store) Decide(ctx context.Context, name string, n int, approve bool, actor string) error {
	action := "text-refused"
	if approve {
		action = "text-approved"
	}
	return s.change(ctx, name, actor, action, func(list []Version) ([]Version, int, error) {
		i := slices.IndexFunc(list, func(v Version) bool { return v.N == n && v.State == Proposed })
		switch {
		case i < 0:
			return nil, 0, ErrUnknown
		case approve && list[i].By == actor:
			return nil, 0, ErrSame
		}
		list[i].Decided, list[i].When, list[i].State = actor, s.now().UTC(), Refused
		if approve {
			for k := range list {
				if list[k].State == Active {
					list[k].State = Former
				}
			}
			list[i].State = Active
		}
		return list, n, nil
	})
}

// Reset returns to the built-in text.
func (s *Store) Reset(ctx context.Context, name, actor string) error {
	return s.change(ctx, name, actor, "text-reset", func(list []Version) ([]Version, int, error) {
		i := slices.IndexFunc(list, func(v Version) bool { return v.State == Active })
		if i < 0 {
			return nil, 0, ErrUnknown
		}
		list[i].State, list[i].Decided, list[i].When = Former, actor, s.now().UTC()
		return list, list[i].N, nil
	})
}

// change edits one text's versions and proves it. The record comes first: what
// can't be proven is not done.
func (s *Store) change(ctx context.Context, name, actor, action string, edit func([]Version) ([]Version, int, error)) error {
	if !strings.HasPrefix(actor, "operator:") {
		return fmt.Errorf("change text %s: an operator has to", name)
	}
	list, before, err := s.read(ctx, name)
	if err != nil {
		return err
	}
	list, n, err := edit(list)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("change text %s: %w", name, err)
	}
	if err := s.trail.Append(ctx, ledger.Record{Time: s.now().UTC(), Kind: ledger.KindConfig, Actor: actor, Action: action,
		Data: map[string]string{"text": name, "version": fmt.Sprint(n)}}); err != nil {
		return fmt.Errorf("prove change of text %s: %w", name, err)
	}
	done, err := swapVersions.Run(ctx, s.rdb, []string{keyTexts}, name, before, string(raw)).Int()
	if err != nil {
		return fmt.Errorf("change text %s: %w", name, err)
	}
	if done == 0 {
		return ErrBusy
	}
	return s.Load(ctx)
}
