package unsubscribe

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
)

const pairBody = "List-Unsubscribe=One-Click"

func multipartBody(fields ...string) (body, contentType string) {
	var b strings.Builder
	for i := 0; i+1 < len(fields); i += 2 {
		b.WriteString("--x7\r\nContent-Disposition: form-data; name=\"" + fields[i] + "\"\r\n\r\n" + fields[i+1] + "\r\n")
	}
	return b.String() + "--x7--\r\n", "multipart/form-data; boundary=x7"
}

// UNS-4: both encodings of RFC 8058 act at once, without cookies or redirect,
// and a repetition changes nothing more.
func TestUNS4_OneClickActs(t *testing.T) {
	multi, multiType := multipartBody("List-Unsubscribe", "One-Click")
	for name, c := range map[string][2]string{
		"urlencoded":              {pairBody, urlencoded},
		"urlencoded with charset": {pairBody, urlencoded + "; charset=UTF-8"},
		"multipart":               {multi, multiType},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			for range 3 {
				w := g.do(http.MethodPost, "/u/"+g.token(1), c[0], "Content-Type", c[1], "Cookie", "")
				require.Equal(t, http.StatusOK, w.Code)
				require.Empty(t, w.Header().Get("Location"))
				require.Empty(t, w.Header().Values("Set-Cookie"))
				require.Contains(t, w.Body.String(), "You are unsubscribed.")
			}
			require.Len(t, g.reg.standing(), 1)
			s := g.reg.standing()[0]
			require.Equal(t, g.subject, s.Subject)
			require.Equal(t, consent.ScopeStream, s.Scope)
			require.EqualValues(t, 1, s.Stream)
			require.Equal(t, consent.Unsubscribed, s.Reason)
			require.Equal(t, "one-click", s.Source)
			require.Equal(t, "shop", s.Controller)
		})
	}
}

