package address

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestParseNormalForm(t *testing.T) {
	for _, c := range []struct{ in, plain, wide string }{
		{"Mina@Example.ORG", "Mina@example.org", "mina@example.org"},
		{"mina+news@example.org", "mina+news@example.org", "mina@example.org"},
		{"mina+a+b@example.org", "mina+a+b@example.org", "mina@example.org"},
		{"+tag@example.org", "+tag@example.org", "+tag@example.org"},
		{"mina@Bücher.example", "mina@xn--bcher-kva.example", "mina@xn--bcher-kva.example"},
		{"mina@XN--BCHER-KVA.example", "mina@xn--bcher-kva.example", "mina@xn--bcher-kva.example"},
		{"mina@faß.example", "mina@xn--fa-hia.example", "mina@xn--fa-hia.example"},
		{"Grüße@example.org", "Grüße@example.org", "grüsse@example.org"},
		{"gru\u0308n@example.org", "gr\u00fcn@example.org", "gr\u00fcn@example.org"},
		{"Δοκιμή@παράδειγμα.example", "Δοκιμή@xn--hxajbheg2az3al.example", "δοκιμή@xn--hxajbheg2az3al.example"},
		{`"a b"@example.org`, `"a b"@example.org`, "a b@example.org"},
		{`"mina"@example.org`, "mina@example.org", "mina@example.org"},
		{`"a@b"@example.org`, `"a@b"@example.org`, "a@b@example.org"},
		{`"q\"uote\\"@example.org`, `"q\"uote\\"@example.org`, `q"uote\@example.org`},
		{`".dot."@example.org`, `".dot."@example.org`, ".dot.@example.org"},
		{"x@[192.0.2.1]", "x@[192.0.2.1]", "x@[192.0.2.1]"},
		{"x@[IPv6:2001:DB8:0::1]", "x@[ipv6:2001:db8::1]", "x@[ipv6:2001:db8::1]"},
		{"x@localhost", "x@localhost", "x@localhost"},
		{"x@App_Host.Internal", "x@app_host.internal", "x@app_host.internal"},
		{"x@r3---sn.example", "x@r3---sn.example", "x@r3---sn.example"},
	} {
		a, err := Parse(c.in)
		require.NoError(t, err, c.in)
		require.Equal(t, c.plain, a.Plain(), c.in)
		require.Equal(t, c.wide, a.Wide(), c.in)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", "@", "a@", "@example.org", "a", "a b@example.org", "a..b@example.org", ".a@example.org", "a.@example.org",
		"a@example..org", "a@.example.org", "a@example.org.", "a@-x.example", "a@x-.example", "a@exa mple.org",
		"a@" + strings.Repeat("x", 64) + ".example", strings.Repeat("a", 65) + "@example.org",
		"a@" + strings.Repeat("abcdefg.", 31) + "example", "a@[foo]", "a@[192.0.2.1", "a@[192.0.2.999]", "a@[2001:db8::1]",
		"a@[IPv6:192.0.2.1]", "a@[IPv6:fe80::1%eth0]", "<a@example.org>", "a@b@example.org", `"@example.org`, `""@example.org`,
		`"a"b@example.org`, `"a\"@example.org`, "a\x00@example.org", "a\r\nb@example.org", "\"a\r\n\"@example.org",
		"a@example.org\r\n", "a\x85@example.org", "a@xn--a.example", "a\xff@example.org", "a@\u202eexample.org",
		strings.Repeat("\ufb2c", 20) + "@example.org", // NFC makes it longer than a local-part may be
	} {
		_, err := Parse(in)
		require.ErrorIs(t, err, ErrSyntax, "%q", in)
		if len(in) > 3 {
			require.NotContains(t, err.Error(), in)
		}
	}
}

