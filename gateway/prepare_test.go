package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"sync"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"postern/gateway/consent"
	"postern/gateway/delivery"
	"postern/gateway/dkim"
	"postern/gateway/header"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

var dkimKeys = sync.OnceValues(func() ([]dkim.Key, error) {
	r, err := dkim.Generate("example.org", "r1", dkim.RSA)
	if err != nil {
		return nil, err
	}
	e, err := dkim.Generate("example.org", "e1", dkim.Ed25519)
	return []dkim.Key{r, e}, err
})

// signing makes all streams sign with both kinds of key.
func signing(t testing.TB) func(*Deps, *EngineOptions, []stream.Stream) {
	keys, err := dkimKeys()
	require.NoError(t, err)
	s, err := dkim.New(keys, dkim.Options{})
	require.NoError(t, err)
	return func(d *Deps, _ *EngineOptions, sts []stream.Stream) {
		d.Signer = s
		for i := range sts {
			sts[i].Sign = "dkim"
		}
	}
}

// verifySigned checks every signature of a copy and gives their number.
func verifySigned(t testing.TB, c delivery.Copy) int {
	t.Helper()
	keys, err := dkimKeys()
	require.NoError(t, err)
	dns := map[string]string{}
	for _, k := range keys {
		name, txt, err := dkim.DNS(k)
		require.NoError(t, err)
		dns[name] = txt
	}
	got, err := msgauth.VerifyWithOptions(bytes.NewReader(wholeOf(c)), &msgauth.VerifyOptions{LookupTXT: func(n string) ([]string, error) {
		return []string{dns[n]}, nil
	}})
	require.NoError(t, err)
	for _, v := range got {
		require.NoError(t, v.Err)
	}
	return len(got)
}

func wholeOf(c delivery.Copy) []byte {
	return append(append(append([]byte{}, c.Header...), '\r', '\n'), c.Body...)
}

// accept takes raw and gives what was spooled.
func (b *bench) accept(t testing.TB, raw []byte, to ...string) *spool.Message {
	t.Helper()
	_, err := b.Data(context.Background(), testEnvelope(to...), raw)
	require.NoError(t, err)
	return b.shelf.msgs[len(b.shelf.msgs)-1]
}

func TestCopiesAreSigned(t *testing.T) {
	b := newTestEngine(t, signing(t))
	var to []string
	for i := range 12 {
		to = append(to, fmt.Sprintf("yes%d@example.com", i))
		b.consent.set(to[i], consent.Answer{Status: consent.StatusActive})
	}
	raw := bytes.Replace(letter("a@news.example.org", "Content-Transfer-Encoding: quoted-printable", "Content-Type: text/html"),
		[]byte("Hello there."), []byte("<a href=3D\"{{unsubscribe=\r\n_url}}\">leave</a> {{preferences_url}}"), 1)
	m := b.accept(t, raw, to...)
	copies, refusals := prepareAll(t, b, m)
	require.Empty(t, refusals)
	require.Len(t, copies, 12)
	for i, c := range copies {
		require.Equal(t, []int{i}, c.Recipients)
		require.Equal(t, 2, verifySigned(t, c))
		text, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(c.Body)))
		require.NoError(t, err)
		token := sealer{}.Seal(m.Recipients[i].Subject, 1, engineClock)
		require.Equal(t, "<a href=\"https://privacy.example.org/u/"+token+"\">leave</a> https://privacy.example.org/p/"+token+"\r\n", string(text))
		require.Contains(t, string(c.Header), token)
		require.True(t, strings.HasPrefix(string(c.Header), "DKIM-Signature: "))
	}
	require.NotEqual(t, string(copies[0].Header), string(copies[1].Header))
	require.Contains(t, string(m.Body), "{{preferences_url}}", "the spooled body is untouched")
}

