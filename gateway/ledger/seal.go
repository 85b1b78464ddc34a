package ledger

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// A leaf is what the tree hashes: version, form, then the record in clear
// (form plain: it concerns no person) or a salt and the sealed record.
const (
	leafVersion byte = 1
	leafPlain   byte = 0
	leafSealed  byte = 1
	saltLen          = 16
	leafHead         = 2
)

var errSealed = errors.New("ledger record does not open with this key")

// recordKey is the key of one record. It comes from the subject's key and the
// leaf's salt, so that a proof can give one record's key away and no other.
func recordKey(person []byte, salt []byte) []byte {
	m := hmac.New(sha256.New, person)
	m.Write([]byte("postern ledger record v1"))
	m.Write(salt)
	return m.Sum(nil)
}

// nonce may be constant: each record has a key of its own.
var nonce = make([]byte, 12)

// sealLeaf appends the leaf of a record under a person's key to dst, which is
// empty.
func sealLeaf(dst, person, record []byte) ([]byte, error) {
	leaf := append(slices.Grow(dst, leafHead+saltLen+len(record)+16), leafVersion, leafSealed)
	leaf = leaf[:leafHead+saltLen]
	if _, err := rand.Read(leaf[leafHead:]); err != nil {
		return nil, fmt.Errorf("ledger salt: %w", err)
	}
	aead, err := newAEAD(recordKey(person, leaf[leafHead:]))
	if err != nil {
		return nil, err
	}
	return aead.Seal(leaf, nonce, record, leaf), nil
}

// plainLeaf appends the leaf of a record that concerns no person to dst.
func plainLeaf(dst, record []byte) []byte {
	return append(append(dst, leafVersion, leafPlain), record...)
}

// openLeaf gives the record of a leaf; key is that of the record and is not
// needed for a plain one.
func openLeaf(leaf, key []byte) (Record, error) {
	if len(leaf) < leafHead || leaf[0] != leafVersion {
		return Record{}, fmt.Errorf("%w: leaf", errDamaged)
	}
	if leaf[1] == leafPlain {
		return decodeRecord(leaf[leafHead:])
	}
	if leaf[1] != leafSealed || len(leaf) < leafHead+saltLen {
		return Record{}, fmt.Errorf("%w: leaf", errDamaged)
	}
	aead, err := newAEAD(key)
	if err != nil {
		return Record{}, errSealed
	}
	ad := leaf[:leafHead+saltLen]
	plain, err := aead.Open(nil, nonce, leaf[len(ad):], ad)
	if err != nil {
		return Record{}, errSealed
	}
	return decodeRecord(plain)
}

// saltOf is the salt of a sealed leaf, nil for another.
func saltOf(leaf []byte) []byte {
	if len(leaf) < leafHead+saltLen || leaf[1] != leafSealed {
		return nil
	}
	return leaf[leafHead : leafHead+saltLen]
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// newWrap is the cipher that keeps subject keys: AES-256-GCM with random nonces.
func newWrap(master []byte) (cipher.AEAD, error) {
	if len(master) != 32 {
		return nil, fmt.Errorf("%d octets, 32 are needed", len(master))
	}
	block, err := aes.NewCipher(master)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
