package dkim

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// testKeys are made once: an RSA key costs a moment.
var testKeys = sync.OnceValues(func() ([]Key, error) {
	r, err := Generate("example.org", "r1", RSA)
	if err != nil {
		return nil, err
	}
	e, err := Generate("example.org", "e1", Ed25519)
	return []Key{r, e}, err
})

func newSigner(t testing.TB) (*Signer, []Key) {
	keys, err := testKeys()
	require.NoError(t, err)
	s, err := New(keys, Options{})
	require.NoError(t, err)
	return s, keys
}

// verify asks go-msgauth, with the keys' records as DNS.
func verify(t require.TestingT, keys []Key, msg []byte) []*msgauth.Verification {
	dns := map[string]string{}
	for _, k := range keys {
		name, txt, err := DNS(k)
		require.NoError(t, err)
		dns[name] = txt
	}
	out, err := msgauth.VerifyWithOptions(bytes.NewReader(msg), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		txt, ok := dns[name]
		if !ok {
			return nil, errors.New("no such record")
		}
		return []string{txt}, nil
	}})
	require.NoError(t, err)
	return out
}

const sample = "From: Shop <news@example.org>\r\nTo: someone@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n folded\r\n" +
	"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nList-Unsubscribe: <https://example.org/u/x>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nList-Id: <l.example.org>\r\n"

func signedMessage(t require.TestingT, s *Signer, hdr, body string) []byte {
	sig, err := s.Sign([]byte(hdr), HashBody([]byte(body)), "example.org")
	require.NoError(t, err)
	return append(sig, (hdr + "\r\n" + body)...)
}

func TestSignatureVerifies(t *testing.T) {
	s, keys := newSigner(t)
	for name, body := range map[string]string{
		"usual": "Hello\r\n  two  spaces\t \r\n\r\nend\r\n", "empty": "", "only empty lines": "\r\n\r\n", "no line end": "text",
		"white space only": " \r\n\t\r\n", "trailing lines": "a\r\n\r\n \r\n\r\n", "long": strings.Repeat("x y  z\t", 9000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := verify(t, keys, signedMessage(t, s, sample, body))
			require.Len(t, got, 2)
			for _, v := range got {
				require.NoError(t, v.Err)
				require.Equal(t, "example.org", v.Domain)
				require.Contains(t, v.HeaderKeys, "List-Unsubscribe")
				require.Contains(t, v.HeaderKeys, "List-Unsubscribe-Post")
				require.WithinDuration(t, v.Time.Add(14*24*time.Hour), v.Expiration, time.Second)
			}
		})
	}
}

func TestTamperingBreaks(t *testing.T) {
	s, keys := newSigner(t)
	msg := string(signedMessage(t, s, sample, "body\r\n"))
	for name, changed := range map[string]string{
		"body":               strings.Replace(msg, "body\r\n", "bodY\r\n", 1),
		"appended body":      msg + "more\r\n",
		"second From":        strings.Replace(msg, "From: Shop", "From: evil@example.net\r\nFrom: Shop", 1),
		"other unsubscribe":  strings.Replace(msg, "/u/x", "/u/y", 1),
		"second unsubscribe": strings.Replace(msg, "To: someone", "List-Unsubscribe: <https://example.net>\r\nTo: someone", 1),
		"added Reply-To":     strings.Replace(msg, "To: someone", "Reply-To: evil@example.net\r\nTo: someone", 1),
		"dropped one-click":  strings.Replace(msg, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", "", 1),
		"edited h= list":     strings.ReplaceAll(msg, "Post:List-Id", "Post:List-Ie"),
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, msg, changed)
			for _, v := range verify(t, keys, []byte(changed)) {
				require.Error(t, v.Err)
			}
		})
	}
}

func TestSignatureFields(t *testing.T) {
	s, _ := newSigner(t)
	sig := string(signedMessage(t, s, sample, "x\r\n"))
	require.NotContains(t, sig, "l=")
	require.Contains(t, sig, "c=relaxed/relaxed")
	for _, line := range strings.Split(sig, "\r\n") {
		require.LessOrEqual(t, len(line), 90)
	}
}

func TestEveryMessageVerifies(t *testing.T) {
	s, keys := newSigner(t)
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.RuneFrom([]rune("ab \t=:;.é")), 0, 30, -1)
		var hdr strings.Builder
		hdr.WriteString("From: x@example.org\r\n")
		for i, n := 0, rapid.IntRange(0, 5).Draw(t, "fields"); i < n; i++ {
			hdr.WriteString(rapid.SampledFrom([]string{"Subject", "X-Other", "List-Id", "received", "TO"}).Draw(t, "name") + ":" + word.Draw(t, "v"))
			if rapid.Bool().Draw(t, "fold") {
				hdr.WriteString("\r\n\tx" + word.Draw(t, "w"))
			}
			hdr.WriteString("\r\n")
		}
		body := strings.Join(rapid.SliceOfN(word, 0, 6).Draw(t, "lines"), "\r\n")
		for _, v := range verify(t, keys, signedMessage(t, s, hdr.String(), body)) {
			require.NoError(t, v.Err)
		}
	})
}