func TestTransactionalCopyIsSharedAndSigned(t *testing.T) {
	b := newTestEngine(t, signing(t))
	m := b.accept(t, letter("a@example.org", "X-Postern-Stream: orders"), "a@example.com", "b@example.com")
	copies, _ := prepareAll(t, b, m)
	require.Len(t, copies, 1)
	require.Equal(t, 2, verifySigned(t, copies[0]))
	require.Same(t, &m.Body[0], &copies[0].Body[0], "the body is stored once")
	require.Zero(t, header.Parse(copies[0].Header).Count("List-Unsubscribe"))
}

// noSigner fails on every message.
type noSigner struct{ Signer }

func (noSigner) Sign([]byte, dkim.BodyHash, string) ([]byte, error) {
	return nil, errors.New("key store away")
}

func TestFailingSignerDefers(t *testing.T) {
	b := newTestEngine(t, func(d *Deps, o *EngineOptions, sts []stream.Stream) {
		signing(t)(d, o, sts)
		d.Signer = noSigner{d.Signer}
	})
	copies, refusals := prepareAll(t, b, b.accept(t, letter("a@example.org"), "a@example.com"))
	require.Empty(t, copies)
	require.Equal(t, []delivery.Refusal{{Recipient: 0, Reason: "signing-unavailable", Status: "4.3.0", Defer: true}}, refusals)
}

// careless signs without the one-click fields.
type careless struct{ Signer }

func (careless) Sign([]byte, dkim.BodyHash, string) ([]byte, error) {
	return []byte("DKIM-Signature: v=1; h=from:list-unsubscribe; b=x\r\n"), nil
}

func TestUncoveredOneClickDoesNotLeave(t *testing.T) {
	b := newTestEngine(t, func(d *Deps, o *EngineOptions, sts []stream.Stream) {
		signing(t)(d, o, sts)
		d.Signer = careless{d.Signer}
	})
	copies, refusals := prepareAll(t, b, b.accept(t, letter("a@news.example.org"), "yes@example.com"))
	require.Empty(t, copies)
	require.Equal(t, string(SignerFailed), refusals[0].Reason)
}

// TestConcurrentUse runs all that may run at once, for the race detector, and
// checks that each recipient gets a copy of its own.
func TestConcurrentUse(t *testing.T) {
	b := newTestEngine(t, nil)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				to := fmt.Sprintf("w%d-%d@example.com", w, i)
				b.consent.set(to, consent.Answer{Status: consent.StatusActive})
				_, err := b.Data(context.Background(), testEnvelope(to), letter("a@news.example.org"))
				assert.NoError(t, err)
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			b.SetMode("people", []stream.Mode{stream.Observe, ""}[i%2])
			assert.NoError(t, b.SetStreams(b.Streams()))
		}
	})
	wg.Wait()
	require.Len(t, b.shelf.msgs, 200)
	ids := map[string]bool{}
	for _, m := range b.shelf.msgs {
		ids[m.ID] = true
		wg.Go(func() {
			copies, _, err := b.Prepare(context.Background(), m, []int{0})
			assert.NoError(t, err)
			assert.Len(t, copies, 1)
			assert.Contains(t, string(copies[0].Header), sealer{}.Seal(m.Recipients[0].Subject, 1, engineClock))
		})
	}
	wg.Wait()
	require.Len(t, ids, 200)
}

func TestForeignFromPassesUnsignedOnlyWhenObserved(t *testing.T) {
	b := newTestEngine(t, signing(t))
	b.SetMode("people", stream.Observe)
	copies, _ := prepareAll(t, b, b.accept(t, letter("a@example.net"), "a@example.com"))
	require.NotContains(t, string(copies[0].Header), "DKIM-Signature")
	owner := testEnvelope("a@example.com")
	owner.Grant.FromDomains = []string{"example.com", "example.org"}
	_, err := b.Data(t.Context(), owner, letter("a@example.com"))
	require.Equal(t, &Denial{Reason: SignerFailed, Defer: true}, denialOf(t, err), "an own domain without a key never leaves unsigned")
}

