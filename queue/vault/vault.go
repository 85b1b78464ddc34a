// Package vault seals what people wrote to us. Each case has a key of its own,
// wrapped by a master key that never is in Redis; destroying the wrapped key
// makes the case unreadable for ever (design D12b, ST-7).
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// KeySize is the length of a master key in bytes (AES-256).
const KeySize = 32

// ErrSealed says that sealed data can't be opened: another key, or changed bytes.
var ErrSealed = errors.New("sealed data does not open with the keys given")

// Keys holds the master keys, newest first. It is immutable and safe for
// concurrent use.
type Keys struct{ masters []master }

type master struct {
	id     string // first 4 bytes of a hash: tells which key wrapped
	aead   cipher.AEAD
	lookup []byte
}

// New takes the master keys newest first; each is KeySize random bytes. Older
// ones only open.
func New(keys ...[]byte) (*Keys, error) {
	if len(keys) == 0 {
		return nil, errors.New("no vault key: run postern keys init")
	}
	k := &Keys{}
	for i, raw := range keys {
		if len(raw) != KeySize {
			return nil, fmt.Errorf("vault key %d: %d bytes, %d are needed", i+1, len(raw), KeySize)
		}
		aead, err := newAEAD(derive(raw, "wrap"))
		if err != nil {
			return nil, err
		}
		id := sha256.Sum256(append([]byte("postern vault key "), raw...))
		k.masters = append(k.masters, master{hex.EncodeToString(id[:4]), aead, derive(raw, "lookup")})
	}
	return k, nil
}

// Key seals and opens the texts of one case.
type Key struct{ aead cipher.AEAD }

// Make gives a fresh key for the case and its wrapped form for the case record.
func (k *Keys) Make(number string) (*Key, string, error) {
	raw := make([]byte, KeySize)
	if _, err := rand.Read(raw); err != nil {
		return nil, "", fmt.Errorf("make case key: %w", err)
	}
	aead, err := newAEAD(raw)
	if err != nil {
		return nil, "", err
	}
	m := k.masters[0]
	return &Key{aead}, m.id + "." + seal(m.aead, raw, "key:"+number), nil
}

// Unwrap opens the key of a case. Errors wrap ErrSealed.
func (k *Keys) Unwrap(number, wrapped string) (*Key, error) {
	id, text, _ := strings.Cut(wrapped, ".")
	for _, m := range k.masters {
		if m.id != id {
			continue
		}
		raw, err := open(m.aead, text, "key:"+number)
		if err != nil {
			return nil, fmt.Errorf("unwrap key of case %s: %w", number, err)
		}
		aead, err := newAEAD(raw)
		if err != nil {
			return nil, err
		}
		return &Key{aead}, nil
	}
	return nil, fmt.Errorf("unwrap key of case %s: master key %q is not here: %w", number, id, ErrSealed)
}

// Lookups gives keyed hashes of text, one per master key and newest first:
// under the first a look-up is stored, all are asked.
func (k *Keys) Lookups(purpose, text string) []string {
	out := make([]string, len(k.masters))
	for i, m := range k.masters {
		h := hmac.New(sha256.New, m.lookup)
		h.Write([]byte(purpose + "\x00" + text))
		out[i] = hex.EncodeToString(h.Sum(nil)[:16])
	}
	return out
}

// Seal encrypts plain for one place: the same place has to be named to open
// it, so that sealed fields can't be swapped.
func (k *Key) Seal(plain []byte, place string) string { return seal(k.aead, plain, place) }

// Open decrypts what Seal made for the same place. Errors wrap ErrSealed.
func (k *Key) Open(sealed, place string) ([]byte, error) {
	plain, err := open(k.aead, sealed, place)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", place, err)
	}
	return plain, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return aead, nil
}

func seal(a cipher.AEAD, plain []byte, place string) string {
	return base64.RawStdEncoding.EncodeToString(a.Seal(nil, nil, plain, []byte(place)))
}

func open(a cipher.AEAD, sealed, place string) ([]byte, error) {
	raw, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, ErrSealed
	}
	plain, err := a.Open(nil, nil, raw, []byte(place))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func derive(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("postern vault " + purpose))
	return h.Sum(nil)
}