func TestParentDomainSigns(t *testing.T) {
	s, _ := newSigner(t)
	require.True(t, s.Signs("news.EXAMPLE.org"))
	require.False(t, s.Signs("example.com"))
	_, err := s.Sign([]byte(sample), HashBody(nil), "example.com")
	require.ErrorIs(t, err, ErrNoKey)
}

func TestRotationSignsWithBoth(t *testing.T) {
	keys, err := testKeys()
	require.NoError(t, err)
	next, err := Generate("example.org", "r2", RSA)
	require.NoError(t, err)
	all := append(append([]Key{}, keys...), next)
	s, err := New(all, Options{})
	require.NoError(t, err)
	got := verify(t, all, signedMessage(t, s, sample, "x\r\n"))
	require.Len(t, got, 3)
	for _, v := range got {
		require.NoError(t, v.Err)
	}
}

func TestKeysTakeOver(t *testing.T) {
	old, err := testKeys()
	require.NoError(t, err)
	day := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	next := old[0]
	next.Selector, next.From = "r2", day
	last := next
	last.Selector, last.From = "r3", day.AddDate(0, 1, 0)
	for _, c := range []struct {
		name string
		keys []Key
		now  time.Time
		want []string
	}{
		{"before", []Key{next, old[0], old[1]}, day.Add(-time.Second), []string{"r1", "e1"}},
		{"from the day on", []Key{old[1], old[0], next}, day, []string{"r2", "e1"}},
		{"the last begun", []Key{last, next, old[0]}, day.AddDate(1, 0, 0), []string{"r3"}},
		{"between", []Key{last, next, old[0]}, day.AddDate(0, 0, 3), []string{"r2"}},
		{"none has begun", []Key{last, next}, day.AddDate(-1, 0, 0), []string{"r2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := New(c.keys, Options{Now: func() time.Time { return c.now }})
			require.NoError(t, err)
			sig, err := s.Sign([]byte(sample), HashBody(nil), "example.org")
			require.NoError(t, err)
			var got []string
			for _, field := range strings.Split(string(sig), "DKIM-Signature:")[1:] {
				got = append(got, Tags(strings.Join(strings.Fields(field), ""))["s"])
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestNewRefuses(t *testing.T) {
	keys, err := testKeys()
	require.NoError(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	for name, ks := range map[string][]Key{
		"weak":          {{Domain: "example.org", Selector: "s", Private: weak}},
		"no selector":   {{Domain: "example.org", Private: keys[0].Private}},
		"bad domain":    {{Domain: "exam ple", Selector: "s", Private: keys[0].Private}},
		"no private":    {{Domain: "example.org", Selector: "s"}},
		"ed25519 alone": {keys[1]},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(ks, Options{})
			require.Error(t, err)
		})
	}
}

func TestSaveLoad(t *testing.T) {
	_, keys := newSigner(t)
	for _, k := range keys {
		path := filepath.Join(t.TempDir(), k.Selector+".pem")
		require.NoError(t, Save(path, k))
		require.ErrorIs(t, Save(path, k), os.ErrExist)
		got, err := Load(path, k.Domain, k.Selector)
		require.NoError(t, err)
		require.Equal(t, k.Private.Public(), got.Private.Public())
		require.NoError(t, os.Chmod(path, 0o644))
		_, err = Load(path, k.Domain, k.Selector)
		require.ErrorIs(t, err, os.ErrPermission)
		line, err := ZoneLine(k)
		require.NoError(t, err)
		require.Contains(t, line, k.Selector+"._domainkey.example.org. IN TXT ( \"v=DKIM1; k="+string(k.Algorithm()))
		require.NotContains(t, k.String()+k.GoString(), "Private")
	}
}

func benchBody() []byte {
	return bytes.Repeat([]byte("A line of an ordinary newsletter, about as long as they are.\r\n"), 50<<10/62)
}

func BenchmarkHashBody50K(b *testing.B) {
	body := benchBody()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		HashBody(body)
	}
}

func BenchmarkSignRSA(b *testing.B) {
	keys, err := testKeys()
	require.NoError(b, err)
	s, err := New(keys[:1], Options{})
	require.NoError(b, err)
	sum := HashBody(benchBody())
	for b.Loop() {
		if _, err := s.Sign([]byte(sample), sum, "example.org"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignMsgauth50K(b *testing.B) {
	keys, err := testKeys()
	require.NoError(b, err)
	msg := append([]byte(sample+"\r\n"), benchBody()...)
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		err := msgauth.Sign(&out, bytes.NewReader(msg), &msgauth.SignOptions{Domain: "example.org", Selector: "r1", Signer: keys[0].Private,
			HeaderCanonicalization: msgauth.CanonicalizationRelaxed, BodyCanonicalization: msgauth.CanonicalizationRelaxed, HeaderKeys: signed})
		if err != nil {
			b.Fatal(err)
		}
	}
}