func TestNothingShowsTheAddress(t *testing.T) {
	a := MustParse("Mina.Muster+tag@example.org")
	var log bytes.Buffer
	l := slog.New(slog.NewJSONHandler(&log, nil))
	l.Info("x", "a", a, "p", &a, "s", []Address{a}, "e", fmt.Errorf("for %v", a))
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "a", a, "p", &a, "s", []Address{a}, "m", map[string]Address{"k": a})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%T%v", "%10.3s"} {
		fmt.Fprintf(&log, verb, a)
		fmt.Fprintf(&log, verb, &a)
		fmt.Fprintf(&log, verb, struct{ A Address }{a})
	}
	raw, err := json.Marshal(struct{ A Address }{a})
	require.NoError(t, err)
	log.Write(raw)
	fmt.Fprint(&log, errors.Join(fmt.Errorf("%w: %v", ErrSyntax, a)))
	for _, part := range []string{"ina", "uster", "example.org", "4d696e61", "4D696E61", "4d"[:0] + "M i n a"} {
		require.NotContains(t, log.String(), part)
	}
	require.Equal(t, a.String(), MustParse("mina.muster@example.org").String(), "one person, one pseudonym")
	require.Equal(t, "addr:<>", Address{}.String())
	require.Empty(t, Address{}.Plain())
}

// addresses draws addresses as strangers write them.
func addresses() *rapid.Generator[string] {
	local := rapid.StringOfN(rapid.RuneFrom([]rune("abzABZ019+._-\u00fc\u00dc\u00dfu\u0308\u0345\u1f80\u0130\u212a\u03a3\u03c2\u4f8b\u037e")), 1, 12, 60)
	domain := rapid.SampledFrom([]string{"example.org", "EXAMPLE.net", "bücher.example", "例え.example", "[192.0.2.1]", "[IPv6:2001:DB8::1]"})
	return rapid.Custom(func(t *rapid.T) string {
		l := local.Draw(t, "local")
		if rapid.Bool().Draw(t, "quoted") {
			l = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(l+rapid.SampledFrom([]string{"", " ", "@", ".."}).Draw(t, "odd")) + `"`
		}
		return l + "@" + domain.Draw(t, "domain")
	})
}

func checkAddress(t require.TestingT, in string) {
	a, err := Parse(in)
	if err != nil {
		require.ErrorIs(t, err, ErrSyntax)
		return
	}
	require.False(t, a.IsZero())
	require.True(t, norm.NFC.IsNormalString(a.Local()))
	b, err := Parse(a.Plain())
	require.NoError(t, err, "%q", a.Plain())
	require.Equal(t, a, b, "the plain form reads back")
	require.LessOrEqual(t, len(a.Plain()), MaxPath)
	require.NotContains(t, a.Plain(), "\r")
	require.NotContains(t, a.Plain(), "\n")
	require.True(t, isASCII(a.Domain()))
	require.Equal(t, strings.ToLower(a.Domain()), a.Domain())
	// Whatever case and tag a person writes, a "no" is found again (UTF8-3).
	for _, other := range []Address{
		{local: strings.ToLower(a.local), domain: a.domain}, {local: strings.ToUpper(a.local), domain: a.domain},
		{local: norm.NFC.String(strings.ToUpper(norm.NFD.String(a.local))), domain: a.domain},
	} {
		if strings.ContainsAny(a.local, "\u0130\u0131") {
			continue // dotless and dotted i change under case mapping, not under folding
		}
		require.Equal(t, a.Wide(), other.Wide(), "%q", a.local)
	}
	if !strings.HasPrefix(a.local, "+") {
		tagged := Address{local: a.local + "+tag", domain: a.domain}
		require.Equal(t, a.Wide(), tagged.Wide())
	}
}

func TestUTF8_3_WideFormFindsEveryWriting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkAddress(t, addresses().Draw(t, "address")) })
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"mina@example.org", `"a b"@example.org`, "x@[IPv6:::1]", "Grüße@bücher.example", "\u037e@example.org", "a+b@xn--bcher-kva.example", "ǰ@example.org", `"ꮷ"@example.org`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) { checkAddress(t, in) })
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		_, _ = Parse("mina.muster@example.org")
	}
}

func BenchmarkIdentify(b *testing.B) {
	ring, _ := NewKeyring(Key{ID: "1", Secret: bytes.Repeat([]byte{7}, 32)})
	a := MustParse("mina.muster@example.org")
	b.ReportAllocs()
	for b.Loop() {
		ring.Identify("acme", a)
	}
}
