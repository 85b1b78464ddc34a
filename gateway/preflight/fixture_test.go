package preflight

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"
)

const fields = `From: Example News <news@mail.example.org>
To: anna@example.net
Subject: Offers
Date: Tue, 24 Nov 2026 10:00:00 +0000
Message-ID: <1@mail.example.org>
List-Id: Example News <news.example.org>
List-Unsubscribe: <https://mail.example.org/u/abc>, <mailto:u+abc@mail.example.org>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
Feedback-ID: news:weekly:bulk:example
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
`

const body = `Fresh bread.
Unsubscribe: https://mail.example.org/u/abc
Example Shop, 1 Market
 Street
`

// zone is a resolver of fixed answers.
type zone struct {
	txt   map[string][]string
	ip    map[string][]string
	names map[string][]string
	err   error // of every look-up
}

func missing(name string) error { return &net.DNSError{Err: "none", Name: name, IsNotFound: true} }

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	if t, ok := z.txt[strings.TrimSuffix(name, ".")]; ok && z.err == nil {
		return t, nil
	}
	return nil, z.or(missing(name))
}

func (z zone) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	return nil, z.or(missing(name))
}

func (z zone) LookupIPAddr(_ context.Context, name string) (out []net.IPAddr, _ error) {
	for _, a := range z.ip[strings.TrimSuffix(name, ".")] {
		out = append(out, net.IPAddr{IP: net.ParseIP(a)})
	}
	if out == nil || z.err != nil {
		return nil, z.or(missing(name))
	}
	return out, nil
}

func (z zone) LookupAddr(_ context.Context, addr string) ([]string, error) {
	if n, ok := z.names[addr]; ok && z.err == nil {
		return n, nil
	}
	return nil, z.or(missing(addr))
}

func (z zone) or(err error) error {
	if z.err != nil {
		return z.err
	}
	return err
}

func goodZone() zone {
	return zone{
		txt: map[string][]string{
			"mail.example.org":   {"v=spf1 ip4:198.51.100.7 -all"},
			"_dmarc.example.org": {"v=DMARC1; p=none; rua=mailto:d@example.org"},
		},
		ip:    map[string][]string{"out.example.org": {"198.51.100.7"}},
		names: map[string][]string{"198.51.100.7": {"out.example.org."}},
	}
}

// keyed publishes a key for the signatures of domain and gives it.
func (z zone) keyed(t *testing.T, domain string, key crypto.Signer) crypto.Signer {
	t.Helper()
	record := "v=DKIM1; k=ed25519; p="
	der, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		b, err := x509.MarshalPKIXPublicKey(key.Public())
		require.NoError(t, err)
		record, der = "v=DKIM1; k=rsa; p=", b
	}
	z.txt["s._domainkey."+domain] = []string{record + base64.StdEncoding.EncodeToString(der)}
	return key
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return k
}

// signed signs a message over its fields but for those named.
func signed(t *testing.T, raw []byte, domain string, key crypto.Signer, without ...string) []byte {
	t.Helper()
	var keys []string
	for _, k := range []string{"From", "To", "Subject", "Date", "Message-ID", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"} {
		if !slices.Contains(without, k) {
			keys = append(keys, k)
		}
	}
	var b bytes.Buffer
	require.NoError(t, dkim.Sign(&b, bytes.NewReader(raw), &dkim.SignOptions{Domain: domain, Selector: "s", Signer: key, HeaderKeys: keys}))
	return b.Bytes()
}

// letter is a message of these fields with the usual body.
func letter(head string) []byte { return crlf([]byte(head + "\n" + body)) }

func find(t *testing.T, list []Finding, name string) Finding {
	t.Helper()
	for _, f := range list {
		if f.Name == name {
			if f.Level == Pass {
				require.Empty(t, f.Do)
			} else {
				require.NotEmpty(t, f.Do, "what to do about %s", name)
			}
			return f
		}
	}
	t.Fatalf("no finding %q in %+v", name, list)
	return Finding{}
}
