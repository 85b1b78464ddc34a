package preflight

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// web answers for the link without a network.
type web func(*http.Request) (int, string, error)

// RoundTrip answers one request.
func (w web) RoundTrip(r *http.Request) (*http.Response, error) {
	status, page, err := w(r)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	if status/100 == 3 {
		h.Set("Location", "https://elsewhere.example.com/")
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(page)), Request: r}, nil
}

const page = `<form method="post"><button>Stop</button></form>`

func TestGoodMessagePassesEverything(t *testing.T) {
	z := goodZone()
	key := z.keyed(t, "example.org", rsaKey(t, 2048))
	var seen []string
	list := Check(context.Background(), signed(t, letter(fields), "example.org", key), Options{
		LookupTXT: z.LookupTXT, Resolver: z, SendingIP: netip.MustParseAddr("198.51.100.7"),
		PublicURLs: []string{"https://other.example.net", "https://mail.example.org"}, Postal: "Example Shop, 1 Market Street",
		Client: &http.Client{Transport: web(func(r *http.Request) (int, string, error) {
			seen = append(seen, r.Method+" "+r.URL.String())
			if r.Method == http.MethodPost {
				b, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.Equal(t, "List-Unsubscribe=One-Click", string(b))
				require.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
				require.Empty(t, r.Header.Get("Cookie"))
			}
			return http.StatusOK, page, nil
		})},
	})
	for _, f := range list {
		require.Equal(t, Pass, f.Level, "%+v", f)
	}
	require.Len(t, list, 17)
	require.False(t, Failed(list))
	require.Equal(t, []string{"GET https://mail.example.org/u/abc", "POST https://mail.example.org/u/abc"}, seen)
	for _, r := range BulkRules(list) {
		if strings.HasPrefix(r.Rule, "spam rate") {
			require.Equal(t, Unchecked, r.Level)
			continue
		}
		require.Equal(t, Pass, r.Level, "%+v", r)
	}
}

func TestNothingHandedInIsNotChecked(t *testing.T) {
	list := Check(context.Background(), signed(t, letter(fields), "example.org", rsaKey(t, 2048)), Options{})
	for _, name := range []string{NameDKIM, NameCovered, NameKey, NameAlignment, NameSPF, NameDMARC, NamePTR, NamePostal, NameGET, NamePOST} {
		require.Equal(t, Unchecked, find(t, list, name).Level, name)
	}
	require.False(t, Failed(list))
}

