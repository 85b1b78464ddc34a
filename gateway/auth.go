package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
)

// errAuthBusy says that too many passwords are being checked.
var errAuthBusy = errors.New("too many passwords to check")

// passwordHash is an argon2id hash with its parameters (RFC 9106).
type passwordHash struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

// HashPassword gives the argon2id hash of a password in PHC string format,
// with a fresh salt, 19 MiB and two passes.
func HashPassword(password string) string {
	h := passwordHash{memory: 19 << 10, time: 2, threads: 1, salt: make([]byte, 16), sum: make([]byte, 32)}
	_, _ = rand.Read(h.salt)
	h.sum = h.of(password)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.memory, h.time, h.threads, enc.EncodeToString(h.salt), enc.EncodeToString(h.sum))
}

// PasswordMatches tells whether hash, as HashPassword gives it, is that of the
// password. A hash that can't be read matches nothing.
func PasswordMatches(hash, password string) bool {
	h, err := parseHash(hash)
	return err == nil && subtle.ConstantTimeCompare(h.of(password), h.sum) == 1
}

// parseHash reads a PHC string. Errors name the fault, never the hash.
func parseHash(s string) (passwordHash, error) {
	var h passwordHash
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return h, errors.New("not an argon2id hash of the form $argon2id$v=19$m=..,t=..,p=..$salt$hash")
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); n != 3 || err != nil {
		return h, errors.New("parameters of the argon2id hash can't be read")
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	switch {
	case err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.sum) < 16:
		return h, errors.New("salt or sum of the argon2id hash is no base64 or too short")
	case h.memory < 8*uint32(h.threads) || h.memory > 1<<20 || h.time < 1 || h.time > 20 || h.threads < 1:
		return h, errors.New("parameters of the argon2id hash are out of range")
	}
	return h, nil
}

func (h passwordHash) of(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
}

// passwords checks accounts. Unknown names cost what known ones cost.
type passwords struct {
	accounts map[string]*Account
	hashes   map[string]passwordHash
	decoy    passwordHash
	slots    chan struct{}
	keep     time.Duration
	now      func() time.Time
	secret   []byte

	mu    sync.Mutex
	known map[[32]byte]time.Time // keyed hash of name and password → until when
}

func newPasswords(o *ServerOptions) (*passwords, error) {
	p := &passwords{
		accounts: map[string]*Account{}, hashes: map[string]passwordHash{}, known: map[[32]byte]time.Time{},
		slots: make(chan struct{}, o.AuthParallel), keep: o.AuthRemember, now: o.Now, secret: make([]byte, 32),
		decoy: passwordHash{memory: 19 << 10, time: 2, threads: 1, salt: make([]byte, 16), sum: make([]byte, 32)},
	}
	_, _ = rand.Read(p.secret)
	var errs []error
	for i := range o.Accounts {
		a := &o.Accounts[i]
		h, err := parseHash(a.Hash)
		if err != nil {
			errs = append(errs, fmt.Errorf("account %q: %w", a.Name, err))
			continue
		}
		if _, dup := p.accounts[a.Name]; dup || a.Name == "" {
			errs = append(errs, fmt.Errorf("account %q: the name is empty or given twice", a.Name))
		}
		p.accounts[a.Name], p.hashes[a.Name] = a, h
		p.decoy = passwordHash{h.memory, h.time, h.threads, p.decoy.salt, make([]byte, len(h.sum))}
	}
	return p, errors.Join(errs...)
}

// check gives the account, or nil where name or password are wrong. It waits
// for a free slot until ctx ends, then it gives errAuthBusy. remembered tells
// that nothing had to be hashed.
func (p *passwords) check(ctx context.Context, name, password string) (a *Account, remembered bool, err error) {
	key := p.key(name, password)
	if a = p.accounts[name]; a != nil && p.remembers(key) {
		return a, true, nil
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, false, errAuthBusy
	}
	h, ok := p.hashes[name]
	if !ok {
		h = p.decoy
	}
	equal := subtle.ConstantTimeCompare(h.of(password), h.sum) == 1
	if !ok || !equal {
		return nil, false, nil
	}
	p.remember(key)
	return a, false, nil
}

func (p *passwords) key(name, password string) (k [32]byte) {
	m := hmac.New(sha256.New, p.secret)
	fmt.Fprintf(m, "%d:%s%s", len(name), name, password)
	m.Sum(k[:0])
	return k
}

func (p *passwords) remembers(k [32]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.known[k]
	return ok && p.now().Before(until)
}

func (p *passwords) remember(k [32]byte) {
	if p.keep < 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for old, until := range p.known { // bounded by the number of accounts
		if !p.now().Before(until) {
			delete(p.known, old)
		}
	}
	p.known[k] = p.now().Add(p.keep)
}
