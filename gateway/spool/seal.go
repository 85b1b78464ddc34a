package spool

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// First octet of a stored value. The packed forms hold the value compressed
// (pack.go).
const (
	storedClear        byte = 0
	storedSealed       byte = 1
	storedPacked       byte = 2
	storedSealedPacked byte = 3
)

const (
	nonceSize = 12
	tagSize   = 16
)

// sealer encrypts values at rest. Each message has a key of its own, derived
// from the configured one, so that random nonces never wear a key out. The
// store's key is bound as associated data: a value moved to another place
// does not open.
type sealer struct{ master []byte }

func newSealer(key []byte) (*sealer, error) {
	if len(key) != 0 && len(key) != 32 {
		return nil, fmt.Errorf("spool key: %d octets, 32 are needed", len(key))
	}
	return &sealer{master: key}, nil
}

// overhead is what sealing adds to a value.
func (s *sealer) overhead() int {
	if s.master == nil {
		return 1
	}
	return 1 + nonceSize + tagSize
}

func (s *sealer) aead(id msgID) (cipher.AEAD, error) {
	h := hmac.New(sha256.New, s.master)
	h.Write([]byte("postern spool message "))
	h.Write(id[:])
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("spool cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// seal appends the stored form of plain to dst.
func (s *sealer) seal(dst []byte, id msgID, key, plain []byte) ([]byte, error) {
	return s.sealAs(dst, id, key, plain, false)
}

// sealAs is seal for what may be packed already.
func (s *sealer) sealAs(dst []byte, id msgID, key, plain []byte, packed bool) ([]byte, error) {
	clear, sealed := storedClear, storedSealed
	if packed {
		clear, sealed = storedPacked, storedSealedPacked
	}
	if s.master == nil {
		return append(append(dst, clear), plain...), nil
	}
	gcm, err := s.aead(id)
	if err != nil {
		return nil, err
	}
	dst = append(dst, sealed)
	var nonce [nonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("spool nonce: %w", err)
	}
	dst = append(dst, nonce[:]...)
	return gcm.Seal(dst, nonce[:], plain, key), nil
}

// open gives the plain form of a stored value; it may alias stored. Values
// that were stored in clear open under any key, so encryption can be switched
// on with mail in the spool.
func (s *sealer) open(id msgID, key, stored []byte) ([]byte, error) {
	if len(stored) == 0 {
		return nil, fmt.Errorf("%w: empty value", ErrDamaged)
	}
	form := stored[0]
	switch {
	case form == storedClear:
		return stored[1:], nil
	case form == storedPacked:
		return unpack(stored[1:])
	case form != storedSealed && form != storedSealedPacked || len(stored) < 1+nonceSize+tagSize:
		return nil, fmt.Errorf("%w: unknown storage form", ErrDamaged)
	}
	if s.master == nil {
		return nil, fmt.Errorf("%w: it is encrypted and no spool key is configured", ErrDamaged)
	}
	gcm, err := s.aead(id)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, stored[1:1+nonceSize], stored[1+nonceSize:], key)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not open with the spool key", ErrDamaged)
	}
	if form == storedSealedPacked {
		return unpack(plain)
	}
	return plain, nil
}