func TestFields(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		check    string
		want     Level
	}{
		"UNS-1 no List-Unsubscribe":       {"List-Unsubscribe: <", "X-Gone: <", NameUnsubscribe, Fail},
		"UNS-1 twice":                     {"List-Id:", "List-Unsubscribe: <https://mail.example.org/u/x>\nList-Id:", NameUnsubscribe, Fail},
		"UNS-1 two https URIs":            {"<mailto:", "<https://mail.example.org/u/x>, <mailto:", NameUnsubscribe, Fail},
		"UNS-1 no https URI":              {"<https://mail.example.org/u/abc>, ", "", NameUnsubscribe, Fail},
		"UNS-1 http URI":                  {"<mailto:", "<http://mail.example.org/u/x>, <mailto:", NameUnsubscribe, Fail},
		"UNS-8 no mailto":                 {", <mailto:u+abc@mail.example.org>", "", NameUnsubscribe, Fail},
		"UNS-9 no angle brackets":         {"<https://mail.example.org/u/abc>", "https://mail.example.org/u/abc", NameUnsubscribe, Fail},
		"UNS-9 white space inside":        {"<https://mail.example.org/u/abc>", "<https://mail.example.org/u/ abc>", NameUnsubscribe, Fail},
		"UNS-9 folded between":            {", <mailto:", ",\n <mailto:", NameUnsubscribe, Pass},
		"another host than public.url":    {"<https://mail.example.org/", "<https://mail.example.org.example.com/", NameUnsubscribe, Fail},
		"UNS-1 no Post":                   {"List-Unsubscribe-Post:", "X-Gone:", NamePost, Fail},
		"UNS-1 other value":               {"=One-Click", "=one-click", NamePost, Fail},
		"UNS-1 value and more":            {"=One-Click", "=One-Click, x", NamePost, Fail},
		"UNS-10 no List-Id":               {"List-Id:", "X-Gone:", NameListID, Fail},
		"UNS-10 List-Id without brackets": {"<news.example.org>", "news.example.org", NameListID, Fail},
		"UNS-10 long List-Id":             {"<news.example.org>", "<" + strings.Repeat("a.", 128) + "org>", NameListID, Fail},
		"two From":                        {"To:", "From: b@example.org\nTo:", NameOnce, Fail},
		"From of two":                     {"From: Example News <news@mail.example.org>", "From: a@example.org, b@example.org", NameOnce, Fail},
		"no Date":                         {"Date:", "X-Gone:", NameOnce, Fail},
		"Date that is none":               {"Tue, 24 Nov 2026 10:00:00 +0000", "soon", NameOnce, Fail},
		"no Message-ID":                   {"Message-ID:", "X-Gone:", NameOnce, Fail},
		"HDR-2 none":                      {"Feedback-ID:", "X-Gone:", NameFeedbackID, Advice},
		"HDR-2 three parts":               {"news:weekly:bulk:example", "news:weekly:example", NameFeedbackID, Fail},
		"HDR-2 short sender":              {"bulk:example", "bulk:ex", NameFeedbackID, Fail},
		"HDR-2 twice":                     {"List-Id:", "Feedback-ID: a:b:c:example\nList-Id:", NameFeedbackID, Fail},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, fields, c.old)
			raw := letter(strings.Replace(fields, c.old, c.new, 1))
			list := Check(context.Background(), raw, Options{PublicURLs: []string{"https://other.example.net", "https://mail.example.org"}})
			require.Equal(t, c.want, find(t, list, c.check).Level, "%+v", find(t, list, c.check))
		})
	}
}

func TestSignatures(t *testing.T) {
	z := goodZone()
	strong, weak := rsaKey(t, 2048), rsaKey(t, 1024)
	z.keyed(t, "example.org", strong)
	z.keyed(t, "weak.example.org", weak)
	z.keyed(t, "smarthost.example.com", strong)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	z.keyed(t, "ed.example.org", edwards)
	raw := letter(fields)
	good := signed(t, raw, "example.org", strong)
	for name, c := range map[string]struct {
		raw   []byte
		check string
		want  Level
	}{
		"none":                        {raw, NameDKIM, Fail},
		"valid":                       {good, NameDKIM, Pass},
		"LF from a file":              {[]byte(strings.ReplaceAll(string(good), "\r\n", "\n")), NameDKIM, Pass},
		"body changed":                {append(good[:len(good):len(good)], "more\r\n"...), NameDKIM, Fail},
		"changed, nothing covered":    {append(good[:len(good):len(good)], "more\r\n"...), NameCovered, Fail},
		"no key in DNS":               {signed(t, raw, "other.example.org", strong), NameDKIM, Fail},
		"one valid, one not":          {signed(t, good, "other.example.org", strong), NameDKIM, Advice},
		"UNS-2 both in h=":            {good, NameCovered, Pass},
		"UNS-2 Post not in h=":        {signed(t, raw, "example.org", strong, "List-Unsubscribe-Post"), NameCovered, Fail},
		"UNS-2 URI not in h=":         {signed(t, raw, "example.org", strong, "List-Unsubscribe"), NameCovered, Fail},
		"UNS-2 by the other":          {signed(t, signed(t, raw, "example.org", strong, "List-Unsubscribe"), "smarthost.example.com", strong), NameCovered, Pass},
		"AUTHN-2 l=":                  {[]byte(strings.Replace(string(good), "DKIM-Signature: ", "DKIM-Signature: l=5; ", 1)), NameLength, Fail},
		"AUTHN-1 1024 bits":           {signed(t, raw, "weak.example.org", weak), NameKey, Advice},
		"AUTHN-1 2048 bits":           {good, NameKey, Pass},
		"AUTHN-1 ed25519 alone":       {signed(t, raw, "ed.example.org", edwards), NameKey, Fail},
		"AUTHN-1 ed25519 beside":      {signed(t, good, "ed.example.org", edwards), NameKey, Pass},
		"AUTHN-3 aligned":             {good, NameAlignment, Pass},
		"AUTHN-3 aligned by sister":   {signed(t, raw, "weak.example.org", weak), NameAlignment, Pass},
		"AUTHN-3 smarthost's domain":  {signed(t, raw, "smarthost.example.com", strong), NameAlignment, Fail},
		"AUTHN-3 valid one not ours":  {signed(t, signed(t, raw, "other.example.org", strong), "smarthost.example.com", strong), NameAlignment, Fail},
		"unreadable signature beside": {append([]byte("DKIM-Signature: rubbish\r\n"), good...), NameDKIM, Advice},
	} {
		t.Run(name, func(t *testing.T) {
			f := find(t, Check(context.Background(), c.raw, Options{LookupTXT: z.LookupTXT}), c.check)
			require.Equal(t, c.want, f.Level, "%+v", f)
		})
	}
	z.err = errors.New("no network")
	list := Check(context.Background(), good, Options{LookupTXT: z.LookupTXT})
	require.NotEqual(t, Pass, find(t, list, NameDKIM).Level, "an unanswered look-up verifies nothing")
	require.NotEqual(t, Pass, find(t, list, NameCovered).Level)
}

