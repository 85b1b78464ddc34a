// Package keys keeps the secrets that a Postern installation must never lose
// in one file outside Redis and its backups: subject-id, token, ledger, vault
// and spool keys. What each loss means stands in deploy/docs/keys.md.
package keys

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Kind is what a key is for.
type Kind string

const (
	Subject      Kind = "subject"       // HMAC key of subject ids (design D8)
	Token        Kind = "token"         // unsubscribe tokens (design D7)
	LedgerSign   Kind = "ledger-sign"   // Ed25519 seed for checkpoints (design D15)
	LedgerMaster Kind = "ledger-master" // wraps the per-subject keys of the ledger
	Vault        Kind = "vault"         // wraps the key of each case (design D12b)
)

// Kinds lists all kinds in the order a file is written.
func Kinds() []Kind { return []Kind{Subject, Token, LedgerSign, LedgerMaster, Vault} }

// secretLen is the length of every secret in bytes.
const secretLen = 32

// Key is one secret. Within a kind the last of the file is the newest; older
// ones still open what they sealed.
type Key struct {
	Kind    Kind      `toml:"kind"`
	ID      string    `toml:"id"` // per kind: "1", "2", ... up to 255, never used again
	Created time.Time `toml:"created"`
	Secret  string    `toml:"secret"` // base64 of 32 bytes
}

// Bytes is the secret itself. It panics on a key that did not come from Load
// or Generate.
func (k Key) Bytes() []byte {
	b, err := base64.StdEncoding.DecodeString(k.Secret)
	if err != nil || len(b) != secretLen {
		panic("keys: secret was not validated")
	}
	return b
}

// Number is the id as the byte that tokens carry.
func (k Key) Number() byte {
	n, _ := strconv.ParseUint(k.ID, 10, 8)
	return byte(n)
}

// Fingerprint is public: the first 8 bytes of a hash of the secret, in hex.
func (k Key) Fingerprint() string {
	h := sha256.Sum256(append([]byte("postern key "+k.Kind+" "), k.Bytes()...))
	return hex.EncodeToString(h[:8])
}

// String keeps %v from showing the secret.
func (k Key) String() string { return fmt.Sprintf("%s/%s", k.Kind, k.ID) }

// GoString keeps %#v from showing the secret.
func (k Key) GoString() string { return k.String() }

// Ring is the content of a key file.
type Ring struct {
	Keys []Key `toml:"key"`
}

// ErrExists is returned by Init where a file is already there.
var ErrExists = errors.New("the key file exists already; keys are never overwritten")

// Generate makes a ring with one fresh key of each kind.
func Generate(now time.Time) (Ring, error) {
	var r Ring
	for _, kind := range Kinds() {
		if err := r.Add(kind, now); err != nil {
			return Ring{}, err
		}
	}
	return r, nil
}

// Add appends a fresh key of a kind: from then on the newest.
func (r *Ring) Add(kind Kind, now time.Time) error {
	next := 1
	for _, k := range r.Keys {
		if k.Kind == kind {
			next = int(k.Number()) + 1
		}
	}
	if next > 255 {
		return fmt.Errorf("%s keys: all 255 ids are used", kind)
	}
	secret := make([]byte, secretLen)
	if _, err := rand.Read(secret); err != nil {
		return fmt.Errorf("make a %s key: %w", kind, err)
	}
	r.Keys = append(r.Keys, Key{
		Kind: kind, ID: strconv.Itoa(next), Created: now.UTC().Truncate(time.Second),
		Secret: base64.StdEncoding.EncodeToString(secret),
	})
	return nil
}

// Of lists the keys of a kind, newest first.
func (r Ring) Of(kind Kind) []Key {
	var out []Key
	for i := len(r.Keys) - 1; i >= 0; i-- {
		if r.Keys[i].Kind == kind {
			out = append(out, r.Keys[i])
		}
	}
	return out
}

// Newest is the key of a kind that is used for what is new.
func (r Ring) Newest(kind Kind) Key { return r.Of(kind)[0] }

// Load reads a key file. Errors say which key is wrong; they never hold a
// secret. A file that others may read is refused.
func Load(path string) (Ring, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Ring{}, fmt.Errorf("key file %s is not there: make one with `postern keys init`, or put back the one this installation had", path)
	}
	if err != nil {
		return Ring{}, fmt.Errorf("key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Ring{}, fmt.Errorf("key file %s may be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return Ring{}, fmt.Errorf("key file: %w", err)
	}
	var r Ring
	if err := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields().Decode(&r); err != nil {
		return Ring{}, fmt.Errorf("key file %s is damaged: restore it from its backup", path)
	}
	return r, r.validate()
}

func (r Ring) validate() error {
	var errs []error
	seen := map[string]bool{}
	for i, k := range r.Keys {
		if n, err := strconv.ParseUint(k.ID, 10, 8); err != nil || n == 0 {
			errs = append(errs, fmt.Errorf("key %d: id is not a number from 1 to 255", i+1))
		}
		if b, err := base64.StdEncoding.DecodeString(k.Secret); err != nil || len(b) != secretLen {
			errs = append(errs, fmt.Errorf("key %d (%s): the secret is not base64 of %d bytes", i+1, k, secretLen))
		}
		if seen[k.String()] {
			errs = append(errs, fmt.Errorf("key %d (%s): id given twice", i+1, k))
		}
		seen[k.String()] = true
	}
	for _, kind := range Kinds() {
		if len(r.Of(kind)) == 0 {
			errs = append(errs, fmt.Errorf("no key of kind %q: add one with `postern keys rotate %s`", kind, kind))
		}
	}
	return errors.Join(errs...)
}

// Init makes a fresh key file, mode 0600. It wraps ErrExists where one is there.
func Init(path string, now time.Time) (Ring, error) {
	if _, err := os.Stat(path); err == nil {
		return Ring{}, fmt.Errorf("%s: %w", path, ErrExists)
	}
	r, err := Generate(now)
	if err != nil {
		return Ring{}, err
	}
	return r, r.Save(path)
}

// Save writes the file durably: whole and synced beside the old one, then renamed.
func (r Ring) Save(path string) error {
	var b bytes.Buffer
	b.WriteString("# Postern's keys. Back this file up apart from Redis and its backups.\n# Never delete a key: older ones open what they sealed.\n\n")
	if err := toml.NewEncoder(&b).Encode(r); err != nil {
		return fmt.Errorf("encode keys: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("key folder: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".keys-*") // mode 0600
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b.Bytes())
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("put key file in place: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("key folder: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