func TestClientSignatures(t *testing.T) {
	const covering = "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=c; h=from:subject:\r\n\tList-Unsubscribe; bh=x; b=y"
	const apart = "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=c; h=from:subject; bh=x; b=y"
	for _, c := range []struct {
		name, field, sign, signed string
		body                      string
		want                      string // "kept", "gone", "denied"
	}{
		{"not broken stays", apart, "", "refuse", "text", "kept"},
		{"broken, resigned", covering, "dkim", "", "text", "gone"},
		{"broken, resigned by the smarthost", covering, "smarthost", "resign", "text", "gone"},
		{"broken, refused", covering, "dkim", "refuse", "text", "denied"},
		{"broken, nobody signs", covering, "", "resign", "text", "denied"},
		{"broken by a placeholder", apart, "dkim", "resign", "{{unsubscribe_url}}", "gone"},
		{"broken by a placeholder, refused", apart, "dkim", "refuse", "{{unsubscribe_url}}", "denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestEngine(t, signing(t))
			b.restream(t, func(st *stream.Stream) { st.Sign, st.Signed = c.sign, c.signed })
			raw := bytes.Replace(letter("a@news.example.org", c.field), []byte("Hello there."), []byte(c.body), 1)
			_, err := b.Data(t.Context(), testEnvelope("yes@example.com"), raw)
			if c.want == "denied" {
				require.Equal(t, AlreadySigned, denialOf(t, err).Reason)
				return
			}
			require.NoError(t, err)
			copies, _ := prepareAll(t, b, b.shelf.last(t))
			require.Equal(t, c.want == "kept", strings.Contains(string(copies[0].Header), "s=c;"))
			if c.sign == "dkim" {
				require.Equal(t, 2, verifySigned(t, copies[0]))
			}
		})
	}
	for _, mode := range []stream.Mode{stream.Observe, stream.Annotate} {
		t.Run("left alone where nothing is refused: "+string(mode), func(t *testing.T) {
			b := newTestEngine(t, nil)
			b.SetMode("news", mode)
			m := b.accept(t, letter("a@news.example.org", covering, "List-Unsubscribe: <https://crm.example.org/u>"), "yes@example.com")
			require.Equal(t, AlreadySigned, b.report.would[0].Reason)
			copies, _ := prepareAll(t, b, m)
			hdr := string(copies[0].Header)
			require.Contains(t, hdr, covering)
			require.Contains(t, hdr, "<https://crm.example.org/u>")
			require.NotContains(t, hdr, "privacy.example.org")
			require.Equal(t, mode == stream.Annotate, strings.Contains(hdr, "would-deny; reason=already-signed"))

			b.SetMode("news", stream.Enforce)
			copies, refusals := prepareAll(t, b, m)
			require.Empty(t, copies)
			require.Equal(t, string(AlreadySigned), refusals[0].Reason)

			signs := newTestEngine(t, signing(t))
			copies, _ = prepareAll(t, signs, m)
			require.NotContains(t, string(copies[0].Header), "s=c;")
			require.Equal(t, 2, verifySigned(t, copies[0]))
		})
	}
	t.Run("what is kept is not broken", func(t *testing.T) {
		b := newTestEngine(t, nil)
		b.restream(t, func(st *stream.Stream) { st.Unsubscribe, st.Signed = "keep", "refuse" })
		raw := letter("a@news.example.org", "DKIM-Signature: v=1; h=from:list-unsubscribe:list-unsubscribe-post:list-id; b=y",
			"List-Unsubscribe: <https://crm.example.org/u>", "List-Unsubscribe-Post: List-Unsubscribe=One-Click", "List-Id: Mine <NEWS.example.org>")
		copies, _ := prepareAll(t, b, b.accept(t, raw, "yes@example.com"))
		require.Contains(t, string(copies[0].Header)+"\r\n", string(raw[:bytes.Index(raw, []byte("\r\n\r\n"))]))
	})
	t.Run("nothing is added that a client signed as absent", func(t *testing.T) {
		b := newTestEngine(t, nil)
		m := b.accept(t, []byte("DKIM-Signature: h=from:date:date:message-id; b=x\r\nFrom: a@example.org\r\n\r\nx"), "x@example.com")
		require.Equal(t, 3, len(header.Parse(m.Header).Spans()), "Received and the two that were there")
	})
	t.Run("transactional mail keeps its signature", func(t *testing.T) {
		b := newTestEngine(t, nil)
		copies, _ := prepareAll(t, b, b.accept(t, letter("a@example.org", covering, "X-Postern-Stream: orders"), "a@example.com"))
		require.Contains(t, string(copies[0].Header), covering)
	})
}