func TestRelaxedAlignmentStopsAtPublicSuffixes(t *testing.T) {
	require.True(t, aligned("example.co.uk", "news.example.co.uk"))
	require.False(t, aligned("one.co.uk", "two.co.uk"))
	require.False(t, aligned("", ""))
}

func TestBody(t *testing.T) {
	o := Options{Postal: "Example Shop, 1 Market Street"}
	html := strings.Replace(fields, "text/plain", "text/html", 1)
	for name, c := range map[string]struct {
		raw          string
		link, postal Level
	}{
		"UNS-11 both":        {fields + "\n" + body, Pass, Pass},
		"UNS-11 neither":     {fields + "\nFresh bread.\n", Fail, Fail},
		"UNS-11 html":        {html + "\n<a href=\"https://mail.example.org/u/abc?a=1&amp;b=2\">Stop</a><p>Example Shop, 1 Market Street", Pass, Pass},
		"UNS-11 preferences": {fields + "\nhttps://mail.example.org/p/abc\n", Pass, Fail},
		"another host":       {fields + "\nhttps://elsewhere.example.com/u/abc\n", Fail, Fail},
	} {
		t.Run(name, func(t *testing.T) {
			list := Check(context.Background(), crlf([]byte(c.raw)), o)
			require.Equal(t, c.link, find(t, list, NameLink).Level)
			require.Equal(t, c.postal, find(t, list, NamePostal).Level)
		})
	}
}

func TestOneClick(t *testing.T) {
	for name, c := range map[string]struct {
		get, post   int
		page        string
		err         error
		wGET, wPOST Level
	}{
		"UNS-4 good":           {200, 200, page, nil, Pass, Pass},
		"UNS-4 redirect":       {200, 302, page, nil, Pass, Fail},
		"UNS-4 redirected GET": {301, 200, page, nil, Fail, Pass},
		"UNS-4 202":            {200, 202, page, nil, Pass, Fail},
		"UNS-5 GET acts":       {200, 200, "You are unsubscribed.", nil, Fail, Pass},
		"404":                  {404, 404, page, nil, Fail, Fail},
		"away":                 {0, 0, "", errors.New("connection refused"), Fail, Fail},
	} {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: web(func(r *http.Request) (int, string, error) {
				require.Equal(t, "mail.example.org", r.URL.Host, "no redirect is followed")
				if r.Method == http.MethodGet {
					return c.get, c.page, c.err
				}
				return c.post, c.page, c.err
			})}
			list := Check(context.Background(), letter(fields), Options{Client: client})
			require.Equal(t, c.wGET, find(t, list, NameGET).Level)
			require.Equal(t, c.wPOST, find(t, list, NamePOST).Level)
			require.NotContains(t, find(t, list, NamePOST).What, "abc", "the token stays out")
		})
	}
}
