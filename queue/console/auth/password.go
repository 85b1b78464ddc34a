package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"postern/gateway"
)

// minPassword is the least length of a password in signs (NIST SP 800-63B-4,
// 3.1.1.2: 15 where it may stand alone).
const minPassword, maxPassword = 15, 200

// CheckPassword tells whether a new password may be used: long enough, and not
// made of the user's own name or one sign. Errors wrap ErrInput.
func CheckPassword(name, password string) error {
	n := utf8.RuneCountInString(password)
	lower := strings.ToLower(password)
	switch {
	case !utf8.ValidString(password) || n < minPassword || n > maxPassword:
		return fmt.Errorf("%w: a password has %d to %d signs", ErrInput, minPassword, maxPassword)
	case name != "" && strings.Contains(lower, name) && n < minPassword+len(name):
		return fmt.Errorf("%w: the password is made of the name", ErrInput)
	case strings.Count(lower, lower[:1]) == len(lower):
		return fmt.Errorf("%w: the password is one sign repeated", ErrInput)
	}
	return nil
}

func hashOf(password string) string { return gateway.HashPassword(password) }

// matches hashes at most Options.Parallel passwords at once: each takes 19 MiB.
func (s *Store) matches(ctx context.Context, hash, password string) (bool, error) {
	if len(password) > 4*maxPassword {
		return false, nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return gateway.PasswordMatches(hash, password), nil
}

// randomText is n random bytes in lower-case base32.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