func TestClientUnsubscribeKept(t *testing.T) {
	const post = "List-Unsubscribe-Post: List-Unsubscribe=One-Click"
	for _, c := range []struct {
		name  string
		lines []string
		kept  bool
	}{
		{"complete", []string{"List-Unsubscribe: <mailto:x@example.org>, <https://crm.example.org/u?i=1>", post}, true},
		{"repaired", []string{"List-Unsubscribe: <https://crm.example.org/u>"}, true},
		{"wrong post", []string{"List-Unsubscribe: <HTTPS://crm.example.org/u>", "List-Unsubscribe-Post: yes"}, true},
		{"two links", []string{"List-Unsubscribe: <https://a.example>, <https://b.example>", post}, false},
		{"mail only", []string{"List-Unsubscribe: <mailto:x@example.org>", post}, false},
		{"http", []string{"List-Unsubscribe: <http://crm.example.org/u>", post}, false},
		{"two fields", []string{"List-Unsubscribe: <https://a.example>", "List-Unsubscribe: <https://b.example>"}, false},
		{"none", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestEngine(t, nil)
			b.restream(t, func(st *stream.Stream) { st.Unsubscribe = "keep" })
			copies, _ := prepareAll(t, b, b.accept(t, letter("a@news.example.org", c.lines...), "yes@example.com"))
			h := header.Parse(copies[0].Header)
			require.Equal(t, 1, h.Count("List-Unsubscribe"))
			require.Equal(t, 1, h.Count("List-Unsubscribe-Post"))
			v, _ := h.Get("List-Unsubscribe-Post")
			require.Equal(t, "List-Unsubscribe=One-Click", v)
			v, _ = h.Get("List-Unsubscribe")
			require.Equal(t, c.kept, !strings.Contains(v, "privacy.example.org"))
		})
	}
	t.Run("a kept link serves one recipient", func(t *testing.T) {
		b := newTestEngine(t, nil)
		b.restream(t, func(st *stream.Stream) { st.Unsubscribe = "keep" })
		b.consent.set("two@example.com", consent.Answer{Status: consent.StatusActive})
		_, err := b.Data(t.Context(), testEnvelope("yes@example.com", "two@example.com"), letter("a@news.example.org", "List-Unsubscribe: <https://crm.example.org/u>"))
		require.Equal(t, SplitRecipients, denialOf(t, err).Reason)
	})
}

func TestListFields(t *testing.T) {
	b := newTestEngine(t, nil)
	b.restream(t, func(st *stream.Stream) {
		st.Title, st.FeedbackID = "Größte \"Angebote\" für alle, die gern und viel lesen", "a:b:c:shop1"
	})
	copies, _ := prepareAll(t, b, b.accept(t, letter("a@news.example.org", "List-Id: <news.example.org>", "List-Id2: x", "Feedback-ID: x:y:z:w"), "yes@example.com"))
	h := header.Parse(copies[0].Header)
	for name, want := range map[string]string{"Feedback-ID": "a:b:c:shop1"} {
		require.Equal(t, 1, h.Count(name))
		v, _ := h.Get(name)
		require.Equal(t, want, v)
	}
	v, _ := h.Get("List-Id")
	require.True(t, strings.HasSuffix(v, "\t<news.example.org>"))
	require.Equal(t, "Größte \"Angebote\" für alle, die gern und viel lesen", decodeSubject(strings.TrimSpace(strings.TrimSuffix(v, "<news.example.org>"))))
	require.LessOrEqual(t, header.LongestLine(copies[0].Header), 120)
}

