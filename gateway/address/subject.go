package address

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"sync"
)

// SubjectID is the pseudonym of a data subject towards one controller: the
// first 16 bytes of HMAC-SHA-256 over the controller's id and the wide form
// of the address (design D8, GDPR Art. 4(5)).
type SubjectID [16]byte

// ExactHash tells apart the exact forms that share one SubjectID.
type ExactHash [8]byte

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String is the id in 26 characters of lower-case base32.
func (s SubjectID) String() string { return idEncoding.EncodeToString(s[:]) }

// IsZero tells whether s names nobody.
func (s SubjectID) IsZero() bool { return s == SubjectID{} }

// ParseSubjectID reads what SubjectID.String wrote.
func ParseSubjectID(text string) (SubjectID, error) {
	var s SubjectID
	b, err := idEncoding.DecodeString(text)
	if err != nil || len(b) != len(s) {
		return s, errors.New("not a subject id: 26 characters of base32 are needed")
	}
	copy(s[:], b)
	if s.String() != text { // spare bits set: another text for the same id
		return SubjectID{}, errors.New("not a subject id: its last character is wrong")
	}
	return s, nil
}

// String is the hash in lower-case hexadecimal.
func (e ExactHash) String() string { return hex.EncodeToString(e[:]) }

// Identity is what one key makes of one address.
type Identity struct {
	KeyID string
	ID    SubjectID
	Exact ExactHash
}

// Key is one secret for subject ids; at least 32 bytes.
type Key struct {
	ID     string
	Secret []byte
}

// Keyring holds the live subject-id keys, newest first. It is immutable and
// safe for concurrent use.
type Keyring struct{ keys []liveKey }

// liveKey keeps hashes that have the key already mixed in: setting one up
// costs as much as using it.
type liveKey struct {
	Key
	macs *sync.Pool // of *mac
}

// mac is a keyed hash with room for what it is to read and give.
type mac struct {
	hash.Hash
	buf []byte
}

func newLiveKey(k Key) liveKey {
	return liveKey{k, &sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, k.Secret)} }}}
}

// NewKeyring takes the keys newest first. Errors: none given, a secret under
// 32 bytes, or an id given twice.
func NewKeyring(keys ...Key) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("no subject-id key: run postern keys init")
	}
	seen := map[string]bool{}
	for _, k := range keys {
		if k.ID == "" || seen[k.ID] {
			return nil, fmt.Errorf("subject-id key %q: the id is empty or given twice", k.ID)
		}
		if len(k.Secret) < 32 {
			return nil, fmt.Errorf("subject-id key %q: %d bytes, at least 32 are needed", k.ID, len(k.Secret))
		}
		seen[k.ID] = true
	}
	r := &Keyring{}
	for _, k := range keys {
		k.Secret = bytes.Clone(k.Secret)
		r.keys = append(r.keys, newLiveKey(k))
	}
	return r, nil
}

// Identify gives the identity of a towards controller under the newest key.
func (r *Keyring) Identify(controller string, a Address) Identity {
	return identify(r.keys[0], controller, a)
}

// Identities gives the identity under every live key, newest first, so that
// what an older key stored is still found.
func (r *Keyring) Identities(controller string, a Address) []Identity {
	out := make([]Identity, len(r.keys))
	for i, k := range r.keys {
		out[i] = identify(k, controller, a)
	}
	return out
}

// Fingerprints gives one public line per key, newest first: id and the first
// 8 bytes of a hash of the secret. Redis holds them, so that a node with a
// foreign key is refused (design D8).
func (r *Keyring) Fingerprints() []string {
	out := make([]string, len(r.keys))
	for i, k := range r.keys {
		h := sha256.Sum256(append([]byte("postern subject key "), k.Secret...))
		out[i] = k.ID + ":" + hex.EncodeToString(h[:8])
	}
	return out
}

func identify(k liveKey, controller string, a Address) Identity {
	out := Identity{KeyID: k.ID}
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	copy(out.ID[:], m.sum("wide", controller, a.Wide()))
	copy(out.Exact[:], m.sum("exact", controller, a.local, "@", a.domain))
	return out
}

// sum gives the keyed hash, valid until the next call, of kind, controller and
// form, each ended by a zero octet. The form may come in pieces.
func (m *mac) sum(kind, controller string, form ...string) []byte {
	b := append(append(m.buf[:0], kind...), 0)
	b = append(append(b, controller...), 0)
	for _, f := range form {
		b = append(b, f...)
	}
	b = append(b, 0)
	m.Reset()
	_, _ = m.Write(b) // a hash never fails
	m.buf = m.Sum(b[:0])
	return m.buf
}
