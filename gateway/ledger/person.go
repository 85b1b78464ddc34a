package ledger

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"postern/gateway/address"
)

// maxCached is how many subject keys stay in memory: 48 octets each.
const maxCached = 1 << 16

// persons holds the keys of subjects, wrapped by the master key.
type persons struct {
	wrap  cipher.AEAD // with a random nonce of its own
	mu    sync.RWMutex
	cache map[address.SubjectID][]byte
}

func newPersons(master []byte) (*persons, error) {
	aead, err := newWrap(master)
	if err != nil {
		return nil, fmt.Errorf("ledger master key: %w", err)
	}
	return &persons{wrap: aead, cache: map[address.SubjectID][]byte{}}, nil
}

// key gives a subject's key, or nil where it has none (any more).
func (p *persons) key(db pebble.Reader, s address.SubjectID) ([]byte, error) {
	p.mu.RLock()
	k := p.cache[s]
	p.mu.RUnlock()
	if k != nil {
		return k, nil
	}
	wrapped, closer, err := db.Get(personKey(s))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read key of subject %s: %w", s, err)
	}
	defer closer.Close()
	k, err = p.wrap.Open(nil, nil, wrapped, s[:])
	if err != nil {
		return nil, fmt.Errorf("key of subject %s does not open with this master key", s)
	}
	return k, nil
}

// keyFor gives a subject's key and makes one in b where there is none. Only
// the sequencer calls it, and keeps it once b is committed.
func (p *persons) keyFor(db *pebble.DB, b *pebble.Batch, fresh map[address.SubjectID][]byte, s address.SubjectID) ([]byte, error) {
	if k := fresh[s]; k != nil {
		return k, nil
	}
	k, err := p.key(db, s)
	if err != nil {
		return nil, err
	}
	if k == nil {
		k = make([]byte, 32)
		if _, err := rand.Read(k); err != nil {
			return nil, fmt.Errorf("make key of subject %s: %w", s, err)
		}
		if err := b.Set(personKey(s), p.wrap.Seal(nil, nil, k, s[:]), nil); err != nil {
			return nil, err
		}
	}
	fresh[s] = k
	return k, nil
}

// keep remembers keys whose batch is committed.
func (p *persons) keep(fresh map[address.SubjectID][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.cache)+len(fresh) > maxCached {
		clear(p.cache)
	}
	for s, k := range fresh {
		p.cache[s] = k
	}
}

func (p *persons) forget(s address.SubjectID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.cache, s)
}
