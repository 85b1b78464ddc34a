package spool

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postern/gateway/ledger"
	"postern/gateway/node"
)

// onceFor is how long AcceptOnce knows what it has accepted, and onceSweep how
// often it forgets what is older.
const (
	onceFor   = 30 * 24 * time.Hour
	onceSweep = 24 * time.Hour
)

// AcceptOnce is Accept for a mail that must not be sent twice however often it
// is asked for: where a message with the same token was accepted within the
// last 30 days, it stores nothing and gives that one's id. The token becomes
// durable in the message's own batch. Only a hash of it is kept.
func (s *Store) AcceptOnce(ctx context.Context, token string, m *Message, recs ...ledger.Record) (id string, err error) {
	s.once.Lock()
	defer s.once.Unlock()
	now := s.opts.Now()
	if err := s.forgetTokens(now); err != nil {
		return "", err
	}
	key := onceKey(token)
	at, known, err := s.onceID(key)
	if err != nil && !errors.Is(err, ErrDamaged) { // twice is better than never
		return "", err
	}
	if known != "" && now.Sub(at) < onceFor {
		return known, nil
	}
	m.once = key
	if err := s.Accept(ctx, m, recs...); err != nil {
		return "", err
	}
	return m.ID, nil
}

func onceKey(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return append([]byte{node.SpaceSpool, keyOnce}, h[:16]...)
}

// onceID reads what was accepted under key; "" for nothing.
func (s *Store) onceID(key []byte) (at time.Time, id string, err error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return at, "", nil
	}
	if err != nil {
		return at, "", fmt.Errorf("read spool: %w", err)
	}
	defer closer.Close()
	at, of, err := parseOnce(v)
	if err != nil {
		return at, "", err
	}
	return at, of.String(), nil
}

func onceValue(at time.Time, id msgID) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at.Unix())), id[:]...)
}

func parseOnce(v []byte) (at time.Time, id msgID, err error) {
	if len(v) != 8+len(id) {
		return at, id, fmt.Errorf("%w: token of %d octets", ErrDamaged, len(v))
	}
	copy(id[:], v[8:])
	return time.Unix(int64(binary.BigEndian.Uint64(v)), 0), id, nil
}

// forgetTokens removes what is older than onceFor, now and then. s.once is held.
func (s *Store) forgetTokens(now time.Time) (err error) {
	if now.Sub(s.onceSwept) < onceSweep {
		return nil
	}
	s.onceSwept = now
	lower, upper := bounds(keyOnce)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if at, _, err := parseOnce(it.Value()); err == nil && now.Sub(at) < onceFor {
			continue
		}
		if err := s.db.Delete(it.Key(), pebble.NoSync); err != nil {
			return fmt.Errorf("forget token: %w", err)
		}
	}
	return it.Error()
}