// UNS-4, UNS-5: what scanners, prefetchers and odd clients send. Only the pair
// of RFC 8058 and the page's own form act.
func TestUNS5_OddClients(t *testing.T) {
	both, bothType := multipartBody("x", "1", "List-Unsubscribe", "One-Click", "y", "2")
	wrong, wrongType := multipartBody("List-Unsubscribe", "one click")
	long := strings.Repeat("a=b&", 20<<10) + pairBody
	file := "--x7\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"; filename=\"a.txt\"\r\n\r\nOne-Click\r\n--x7--\r\n"
	cases := []struct {
		name, method, query, body string
		head                      []string
		acts                      bool
		code                      int
	}{
		{"GET", "GET", "", "", nil, false, 200},
		{"GET by a prefetcher", "GET", "", "", []string{"Purpose", "prefetch", "Sec-Purpose", "prefetch;prerender"}, false, 200},
		{"GET with the pair in the query", "GET", "?" + pairBody, "", nil, false, 200},
		{"GET with the pair as body", "GET", "", pairBody, []string{"Content-Type", urlencoded}, false, 200},
		{"GET with the page's act in the query", "GET", "?act=unsubscribe", "", nil, false, 200},
		{"GET by a link scanner", "GET", "", "", []string{"User-Agent", "Mozilla/5.0 (compatible; scanner)"}, false, 200},
		{"HEAD", "HEAD", "", "", nil, false, 200},
		{"HEAD with the pair in the query", "HEAD", "?" + pairBody, "", nil, false, 200},
		{"OPTIONS", "OPTIONS", "", "", nil, false, 204},
		{"CORS preflight", "OPTIONS", "", "", []string{"Origin", "https://mail.example.net", "Access-Control-Request-Method", "POST"}, false, 204},
		{"PUT of the pair", "PUT", "", pairBody, []string{"Content-Type", urlencoded}, false, 405},
		{"DELETE", "DELETE", "", "", nil, false, 405},
		{"PATCH of the pair", "PATCH", "", pairBody, []string{"Content-Type", urlencoded}, false, 405},
		{"TRACE", "TRACE", "", "", nil, false, 405},
		{"PROPFIND", "PROPFIND", "", "", nil, false, 405},
		{"POST without body", "POST", "", "", []string{"Content-Type", urlencoded}, false, 200},
		{"POST without type", "POST", "", pairBody, nil, false, 200},
		{"POST of text/plain", "POST", "", pairBody, []string{"Content-Type", "text/plain"}, false, 200},
		{"POST of JSON", "POST", "", `{"List-Unsubscribe":"One-Click"}`, []string{"Content-Type", "application/json"}, false, 200},
		{"POST of XML", "POST", "", "<List-Unsubscribe>One-Click</List-Unsubscribe>", []string{"Content-Type", "text/xml"}, false, 200},
		{"POST, pair only in the query", "POST", "?" + pairBody, "a=b", []string{"Content-Type", urlencoded}, false, 200},
		{"POST of another value", "POST", "", "List-Unsubscribe=1", []string{"Content-Type", urlencoded}, false, 200},
		{"POST in lower case", "POST", "", "list-unsubscribe=one-click", []string{"Content-Type", urlencoded}, false, 200},
		{"POST of another field", "POST", "", "submit=Unsubscribe", []string{"Content-Type", urlencoded}, false, 200},
		{"POST of a broken escape", "POST", "", "List-Unsubscribe=One-Click&x=%zz", []string{"Content-Type", urlencoded}, false, 200},
		{"POST over the limit", "POST", "", long, []string{"Content-Type", urlencoded}, false, 200},
		{"multipart without boundary", "POST", "", both, []string{"Content-Type", "multipart/form-data"}, false, 200},
		{"multipart of another value", "POST", "", wrong, []string{"Content-Type", wrongType}, false, 200},
		{"multipart as a file", "POST", "", file, []string{"Content-Type", "multipart/form-data; boundary=x7"}, false, 200},
		{"multipart cut short", "POST", "", both[:len(both)-12], []string{"Content-Type", bothType}, false, 200},
		{"type that can't be read", "POST", "", pairBody, []string{"Content-Type", "/;;"}, false, 200},
		{"two types at once", "POST", "", pairBody, []string{"Content-Type", urlencoded + ", text/plain"}, false, 200},
		{"form of another page", "POST", "", "act=undo", []string{"Content-Type", urlencoded}, false, 200},
		{"pair and unknown fields", "POST", "", "a=1&" + pairBody + "&b=2", []string{"Content-Type", urlencoded}, true, 200},
		{"multipart with unknown fields", "POST", "", both, []string{"Content-Type", bothType}, true, 200},
		{"foreign Origin and Referer", "POST", "", pairBody, []string{"Content-Type", urlencoded, "Origin", "null", "Referer", "https://mail.example.net/"}, true, 200},
		{"with a stray cookie", "POST", "", pairBody, []string{"Content-Type", urlencoded, "Cookie", "sid=1"}, true, 200},
		{"with the type in upper case", "POST", "", pairBody, []string{"Content-Type", strings.ToUpper(urlencoded)}, true, 200},
		{"page's own form", "POST", "", "act=unsubscribe", []string{"Content-Type", urlencoded}, true, 200},
		{"page's own form in German", "POST", "?lang=de", "act=unsubscribe", []string{"Content-Type", urlencoded}, true, 200},
	}
	require.GreaterOrEqual(t, len(cases), 30)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			w := g.do(c.method, "/u/"+g.token(1)+c.query, c.body, c.head...)
			require.Equal(t, c.code, w.Code)
			require.Empty(t, w.Header().Values("Set-Cookie"))
			require.Empty(t, w.Header().Get("Location"))
			if c.acts {
				require.Len(t, g.reg.standing(), 1)
				return
			}
			require.Zero(t, g.reg.calls, "nothing may be changed")
			if c.method == "HEAD" {
				require.Zero(t, w.Body.Len())
			}
			if c.method == "POST" {
				require.Contains(t, w.Body.String(), `value="unsubscribe"`, "any other POST shows the page")
			}
		})
	}
}

