package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what RFC 6238 authenticators speak
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

// One-time codes by RFC 6238: SHA-1, 30 s steps, six digits, as every
// authenticator app does them.
const (
	totpStep = 30 * time.Second
	totpMod  = 1_000_000
)

var totpText = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewTOTP makes a fresh secret of 160 bits in base32 (RFC 4226 section 4, R6).
func NewTOTP() string {
	b := make([]byte, 20)
	_, _ = rand.Read(b)
	return totpText.EncodeToString(b)
}

// TOTPLink is the otpauth URI that authenticator apps read from a QR code.
func TOTPLink(issuer, name, secret string) string {
	q := url.Values{"secret": {secret}, "issuer": {issuer}}
	return "otpauth://totp/" + url.PathEscape(issuer+":"+name) + "?" + q.Encode()
}

// TOTP is the code of a secret at a time.
func TOTP(secret string, at time.Time) (string, error) {
	return totpAt(secret, at.Unix()/int64(totpStep/time.Second))
}

func totpAt(secret string, counter int64) (string, error) {
	key, err := totpText.DecodeString(secret)
	if err != nil || len(key) < 16 {
		return "", fmt.Errorf("%w: secret of one-time codes", ErrInput)
	}
	m := hmac.New(sha1.New, key)
	var msg [8]byte
	binary.BigEndian.PutUint64(msg[:], uint64(counter))
	m.Write(msg[:])
	sum := m.Sum(nil)
	at := sum[len(sum)-1] & 15 // dynamic truncation, RFC 4226 section 5.3
	n := binary.BigEndian.Uint32(sum[at:at+4]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%totpMod), nil
}

// totpCounter gives the step a code belongs to, one before and after now
// taken as well; only steps after last count, so that a code works once
// (RFC 6238 section 5.2). 0 where none fits.
func totpCounter(secret, code string, now time.Time, last int64) int64 {
	c := now.Unix() / int64(totpStep/time.Second)
	found := int64(0)
	for _, n := range []int64{c - 1, c, c + 1} {
		want, err := totpAt(secret, n)
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && n > last {
			found = n
		}
	}
	return found
}