func TestBouncePath(t *testing.T) {
	b := newTestEngine(t, nil)
	b.restream(t, func(st *stream.Stream) { st.Bounce = "verp" })
	m := b.accept(t, letter("a@news.example.org"), "yes@example.com")
	copies, _ := prepareAll(t, b, m)
	require.Equal(t, "b+"+sealer{}.Seal(m.Recipients[0].Subject, 1, engineClock)+"@u.example.org", copies[0].ReversePath.Plain())
	require.Equal(t, "bounce@example.org", m.ReversePath.Plain())
}

func TestOverlongLines(t *testing.T) {
	long := strings.Repeat("<a@example.org> ", 100)
	b := newTestEngine(t, signing(t))
	m := b.accept(t, letter("a@example.org", "X-Refs: "+strings.TrimSpace(long)), "x@example.com")
	require.LessOrEqual(t, header.LongestLine(m.Header), 998)
	got, _ := header.Parse(m.Header).Get("X-Refs")
	require.Equal(t, strings.TrimSpace(long), got, "folding changes no word")
	copies, _ := prepareAll(t, b, m)
	require.Equal(t, 2, verifySigned(t, copies[0]))

	for name, raw := range map[string][]byte{
		"header-line-length": letter("a@example.org", "X-Refs: "+strings.Repeat("x", 1000)),
		"line-length":        append(letter("a@example.org"), strings.Repeat("y", 999)...),
	} {
		_, err := b.Data(t.Context(), testEnvelope("x@example.com"), raw)
		require.Equal(t, "malformed:"+name, denialOf(t, err).label())
	}
	_, err := b.Data(t.Context(), testEnvelope("yes@example.com"), append(letter("a@news.example.org"), ("{{unsubscribe_url}}"+strings.Repeat("y", 950))...))
	require.Equal(t, "malformed:line-length", denialOf(t, err).label(), "the link would make the line too long")
	plain := newTestEngine(t, nil)
	plain.accept(t, append(letter("a@example.org"), strings.Repeat("y", 1500)...), "x@example.com")
}

func TestPrepareUnknownStream(t *testing.T) {
	b := newTestEngine(t, nil)
	m := b.accept(t, letter("a@example.org"), "x@example.com")
	m.Stream = 99
	_, _, err := b.Prepare(t.Context(), m, []int{0})
	require.ErrorContains(t, err, "stream 99")
}

func TestUTF8IsDeclaredOnlyIfNeeded(t *testing.T) {
	b := newTestEngine(t, nil)
	send := func(to string, raw []byte, utf8 bool) *spool.Message {
		env := testEnvelope(to)
		env.UTF8, env.EightBit = utf8, utf8
		_, err := b.Data(t.Context(), env, raw)
		require.NoError(t, err)
		return b.shelf.last(t)
	}
	require.False(t, send("a@example.com", letter("a@example.org"), true).UTF8)
	require.True(t, send("ü@example.com", letter("a@example.org"), true).UTF8)
	require.True(t, send("a@example.com", letter("a@example.org", "X-Name: Grüße"), true).UTF8)
	require.False(t, send("a@example.com", letter("a@example.org", "X-Name: Grüße"), false).UTF8)
	require.False(t, send("a@example.com", letter("a@example.org"), true).EightBit)
	require.True(t, send("a@example.com", append(letter("a@example.org"), "ü"...), true).EightBit)
}

