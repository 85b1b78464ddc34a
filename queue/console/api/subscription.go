package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/queue"
	"postern/queue/fulfil"
	"postern/queue/vault"
)

// Subscription is a receiver of events that a program asked for.
type Subscription struct {
	ID          string    `json:"id"`
	URL         string    `json:"url"`
	Events      []string  `json:"events"`      // patterns queue.CheckEvent takes
	Controllers []string  `json:"controllers"` // none: all
	By          string    `json:"by"`
	Created     time.Time `json:"created"`
}

type storedSubscription struct {
	Subscription
	Sealed  string // the secret
	Wrapped string
}

// Subscriptions keeps them in Redis, shared by all nodes; a change reaches every
// node within fresh. It is safe for concurrent use.
type Subscriptions struct {
	// Added, if set before the first call, is told of each subscription made
	// here.
	Added func()

	rdb    redis.UniversalClient
	seals  *vault.Keys
	reach  fulfil.Reach
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	hooks []queue.Hook
	read  time.Time
}

const (
	fresh             = 5 * time.Second
	mostSubscriptions = 100
)

// tellWithin is how long a receiver may take to answer, answerMost what is read
// of the answer, which nobody looks at.
const (
	tellWithin = 20 * time.Second
	answerMost = 64 << 10
)

// NewSubscriptions makes a store; keys, newest first, seal the secrets. Programs
// choose the receivers, so these are told on the public Internet and in the
// networks of reach alone. now nil is time.Now.
func NewSubscriptions(rdb redis.UniversalClient, reach fulfil.Reach, now func() time.Time, keys ...[]byte) (*Subscriptions, error) {
	seals, err := vault.New(keys...)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &Subscriptions{rdb: rdb, seals: seals, reach: reach, client: reach.Client(tellWithin), now: now}, nil
}

// Close ends the connections that were kept open to receivers.
func (s *Subscriptions) Close() { s.client.CloseIdleConnections() }

// webhook signs with the secret of one subscription.
func (s *Subscriptions) webhook(id, url, secret string) (*fulfil.Webhook, error) {
	return fulfil.NewWebhook(fulfil.WebhookOptions{Name: id, URL: url, Secrets: []string{secret}, Client: s.client, Limit: answerMost})
}

// reached refuses a receiver named by an address that is never connected to;
// names are looked at when they are resolved, each time.
func (s *Subscriptions) reached(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("%w: the receiver is no URL", ErrInput)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !s.reach.Allows(ip) {
		return fmt.Errorf("%w: %w: operator.webhook_networks does not name it", ErrInput, fulfil.ErrReach)
	}
	return nil
}

// Add makes a subscription and its secret, which is shown this once. Errors
// wrap ErrInput.
func (s *Subscriptions) Add(ctx context.Context, sub Subscription) (Subscription, string, error) {
	for _, e := range sub.Events {
		if err := queue.CheckEvent(e); err != nil {
			// What was sent is not repeated: it may be anything.
			return sub, "", fmt.Errorf("%w: an event is case.ACTION, notice.KIND, consent.ACTION or suppression.ACTION, as in case.answer or case.*", ErrInput)
		}
	}
	if len(sub.Events) == 0 {
		return sub, "", fmt.Errorf("%w: an event is needed", ErrInput)
	}
	raw := make([]byte, 8+32)
	_, _ = rand.Read(raw)
	sub.ID, sub.Created = hex.EncodeToString(raw[:8]), s.now().UTC().Truncate(time.Second)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(raw[8:])
	if _, err := s.webhook(sub.ID, sub.URL, secret); err != nil {
		return sub, "", fmt.Errorf("%w: %w", ErrInput, err)
	}
	if err := s.reached(sub.URL); err != nil {
		return sub, "", err
	}
	if sub.Controllers == nil {
		sub.Controllers = []string{}
	}
	count, err := s.rdb.HLen(ctx, keyHooks).Result()
	if err != nil {
		return sub, "", fmt.Errorf("add subscription: %w", err)
	}
	if count >= mostSubscriptions {
		return sub, "", fmt.Errorf("%w: there are %d subscriptions already", ErrInput, count)
	}
	key, wrapped, err := s.seals.Make("hook:" + sub.ID)
	if err != nil {
		return sub, "", err
	}
	text, err := json.Marshal(storedSubscription{sub, key.Seal([]byte(secret), "hook:"+sub.ID), wrapped})
	if err != nil {
		return sub, "", fmt.Errorf("encode subscription: %w", err)
	}
	if err := s.rdb.HSet(ctx, keyHooks, sub.ID, text).Err(); err != nil {
		return sub, "", fmt.Errorf("add subscription: %w", err)
	}
	s.forget()
	if s.Added != nil {
		s.Added()
	}
	return sub, secret, nil
}

// Remove ends a subscription. Errors wrap ErrNone.
func (s *Subscriptions) Remove(ctx context.Context, id string) error {
	n, err := s.rdb.HDel(ctx, keyHooks, id).Result()
	if err != nil {
		return fmt.Errorf("end subscription: %w", err)
	}
	if n == 0 {
		return ErrNone
	}
	s.forget()
	return nil
}

// List gives all, oldest first.
func (s *Subscriptions) List(ctx context.Context) ([]Subscription, error) {
	all, err := s.stored(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Subscription, len(all))
	for i := range all {
		out[i] = all[i].Subscription
	}
	return out, nil
}

func (s *Subscriptions) stored(ctx context.Context) ([]storedSubscription, error) {
	fields, err := s.rdb.HGetAll(ctx, keyHooks).Result()
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	out := make([]storedSubscription, 0, len(fields))
	for id, text := range fields {
		var one storedSubscription
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			return nil, fmt.Errorf("decode subscription %s: %w", id, err)
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b storedSubscription) int {
		if d := a.Created.Compare(b.Created); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// Hooks gives the subscriptions as the queue's hooks. queue.Options.Subscribed
// asks for them; they are read anew after fresh.
func (s *Subscriptions) Hooks(ctx context.Context) ([]queue.Hook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.read.IsZero() && s.now().Sub(s.read).Abs() < fresh {
		return s.hooks, nil
	}
	all, err := s.stored(ctx)
	if err != nil {
		return nil, err
	}
	hooks := make([]queue.Hook, 0, len(all))
	var errs []error
	for _, one := range all {
		h, err := s.hook(one)
		if err != nil { // sealed under keys that are gone: the others are still told
			errs = append(errs, fmt.Errorf("subscription %s: %w", one.ID, err))
			continue
		}
		hooks = append(hooks, h)
	}
	if len(hooks) == 0 && len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	s.hooks, s.read = hooks, s.now()
	return hooks, nil
}

func (s *Subscriptions) hook(one storedSubscription) (queue.Hook, error) {
	key, err := s.seals.Unwrap("hook:"+one.ID, one.Wrapped)
	if err != nil {
		return queue.Hook{}, err
	}
	secret, err := key.Open(one.Sealed, "hook:"+one.ID)
	if err != nil {
		return queue.Hook{}, err
	}
	w, err := s.webhook(one.ID, one.URL, string(secret))
	if err != nil {
		return queue.Hook{}, err
	}
	return queue.Hook{Name: one.ID, Webhook: w, Events: one.Events, Controllers: one.Controllers}, nil
}

func (s *Subscriptions) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = time.Time{}
}
