package unsubscribe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"postern/gateway/address"
)

// TokenLen is the length of a token's text in characters.
const TokenLen = 60

const (
	plainLen = 16 + 2 + 2                // subject, stream, day
	tagLen   = 16                        // synthetic IV, which is also the authenticator
	rawLen   = 1 + plainLen + tagLen     // with the key id: 37 octets
	day      = 24 * time.Hour            // unit of Token.Day
	minKey   = 32                        // octets of a secret
	labelTag = "postern token tag v1"    // HKDF labels: never changed
	labelEnc = "postern token cipher v1" //
	labelBox = "postern link box v1"     // for sealed links (undo, confirm)
)

// ErrToken is returned for every text that does not authenticate, whatever is
// wrong with it: the reason would help only a forger.
var ErrToken = errors.New("token does not authenticate")

var textEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// TokenKey is one secret for tokens. ID stands in each token it sealed and is
// never used again; Secret has at least 32 octets.
type TokenKey struct {
	ID     byte
	Secret []byte
}

// Token is what a link says: who is to be unsubscribed from what, and when
// the mail was made.
type Token struct {
	Subject address.SubjectID
	Stream  uint16
	Day     uint16 // days since 1 Jan 1970 UTC
}

// Time is the beginning of the token's day, UTC.
func (t Token) Time() time.Time { return time.Unix(int64(t.Day)*int64(day/time.Second), 0).UTC() }

// Codec seals and opens tokens. It is immutable and safe for concurrent use.
type Codec struct {
	newest *tokenKey
	byID   map[byte]*tokenKey
}

type tokenKey struct {
	id  byte
	tag []byte       // HMAC key of the synthetic IV
	enc cipher.Block // AES-256, used in counter mode
	box cipher.AEAD  // for sealed links
}

// NewCodec takes the keys newest first: the first seals, all open, for ever
// (UNS-6). Errors: no key, an id of 0 or given twice, a short secret.
func NewCodec(keys ...TokenKey) (*Codec, error) {
	if len(keys) == 0 {
		return nil, errors.New("no token key: run postern keys init")
	}
	c := &Codec{byID: map[byte]*tokenKey{}}
	for _, k := range keys {
		if k.ID == 0 || c.byID[k.ID] != nil {
			return nil, fmt.Errorf("token key %d: the id is 0 or given twice", k.ID)
		}
		if len(k.Secret) < minKey {
			return nil, fmt.Errorf("token key %d: %d octets, at least %d are needed", k.ID, len(k.Secret), minKey)
		}
		tk, err := newTokenKey(k)
		if err != nil {
			return nil, fmt.Errorf("token key %d: %w", k.ID, err)
		}
		c.byID[k.ID] = tk
		if c.newest == nil {
			c.newest = tk
		}
	}
	return c, nil
}

func newTokenKey(k TokenKey) (*tokenKey, error) {
	var derived [3][]byte
	for i, label := range []string{labelTag, labelEnc, labelBox} {
		b, err := hkdf.Key(sha256.New, k.Secret, nil, label, 32)
		if err != nil {
			return nil, err
		}
		derived[i] = b
	}
	enc, err := aes.NewCipher(derived[1])
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived[2])
	if err != nil {
		return nil, err
	}
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &tokenKey{id: k.ID, tag: derived[0], enc: enc, box: box}, nil
}

// Seal makes the token of a subject and a stream for a mail made at at: 60
// characters of lower-case base32, the same for the same day. It is a
// deterministic authenticated encryption in the manner of SIV (RFC 5297) with
// HMAC-SHA-256 for the synthetic IV, so it needs no random number per mail
// and shows nothing of its content.
func (c *Codec) Seal(subject address.SubjectID, stream uint16, at time.Time) string {
	var raw [rawLen]byte
	raw[0] = c.newest.id
	plain := raw[1 : 1+plainLen]
	copy(plain, subject[:])
	binary.BigEndian.PutUint16(plain[16:], stream)
	binary.BigEndian.PutUint16(plain[18:], dayOf(at))
	tag := c.newest.siv(plain)
	cipher.NewCTR(c.newest.enc, tag[:]).XORKeyStream(plain, plain)
	copy(raw[1+plainLen:], tag[:])
	return textEncoding.EncodeToString(raw[:])
}

// Open reads what Seal wrote under any of the keys, in upper or lower case: a
// mail system may change the case of a local-part. Every other text is
// ErrToken.
func (c *Codec) Open(text string) (Token, error) {
	raw, ok := decodeText(text)
	if !ok {
		return Token{}, ErrToken
	}
	k := c.byID[raw[0]]
	if k == nil {
		return Token{}, ErrToken
	}
	var given [tagLen]byte
	copy(given[:], raw[1+plainLen:])
	plain := raw[1 : 1+plainLen]
	cipher.NewCTR(k.enc, given[:]).XORKeyStream(plain, plain)
	if want := k.siv(plain); !hmac.Equal(want[:], given[:]) {
		return Token{}, ErrToken
	}
	t := Token{Stream: binary.BigEndian.Uint16(plain[16:]), Day: binary.BigEndian.Uint16(plain[18:])}
	copy(t.Subject[:], plain)
	return t, nil
}

// decodeText takes only the one canonical spelling of 37 octets, case apart:
// base32 leaves four bits over, which must be zero.
func decodeText(text string) (raw [rawLen]byte, ok bool) {
	if len(text) != TokenLen {
		return raw, false
	}
	var low [TokenLen]byte
	for i := range TokenLen {
		ch := text[i]
		if ch >= 'A' && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		low[i] = ch
	}
	var out [rawLen + 1]byte
	n, err := textEncoding.Decode(out[:], low[:])
	if err != nil || n != rawLen {
		return raw, false
	}
	copy(raw[:], out[:])
	return raw, textEncoding.EncodeToString(raw[:]) == string(low[:])
}

func (k *tokenKey) siv(plain []byte) (tag [tagLen]byte) {
	m := hmac.New(sha256.New, k.tag)
	m.Write([]byte{k.id})
	m.Write(plain)
	copy(tag[:], m.Sum(nil))
	return tag
}

func dayOf(t time.Time) uint16 {
	d := t.Unix() / int64(day/time.Second)
	return uint16(min(max(d, 0), 1<<16-1))
}