func TestNewEngineTellsAllThatIsMissing(t *testing.T) {
	sts := testStreams()
	sts[0].Bounce, sts[1].Sign = "verp", "dkim"
	set, err := stream.NewSet([]stream.Controller{{ID: "shop", Domains: []string{"example.org"}}}, sts)
	require.NoError(t, err)
	_, err = NewEngine(Deps{Streams: set, Consent: stuck{}, Spool: &shelf{}}, EngineOptions{})
	require.ErrorContains(t, err, "marketing needs tokens")
	require.ErrorContains(t, err, "postern dkim keygen")
	require.ErrorContains(t, err, "bounce domain")
	_, err = NewEngine(Deps{}, EngineOptions{})
	require.Error(t, err)
}

// FuzzRelay is the promise of the relay: what leaves parses to what came in,
// apart from our own fields and the links put in for placeholders.
func FuzzRelay(f *testing.F) {
	f.Add(false, []byte("Subject: x\r\n y\r\n\r\nbody\r\n"))
	f.Add(false, []byte("X-Postern-Stream: orders\r\nBcc: a@example.com\r\nstray\r\n\r\n"))
	f.Add(true, []byte("List-Id: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{{unsubscribe_url}}\r\n--b--\r\n"))
	f.Add(true, []byte("Content-Transfer-Encoding: quoted-printable\r\nList-Unsubscribe: <https://x>\r\n\r\n=7B{unsubscribe_url}=\r\n}"))
	f.Fuzz(func(t *testing.T, marketing bool, rest []byte) {
		b := newTestEngine(t, nil)
		from, to := "a@example.org", "x@example.com"
		if marketing {
			from, to = "a@news.example.org", "yes@example.com"
		}
		raw := append([]byte("From: "+from+"\r\nDate: x\r\nMessage-ID: <x>\r\n"), rest...)
		out, err := b.Data(t.Context(), testEnvelope(to), raw)
		if err != nil {
			var d *Denial
			require.ErrorAs(t, err, &d)
			require.Empty(t, b.shelf.msgs)
			return
		}
		m := b.shelf.msgs[0]
		require.Equal(t, out.ID, m.ID)
		copies, _, err := b.Prepare(t.Context(), m, []int{0})
		require.NoError(t, err)
		wantHdr, wantBody := header.Split(raw)
		gotHdr, gotBody := header.Split(wholeOf(copies[0]))
		list := m.Stream == 1
		require.Equal(t, foreignFields(wantHdr, list), foreignFields(bytes.TrimPrefix(gotHdr, firstField(gotHdr)), list))
		sameToOthers(t, raw, wholeOf(copies[0]), list)
		if !list {
			require.True(t, bytes.Equal(wantBody, gotBody))
			return
		}
		h := header.Parse(gotHdr)
		for _, name := range []string{"List-Unsubscribe", "List-Unsubscribe-Post", "List-Id"} {
			require.Equal(t, 1, h.Count(name))
		}
		parts, err := header.Walk(header.Parse(wantHdr), wantBody, header.Limits{Depth: 50, Parts: 1000})
		require.NoError(t, err)
		if findPlaceholders(wantBody, parts) == nil {
			require.True(t, bytes.Equal(wantBody, gotBody))
		}
	})
}

// sameToOthers compares what came and what leaves by a parser that is not
// ours, as far as it can read what came.
func sameToOthers(t *testing.T, came, leaves []byte, list bool) {
	want, err := mail.ReadMessage(bytes.NewReader(came))
	if err != nil {
		return
	}
	got, err := mail.ReadMessage(bytes.NewReader(leaves))
	require.NoError(t, err)
	own := []string{"Bcc", "Resent-Bcc"}
	if list {
		own = append(own, "List-Unsubscribe", "List-Unsubscribe-Post", "List-Id", "Feedback-Id")
	}
	if r := got.Header["Received"]; len(r) > 1 {
		got.Header["Received"] = r[1:]
	} else {
		delete(got.Header, "Received")
	}
	for name := range want.Header {
		if strings.HasPrefix(name, "X-Postern-") {
			own = append(own, name)
		}
	}
	for _, name := range own {
		delete(want.Header, name)
		delete(got.Header, name)
	}
	require.Equal(t, want.Header, got.Header)
}

