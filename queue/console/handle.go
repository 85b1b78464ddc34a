package console

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"postern/gateway/address"
)

// handleFor is how long a page about a person can be reached by its handle.
const handleFor = 30 * time.Minute

// A handle carries an address from a form to the page about the person: no
// address stands in a URL, where histories, proxies and logs would keep it.
// It is sealed, opens in the session it was made in alone, and for half an hour.
func (c *Console) handles() (cipher.AEAD, error) {
	m := hmac.New(sha256.New, c.csrfKey)
	m.Write([]byte("handle of a person"))
	block, err := aes.NewCipher(m.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("handle key: %w", err)
	}
	return cipher.NewGCM(block)
}

// sealHandle makes the handle of an address.
func (v *visit) sealHandle(a address.Address) (string, error) {
	seal, err := v.c.handles()
	if err != nil {
		return "", err
	}
	nonce := make([]byte, seal.NonceSize(), 128)
	_, _ = rand.Read(nonce) // never fails since Go 1.24
	text := append(binary.BigEndian.AppendUint64(nil, uint64(v.now().Add(handleFor).Unix())), a.Plain()...)
	return base64.RawURLEncoding.EncodeToString(seal.Seal(nonce, nonce, text, []byte(v.cookie))), nil
}

// openHandle gives the address of the handle in the path; false where it is
// over, forged or of another session.
func (v *visit) openHandle() (address.Address, bool) {
	seal, err := v.c.handles()
	raw, err2 := base64.RawURLEncoding.DecodeString(v.r.PathValue("handle"))
	if err != nil || err2 != nil || len(raw) < seal.NonceSize() {
		return address.Address{}, false
	}
	text, err := seal.Open(nil, raw[:seal.NonceSize()], raw[seal.NonceSize():], []byte(v.cookie))
	if err != nil || len(text) < 8 || !v.now().Before(time.Unix(int64(binary.BigEndian.Uint64(text)), 0)) {
		return address.Address{}, false
	}
	a, err := address.Parse(string(text[8:]))
	return a, err == nil
}