// UNS-5: a cut or forged token gets 404, says that nothing was changed, and
// changes nothing, whatever the method.
func TestUNS5_BrokenToken(t *testing.T) {
	g := newRig(t)
	foreign, err := NewCodec(key(9))
	require.NoError(t, err)
	good := g.token(1)
	for name, text := range map[string]string{
		"cut": good[:40], "one letter off": flip(good), "another installation's": foreign.Seal(g.subject, 1, when),
		"long": good + good, "markup": "%3Cscript%3E", "letters": "hello",
	} {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			w := g.do(method, "/u/"+text, pairBody, "Content-Type", urlencoded)
			require.Equal(t, http.StatusNotFound, w.Code, name)
			if method != "HEAD" {
				require.Contains(t, w.Body.String(), "Nothing was changed.", name)
				require.NotContains(t, w.Body.String(), "<script")
			}
		}
	}
	require.Zero(t, g.reg.calls)
}

func flip(s string) string {
	if s[20] == 'a' {
		return s[:20] + "b" + s[21:]
	}
	return s[:20] + "a" + s[21:]
}

// UNS-6: an old token works, also of a retired stream, and in upper case.
func TestUNS6_OldTokenActs(t *testing.T) {
	g := newRig(t)
	old := g.codec.Seal(g.subject, 3, when.AddDate(-9, 0, 0))
	w := g.post("/u/"+strings.ToUpper(old), pairBody)
	require.Equal(t, http.StatusOK, w.Code)
	require.Len(t, g.reg.standing(), 1)
	require.EqualValues(t, 3, g.reg.standing()[0].Stream)
}

// UNS-7: with the store away nothing is claimed; the client is asked to come again.
func TestUNS7_StoreAway(t *testing.T) {
	g := newRig(t)
	g.reg.down = errAway
	w := g.post("/u/"+g.token(1), pairBody)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.NotContains(t, w.Body.String(), "You are unsubscribed")
	g.reg.down = nil
	again := formOf(t, w.Body.String(), "unsubscribe")
	require.Equal(t, http.StatusOK, g.post(again, "act=unsubscribe").Code)
	require.Len(t, g.reg.standing(), 1)
}

// A genuine token whose stream the configuration lost is no success either.
func TestUNS7_UnknownStream(t *testing.T) {
	g := newRig(t)
	w := g.post("/u/"+g.token(99), pairBody)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Zero(t, g.reg.calls)
}

func TestUndoRestoresOnceAsked(t *testing.T) {
	g := newRig(t)
	body := g.post("/u/"+g.token(1), "act=unsubscribe").Body.String()
	action := formOf(t, body, "undo")

	shown := g.do("GET", action, "")
	require.Equal(t, http.StatusOK, shown.Code)
	require.Len(t, g.reg.standing(), 1, "GET shows only")
	for _, other := range []string{"", pairBody, "act=unsubscribe"} {
		g.post(action, other)
		require.Len(t, g.reg.standing(), 1)
	}
	done := g.post(action, "act=undo")
	require.Equal(t, http.StatusOK, done.Code)
	require.Contains(t, done.Body.String(), "The opt-out is undone.")
	require.Empty(t, g.reg.standing())

	require.Equal(t, http.StatusOK, g.post("/u/"+g.token(1), pairBody).Code)
	require.Len(t, g.reg.standing(), 1, "the person may say no again")
}

func TestUndoEnds(t *testing.T) {
	g := newRig(t)
	action := formOf(t, g.post("/u/"+g.token(1), "act=unsubscribe").Body.String(), "undo")
	g.now = g.now.Add(24*time.Hour + time.Second)
	w := g.post(action, "act=undo")
	require.Equal(t, http.StatusGone, w.Code)
	require.Len(t, g.reg.standing(), 1)

	g.now = when
	for err, code := range map[error]int{consent.ErrUndoOver: 410, consent.ErrNotFound: 410, errAway: 503} {
		g.reg.undoErr = err
		require.Equal(t, code, g.post(action, "act=undo").Code)
	}
	require.Equal(t, http.StatusNotFound, g.post("/undo/AQIDBA", "act=undo").Code)
	require.Equal(t, http.StatusNotFound, g.post("/undo/"+g.token(1), "act=undo").Code, "a token is no undo link")
}

func TestSubjectsDoNotMix(t *testing.T) {
	g := newRig(t)
	other := g.codec.Seal(address.SubjectID{9}, 1, when)
	g.post("/u/"+other, pairBody)
	require.Equal(t, address.SubjectID{9}, g.reg.standing()[0].Subject)
	require.Len(t, g.reg.standing(), 1)
}