func firstField(hdr []byte) []byte {
	h := header.Parse(hdr)
	return h.Bytes(h.Spans()[0])
}

// foreignFields lists the fields that must pass unchanged; list leaves out
// those that are ours in marketing.
func foreignFields(hdr []byte, list bool) []string {
	h := header.Parse(hdr)
	var out []string
	for _, s := range h.Spans() {
		own := isOwnField(h, s) || h.Is(s, "Bcc") || h.Is(s, "Resent-Bcc")
		own = own || list && (h.Is(s, "List-Unsubscribe") || h.Is(s, "List-Unsubscribe-Post") || h.Is(s, "List-Id"))
		if !own {
			out = append(out, strings.TrimRight(string(h.Bytes(s)), "\r\n"))
		}
	}
	return out
}

func BenchmarkData4K(b *testing.B) {
	for name, from := range map[string]string{"transactional": "a@example.org", "marketing": "a@news.example.org"} {
		b.Run(name, func(b *testing.B) {
			e := newTestEngine(b, nil)
			raw := append(letter(from, "X-Mailer: crm", "MIME-Version: 1.0", "Content-Type: multipart/alternative; boundary=b"),
				("--b\r\n\r\n" + strings.Repeat("A line of an ordinary newsletter, as long as they are.\r\n", 32) + "--b\r\nContent-Type: text/html\r\n\r\n" +
					strings.Repeat("<p>A line of an ordinary newsletter, as long as they are.</p>\r\n", 32) + "--b--\r\n")...)
			env := testEnvelope("yes@example.com")
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				e.shelf.msgs, e.shelf.recs, e.report.would = e.shelf.msgs[:0], e.shelf.recs[:0], nil
				if _, err := e.Data(context.Background(), env, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPrepare4K(b *testing.B) {
	for _, sign := range []bool{false, true} {
		b.Run(fmt.Sprintf("signed=%v", sign), func(b *testing.B) {
			var edit func(*Deps, *EngineOptions, []stream.Stream)
			if sign {
				edit = signing(b)
			}
			e := newTestEngine(b, edit)
			m := e.accept(b, append(letter("a@news.example.org"), strings.Repeat("A line of an ordinary newsletter, as long as they are.\r\n", 70)...), "yes@example.com")
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := e.Prepare(context.Background(), m, []int{0}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPrepare50 is one marketing message of 50 KiB to 50 recipients.
func BenchmarkPrepare50(b *testing.B) {
	for _, c := range []struct {
		name, line string
		sign       bool
	}{{"unsigned", "plain", false}, {"placeholder", "{{unsubscribe_url}}", false}, {"signed", "plain", true}, {"signed placeholder", "{{unsubscribe_url}}", true}} {
		b.Run(c.name, func(b *testing.B) {
			var edit func(*Deps, *EngineOptions, []stream.Stream)
			if c.sign {
				edit = func(d *Deps, o *EngineOptions, sts []stream.Stream) {
					signing(b)(d, o, sts)
					keys, _ := dkimKeys()
					d.Signer, _ = dkim.New(keys[:1], dkim.Options{})
				}
			}
			e := newTestEngine(b, edit)
			var to []string
			for i := range 50 {
				to = append(to, fmt.Sprintf("p%d@example.com", i))
				e.consent.set(to[i], consent.Answer{Status: consent.StatusActive})
			}
			raw := append(letter("a@news.example.org"), (strings.Repeat("A line of an ordinary newsletter, as long as they are.\r\n", 900) + c.line + "\r\n")...)
			m := e.accept(b, raw, to...)
			due := make([]int, 50)
			for i := range due {
				due[i] = i
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := e.Prepare(context.Background(), m, due); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(50*float64(b.N)/b.Elapsed().Seconds(), "copies/s")
		})
	}
}
