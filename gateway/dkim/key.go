package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Algorithm is the key part of a= and the k= of the DNS record.
type Algorithm string

const (
	RSA     Algorithm = "rsa"     // RFC 6376, RFC 8301
	Ed25519 Algorithm = "ed25519" // RFC 8463
)

// MinRSABits is the least RSA key taken (RFC 8301 section 3.2, SHOULD; ours).
const MinRSABits = 2048

// Key is one private key and the place of its public half in DNS.
type Key struct {
	Domain   string // d=, lower-case A-labels
	Selector string // s=
	Private  crypto.Signer
	From     time.Time // signs from then on; zero: at once
}

// Algorithm tells the kind of key.
func (k Key) Algorithm() Algorithm {
	if _, ok := k.Private.(ed25519.PrivateKey); ok {
		return Ed25519
	}
	return RSA
}

// Name is the DNS name of the key record.
func (k Key) Name() string { return k.Selector + "._domainkey." + k.Domain }

// String keeps the private part out of logs.
func (k Key) String() string { return "dkim key " + k.Name() }

// GoString keeps %#v from showing the private part.
func (k Key) GoString() string { return k.String() }

func (k Key) check() error {
	if !isName(k.Domain) || !isName(k.Selector) {
		return fmt.Errorf("dkim key %q of %q: selector and domain must be DNS names", k.Selector, k.Domain)
	}
	switch p := k.Private.(type) {
	case *rsa.PrivateKey:
		if p.N.BitLen() < MinRSABits {
			return fmt.Errorf("dkim key %s: %d bits, at least %d are needed (RFC 8301)", k.Name(), p.N.BitLen(), MinRSABits)
		}
	case ed25519.PrivateKey:
	default:
		return fmt.Errorf("dkim key %s: neither RSA nor ed25519", k.Name())
	}
	return nil
}

func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range label {
			ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
			if !ok {
				return false
			}
		}
	}
	return true
}

// Generate makes a new key: RSA of 2048 bits, the size every verifier takes
// and one DNS record holds, or ed25519.
func Generate(domain, selector string, alg Algorithm) (Key, error) {
	k := Key{Domain: strings.ToLower(domain), Selector: selector}
	var err error
	switch alg {
	case RSA:
		k.Private, err = rsa.GenerateKey(rand.Reader, MinRSABits)
	case Ed25519:
		_, k.Private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return Key{}, fmt.Errorf("dkim algorithm %q is neither rsa nor ed25519", alg)
	}
	if err != nil {
		return Key{}, fmt.Errorf("make dkim key %s: %w", k.Name(), err)
	}
	return k, k.check()
}

// DNS gives the name and the text of the TXT record that publishes the key
// (RFC 6376 section 3.6.1, RFC 8463 section 4).
func DNS(k Key) (name, txt string, err error) {
	var der []byte
	switch pub := k.Private.Public().(type) {
	case ed25519.PublicKey:
		der = pub // the raw 32 octets
	default:
		if der, err = x509.MarshalPKIXPublicKey(pub); err != nil {
			return "", "", fmt.Errorf("encode public key of %s: %w", k.Name(), err)
		}
	}
	return k.Name(), "v=DKIM1; k=" + string(k.Algorithm()) + "; p=" + base64.StdEncoding.EncodeToString(der), nil
}

// ZoneLine gives the record as a line for a zone file, the text in strings of
// at most 255 octets (RFC 1035 section 3.3).
func ZoneLine(k Key) (string, error) {
	name, txt, err := DNS(k)
	if err != nil {
		return "", err
	}
	var parts []string
	for txt != "" {
		n := min(len(txt), 255)
		parts, txt = append(parts, `"`+txt[:n]+`"`), txt[n:]
	}
	return name + ". IN TXT ( " + strings.Join(parts, " ") + " )", nil
}

const pemType = "PRIVATE KEY"

// Save writes the private key as PKCS #8 PEM, mode 0600. It never overwrites.
func Save(path string, k Key) error {
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		return fmt.Errorf("encode dkim key %s: %w", k.Name(), err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write dkim key %s: %w", k.Name(), err)
	}
	err = pem.Encode(f, &pem.Block{Type: pemType, Bytes: der})
	return errors.Join(err, f.Sync(), f.Close())
}

// Load reads a PEM private key, PKCS #8 or the older PKCS #1 of opendkim-genkey.
// Others being able to read the file is an error.
func Load(path, domain, selector string) (Key, error) {
	k := Key{Domain: strings.ToLower(domain), Selector: selector}
	st, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("read dkim key %s: %w", k.Name(), err)
	}
	if st.Mode().Perm()&0o007 != 0 {
		return Key{}, fmt.Errorf("dkim key %s: %s is open to everybody; chmod 600: %w", k.Name(), path, fs.ErrPermission)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("read dkim key %s: %w", k.Name(), err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return Key{}, fmt.Errorf("dkim key %s: no PEM block in %s", k.Name(), path)
	}
	if k.Private, err = parsePrivate(block.Bytes); err != nil {
		return Key{}, fmt.Errorf("dkim key %s: %w", k.Name(), err)
	}
	return k, k.check()
}

func parsePrivate(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("neither PKCS #8 nor PKCS #1")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	return signer, nil
}
