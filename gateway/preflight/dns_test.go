package preflight

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRecords(t *testing.T) {
	const ip = "198.51.100.7"
	away := &net.DNSError{Err: "timeout", IsTimeout: true, IsTemporary: true}
	for name, c := range map[string]struct {
		change func(z *zone)
		ip     string
		check  string
		want   Level
	}{
		"AUTHN-5 passes":              {nil, ip, NameSPF, Pass},
		"AUTHN-5 ip not known":        {nil, "", NameSPF, Advice},
		"AUTHN-5 other ip":            {nil, "203.0.113.9", NameSPF, Fail},
		"AUTHN-5 none":                {func(z *zone) { delete(z.txt, "mail.example.org") }, ip, NameSPF, Fail},
		"AUTHN-5 two records":         {func(z *zone) { z.txt["mail.example.org"] = []string{"v=spf1 -all", "v=spf1 ~all"} }, ip, NameSPF, Fail},
		"AUTHN-5 everyone":            {func(z *zone) { z.txt["mail.example.org"] = []string{"v=spf1 +all"} }, "", NameSPF, Fail},
		"AUTHN-5 too many look-ups":   {func(z *zone) { z.txt["mail.example.org"] = []string{"v=spf1 include:mail.example.org -all"} }, "", NameSPF, Fail},
		"AUTHN-5 not readable":        {func(z *zone) { z.txt["mail.example.org"] = []string{"v=spf1 ip4:x -all"} }, "", NameSPF, Fail},
		"AUTHN-5 DNS away":            {func(z *zone) { z.err = away }, ip, NameSPF, Unchecked},
		"AUTHN-4 at the organisation": {nil, ip, NameDMARC, Pass},
		"AUTHN-4 none":                {func(z *zone) { delete(z.txt, "_dmarc.example.org") }, ip, NameDMARC, Fail},
		"AUTHN-4 without rua":         {func(z *zone) { z.txt["_dmarc.example.org"] = []string{"v=DMARC1; p=none"} }, ip, NameDMARC, Advice},
		"AUTHN-4 own record first":    {func(z *zone) { z.txt["_dmarc.mail.example.org"] = []string{"v=DMARC1; p=wrong"} }, ip, NameDMARC, Fail},
		"AUTHN-4 two records": {func(z *zone) {
			z.txt["_dmarc.example.org"] = []string{"v=DMARC1; p=none", "v=DMARC1; p=reject"}
		}, ip, NameDMARC, Fail},
		"AUTHN-4 tags of RFC 9989": {func(z *zone) {
			z.txt["_dmarc.example.org"] = []string{"v=DMARC1; p=reject; np=reject; psd=n; t=y; rua=mailto:d@example.org"}
		}, ip, NameDMARC, Pass},
		"AUTHN-4 DNS away":    {func(z *zone) { z.err = away }, ip, NameDMARC, Unchecked},
		"PTR and back":        {nil, ip, NamePTR, Pass},
		"PTR not known":       {nil, "", NamePTR, Unchecked},
		"PTR missing":         {func(z *zone) { z.names = nil }, ip, NamePTR, Fail},
		"PTR leads elsewhere": {func(z *zone) { z.ip["out.example.org"] = []string{"203.0.113.9"} }, ip, NamePTR, Fail},
		"PTR DNS away":        {func(z *zone) { z.err = away }, ip, NamePTR, Unchecked},
	} {
		t.Run(name, func(t *testing.T) {
			z := goodZone()
			if c.change != nil {
				c.change(&z)
			}
			o := Options{Resolver: z}
			if c.ip != "" {
				o.SendingIP = netip.MustParseAddr(c.ip)
			}
			f := find(t, Check(context.Background(), letter(fields), o), c.check)
			require.Equal(t, c.want, f.Level, "%+v", f)
		})
	}
}

func TestSPFIsThatOfTheReturnPath(t *testing.T) {
	z := goodZone()
	z.txt["bounce.example.org"] = []string{"v=spf1 -all"}
	o := Options{Resolver: z, SendingIP: netip.MustParseAddr("198.51.100.7")}
	f := find(t, Check(context.Background(), letter("Return-Path: <b@bounce.example.org>\n"+fields), o), NameSPF)
	require.Equal(t, Fail, f.Level)
	require.Contains(t, f.What, "bounce.example.org")
}

func TestStrictAlignmentWantsTheVeryDomain(t *testing.T) {
	z := goodZone()
	z.txt["_dmarc.example.org"] = []string{"v=DMARC1; p=none; adkim=s; rua=mailto:d@example.org"}
	key := rsaKey(t, 2048)
	z.keyed(t, "example.org", key)
	z.keyed(t, "mail.example.org", key)
	for domain, want := range map[string]Level{"example.org": Fail, "mail.example.org": Pass} {
		list := Check(context.Background(), signed(t, letter(fields), domain, key), Options{Resolver: z, LookupTXT: z.LookupTXT})
		require.Equal(t, want, find(t, list, NameDMARC).Level, domain)
	}
}

func TestWalkAsksAtMostEightNames(t *testing.T) {
	names := walk(strings.Repeat("a.", 20) + "example.org")
	require.LessOrEqual(t, len(names), 8)
	require.Equal(t, "example.org", names[len(names)-1])
	require.Equal(t, []string{"example.org"}, walk("example.org"))
}

func TestBulkRulesAreAsBadAsTheirWorst(t *testing.T) {
	list := []Finding{pass(NameUnsubscribe, ""), pass(NamePost, ""), fail(NameCovered, "", "mend"), advise(NamePOST, "", "look")}
	for _, r := range BulkRules(list) {
		if strings.HasPrefix(r.Rule, "one-click") {
			require.Equal(t, Fail, r.Level)
			require.Equal(t, "mend", r.Do)
		} else {
			require.NotEqual(t, Pass, r.Level, "%s was not looked at", r.Rule)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(fields + "\n" + body))
	f.Add([]byte("DKIM-Signature: d=;s=;h=\n\n"))
	z := goodZone()
	f.Fuzz(func(t *testing.T, raw []byte) {
		list := Check(context.Background(), raw, Options{LookupTXT: z.LookupTXT, Resolver: z})
		require.GreaterOrEqual(t, len(list), 12)
	})
}
