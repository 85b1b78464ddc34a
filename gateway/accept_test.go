package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/header"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

func TestMessagesRefusedInEveryMode(t *testing.T) {
	deep := "Content-Type: multipart/mixed; boundary=b0"
	var nested strings.Builder
	for i := range 60 {
		fmt.Fprintf(&nested, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
	}
	for _, c := range []struct {
		name, raw, want string
	}{
		{"no From", "To: a@example.org\r\n\r\n", "malformed:From"},
		{"two From", "From: a@example.org\r\nFrom: b@example.org\r\n\r\n", "malformed:From"},
		{"two From in another case", "From: a@example.org\r\nFROM : b@example.org\r\n\r\n", "malformed:From"},
		{"unreadable From", "From: nobody\r\n\r\n", "malformed:From"},
		{"two mailboxes, no Sender", "From: a@example.org, b@example.org\r\n\r\n", "malformed:From"},
		{"two Subject", "From: a@example.org\r\nSubject: a\r\nSubject: b\r\n\r\n", "malformed:Subject"},
		{"two Date", "From: a@example.org\r\nDate: a\r\nDate: b\r\n\r\n", "malformed:Date"},
		{"two Message-ID", "From: a@example.org\r\nMessage-ID: <a>\r\nMessage-Id: <b>\r\n\r\n", "malformed:Message-ID"},
		{"begins folded", " x\r\nFrom: a@example.org\r\n\r\n", "malformed:header"},
		{"header too large", "From: a@example.org\r\nX: " + strings.Repeat("x\r\n ", 90000) + "x\r\n\r\n", "malformed:header"},
		{"100 Received", strings.Repeat("Received: x\r\n", 100) + "From: a@example.org\r\n\r\n", "loop"},
		{"four of our own marks", strings.Repeat("Received: from x by y (postern/relay.example.org) with ESMTP\r\n\tid 1; date\r\n", 4) + "From: a@example.org\r\n\r\n", "loop"},
		{"60 levels of MIME", "From: a@example.org\r\n" + deep + "\r\n\r\n" + nested.String(), "malformed:mime-depth"},
		{"1001 parts", "From: a@example.org\r\n" + deep + "\r\n\r\n" + strings.Repeat("--b0\r\n\r\nx\r\n", 1001), "malformed:mime-parts"},
	} {
		for _, mode := range []stream.Mode{stream.Observe, stream.Enforce} {
			t.Run(c.name+" "+string(mode), func(t *testing.T) {
				b := newTestEngine(t, nil)
				b.SetMode("people", mode)
				_, err := b.Data(t.Context(), testEnvelope("x@example.com"), []byte(c.raw))
				require.Equal(t, c.want, denialOf(t, err).label())
				require.Empty(t, b.shelf.msgs)
			})
		}
	}
	t.Run("what an alias sent back passes", func(t *testing.T) {
		b := newTestEngine(t, nil)
		_, err := b.Data(t.Context(), testEnvelope("x@example.com"), []byte(strings.Repeat("Received: from x by y (postern/relay.example.org) with ESMTP\r\n\tid 1; date\r\n", 3)+"From: a@example.org\r\n\r\n"))
		require.NoError(t, err)
	})
	t.Run("99 Received pass", func(t *testing.T) {
		b := newTestEngine(t, nil)
		_, err := b.Data(t.Context(), testEnvelope("x@example.com"), []byte(strings.Repeat("Received: x\r\n", 99)+"From: a@example.org\r\n\r\n"))
		require.NoError(t, err)
	})
	t.Run("too big for the client", func(t *testing.T) {
		b := newTestEngine(t, nil)
		env := testEnvelope("x@example.com")
		env.Grant.MaxSize = 20
		_, err := b.Data(t.Context(), env, letter("a@example.org"))
		require.Equal(t, TooBig, denialOf(t, err).Reason)
	})
}

func TestStrayLines(t *testing.T) {
	b := newTestEngine(t, nil)
	raw := "From a Mon Nov 23 10:00:00 2026\r\nFrom: a@example.org\r\nno colon here\r\nSubject: x\r\n\r\nbody\r\n"
	_, err := b.Data(t.Context(), testEnvelope("x@example.com"), []byte(raw))
	require.NoError(t, err, "ordinary mail passes with its odd lines")
	hdr := string(b.shelf.last(t).Header)
	require.Contains(t, hdr, "\r\nX-Mailbox-Line: From a Mon Nov 23 10:00:00 2026\r\n")
	require.Contains(t, hdr, "From: a@example.org\r\nno colon here\r\nSubject: x\r\n")
	require.Less(t, strings.Index(hdr, "Message-ID:"), strings.Index(hdr, "no colon"), "our fields stand before what may end the header")

	raw = strings.ReplaceAll(raw, "a@example.org", "a@news.example.org")
	_, err = b.Data(t.Context(), testEnvelope("yes@example.com"), []byte(raw))
	require.Equal(t, "malformed:header", denialOf(t, err).label(), "marketing must be read alike by all")
	_, err = b.Data(t.Context(), testEnvelope("yes@example.com"), letter("a@news.example.org", "X-Fold: a", " ", " b"))
	require.Equal(t, "malformed:header", denialOf(t, err).label())
	_, err = b.Data(t.Context(), testEnvelope("x@example.com"), letter("a@example.org", "X-Fold: a", " ", " b"))
	require.NoError(t, err)
}

func TestRcptDecidesWhereTheStreamIsFixed(t *testing.T) {
	b := newTestEngine(t, nil)
	env := testEnvelope()
	env.Grant = &Grant{Client: "tool", Streams: []string{"news"}, Default: "news"}
	rcpt := func(a string) error {
		return b.Rcpt(t.Context(), env, EnvelopeRecipient{Address: address.MustParse(a)})
	}
	require.NoError(t, rcpt("yes@example.com"))
	require.Equal(t, NoConsent, denialOf(t, rcpt("no@example.com")).Reason)
	require.Len(t, b.shelf.recs, 1, "a refusal is recorded")
	asked := b.consent.asked
	env.Recipients = []EnvelopeRecipient{{Address: address.MustParse("yes@example.com")}}
	_, err := b.Data(t.Context(), env, letter("a@news.example.org"))
	require.NoError(t, err)
	require.Equal(t, asked, b.consent.asked, "DATA uses what RCPT learnt")

	b.consent.down = true
	require.Equal(t, &Denial{Reason: StoreUnavailable, Defer: true}, denialOf(t, rcpt("other@example.com")))

	for name, change := range map[string]func(*Envelope){
		"several streams": func(e *Envelope) { e.Grant = testGrant() },
		"not marketing":   func(e *Envelope) { e.Grant = &Grant{Streams: []string{"orders"}, Default: "orders"} },
		"LMTP":            func(e *Envelope) { e.LMTP = true },
		"maybe a bounce":  func(e *Envelope) { e.ReversePath = address.Address{} },
	} {
		t.Run("left to DATA: "+name, func(t *testing.T) {
			later := *env
			change(&later)
			require.NoError(t, b.Rcpt(t.Context(), &later, EnvelopeRecipient{Address: address.MustParse("no@example.com")}))
		})
	}
}

func TestRcptAsksAboutPipelinedRecipientsAtOnce(t *testing.T) {
	b := newTestEngine(t, nil)
	env := testEnvelope()
	env.Grant = &Grant{Client: "tool", Streams: []string{"news"}, Default: "news"}
	all := []string{"yes@example.com", "no@example.com", "yes2@example.com"}
	for i, to := range all {
		env.Ahead = func() (list []address.Address) {
			for _, a := range all[i+1:] {
				list = append(list, address.MustParse(a))
			}
			return list
		}
		_ = b.Rcpt(t.Context(), env, EnvelopeRecipient{Address: address.MustParse(to)})
		require.Equal(t, 1, b.consent.asked, "one look-up serves all that are known to come")
	}
	err := b.Rcpt(t.Context(), env, EnvelopeRecipient{Address: address.MustParse("no@example.com")})
	require.Equal(t, NoConsent, denialOf(t, err).Reason, "each is still judged by its own answer")
}

func TestMixedRecipients(t *testing.T) {
	mixed := []string{"yes@example.com", "no@example.com"}
	t.Run("dsn", func(t *testing.T) {
		b := newTestEngine(t, nil)
		env := testEnvelope(mixed...)
		env.Recipients[1].ORcpt = "rfc822;orig@example.com"
		out, err := b.Data(t.Context(), env, letter("a@news.example.org"))
		require.NoError(t, err)
		require.NoError(t, out.Recipients[0])
		require.Equal(t, NoConsent, denialOf(t, out.Recipients[1]).Reason)
		require.Len(t, b.shelf.msgs, 2)
		notice, m := b.shelf.msgs[0], b.shelf.msgs[1]
		require.Equal(t, out.ID, m.ID)
		require.Len(t, m.Recipients, 1)
		require.Equal(t, "bounce@example.org", notice.Recipients[0].Address.Plain())
		require.True(t, notice.ReversePath.IsZero())
		require.Contains(t, string(notice.Header), "report-type=delivery-status")
		body := string(notice.Body)
		require.Contains(t, body, "Final-Recipient: rfc822; no@example.com\r\nAction: failed\r\nStatus: 5.7.1\r\n")
		require.Contains(t, body, "Original-Recipient: rfc822;orig@example.com\r\n")
		require.NotContains(t, body, "yes@example.com")
		require.Contains(t, body, "NO-CONSENT no consent on record")
		require.NotContains(t, body, "Hello there.", "headers only")
		parts, err := header.Walk(header.Parse(notice.Header), notice.Body, header.Limits{Depth: 5, Parts: 10})
		require.NoError(t, err)
		require.Len(t, parts, 3)
	})
	t.Run("dsn with RET=FULL", func(t *testing.T) {
		b := newTestEngine(t, nil)
		env := testEnvelope(mixed...)
		env.Ret = "FULL"
		_, err := b.Data(t.Context(), env, letter("a@news.example.org"))
		require.NoError(t, err)
		require.Contains(t, string(b.shelf.msgs[0].Body), "Content-Type: message/rfc822\r\n")
		require.Contains(t, string(b.shelf.msgs[0].Body), "Message-ID: <1@example.org>\r\n\r\nHello there.\r\n\r\n--=_postern_")
	})
	t.Run("notify never", func(t *testing.T) {
		b := newTestEngine(t, nil)
		env := testEnvelope(mixed...)
		env.Recipients[1].Notify = "NEVER"
		_, err := b.Data(t.Context(), env, letter("a@news.example.org"))
		require.NoError(t, err)
		require.Len(t, b.shelf.msgs, 1)
	})
	for name, prepare := range map[string]func(*bench, *Envelope){
		"refuse":               func(b *bench, _ *Envelope) { b.restream(t, func(st *stream.Stream) { st.Mixed = "refuse" }) },
		"foreign reverse-path": func(_ *bench, env *Envelope) { env.ReversePath = address.MustParse("x@example.net") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestEngine(t, nil)
			env := testEnvelope(mixed...)
			prepare(b, env)
			_, err := b.Data(t.Context(), env, letter("a@news.example.org"))
			require.Equal(t, SplitRecipients, denialOf(t, err).Reason)
			require.Empty(t, b.shelf.msgs, "nobody gets it")
		})
	}
	t.Run("LMTP answers each", func(t *testing.T) {
		b := newTestEngine(t, nil)
		env := testEnvelope(mixed...)
		env.LMTP = true
		out, err := b.Data(t.Context(), env, letter("a@news.example.org"))
		require.NoError(t, err)
		require.NoError(t, out.Recipients[0])
		require.Error(t, out.Recipients[1])
		require.Len(t, b.shelf.msgs, 1, "no DSN: the client was told")

		env = testEnvelope("no@example.com")
		env.LMTP = true
		out, err = b.Data(t.Context(), env, letter("a@news.example.org"))
		require.NoError(t, err)
		require.Empty(t, out.ID)
		require.Error(t, out.Recipients[0])
	})
}

// restream changes the marketing stream of a running engine.
func (b *bench) restream(t testing.TB, edit func(*stream.Stream)) {
	t.Helper()
	edit(&b.streams[0])
	set, err := stream.NewSet([]stream.Controller{{ID: "shop", Domains: []string{"example.org"}}}, b.streams)
	require.NoError(t, err)
	require.NoError(t, b.SetStreams(set))
}

func TestModesSoften(t *testing.T) {
	b := newTestEngine(t, nil)
	send := func(to string, raw []byte) error {
		_, err := b.Data(t.Context(), testEnvelope(to), raw)
		return err
	}
	b.SetMode("news", stream.Observe)
	require.Equal(t, stream.Observe, b.Mode("news"))
	require.NoError(t, send("no@example.com", letter("a@news.example.org")))
	require.Equal(t, []Would{{Stream: "news", Reason: NoConsent, Client: "crm", Sender: "news.example.org", Day: engineClock}}, b.report.would)
	require.Equal(t, "no-consent", b.shelf.recs[0].Data["would"])
	copies, _ := prepareAll(t, b, b.shelf.last(t))
	require.NotContains(t, string(copies[0].Header), "X-Postern-")

	b.consent.set("left@example.com", consent.Answer{Status: consent.StatusActive, Suppressed: consent.Unsubscribed, Scope: consent.ScopeStream})
	require.Equal(t, "suppressed:unsubscribed", denialOf(t, send("left@example.com", letter("a@news.example.org"))).label(), "a no binds in every mode")

	b.SetMode("news", stream.Annotate)
	require.NoError(t, send("no@example.com", letter("a@news.example.org", "X-Postern-Verdict: forged")))
	copies, _ = prepareAll(t, b, b.shelf.last(t))
	require.Contains(t, string(copies[0].Header), "X-Postern-Verdict: would-deny; reason=no-consent\r\n")
	require.NotContains(t, string(copies[0].Header), "forged")

	b.SetMode("people", stream.Annotate)
	require.NoError(t, send("x@example.com", letter("a@example.net", "X-Postern-Stream: cases")), "what the header may not choose falls to the default")
	m := b.shelf.last(t)
	require.EqualValues(t, 3, m.Stream)
	require.Contains(t, string(m.Header), "X-Postern-Verdict: would-deny; reason=stream-not-allowed\r\n")

	b.SetMode("people", "")
	b.SetMode("news", "")
	require.Equal(t, stream.Enforce, b.Mode("news"))
	require.Empty(t, b.Mode("nope"))
	require.Equal(t, StreamDenied, denialOf(t, send("x@example.com", letter("a@example.org", "X-Postern-Stream: cases"))).Reason)
	require.Equal(t, FromDenied, denialOf(t, send("x@example.com", letter("a@example.net"))).Reason)
}

func TestNullReversePath(t *testing.T) {
	b := newTestEngine(t, nil)
	env := func() *Envelope {
		e := testEnvelope("yes@example.com")
		e.ReversePath = address.Address{}
		return e
	}
	_, err := b.Data(t.Context(), env(), letter("a@news.example.org"))
	require.Equal(t, NullMarketing, denialOf(t, err).Reason, "<> is no way round")

	raw := letter("mailer-daemon@mail.example.org", "Content-Type: multipart/report; report-type=delivery-status; boundary=b", "Auto-Submitted: auto-replied")
	_, err = b.Data(t.Context(), env(), raw)
	require.NoError(t, err)
	m := b.shelf.last(t)
	require.Zero(t, m.Stream)
	copies, _ := prepareAll(t, b, m)
	require.Contains(t, string(copies[0].Header)+"\r\n"+string(copies[0].Body), string(raw), "bounces pass untouched")
}

func TestSpoolErrors(t *testing.T) {
	for want, err := range map[Reason]error{
		SpoolFull: fmt.Errorf("x: %w", spool.ErrFull), Stopping: spool.ErrClosed, Internal: errors.New("disk"),
	} {
		b := newTestEngine(t, nil)
		b.shelf.fail = err
		_, got := b.Data(t.Context(), testEnvelope("x@example.com"), letter("a@example.org"))
		d := denialOf(t, got)
		require.Equal(t, want, d.Reason)
		require.True(t, d.Defer)
	}
}

func TestSlowStoreIsCutOff(t *testing.T) {
	b := newTestEngine(t, func(d *Deps, o *EngineOptions, _ []stream.Stream) {
		d.Consent, o.LookupTimeout = stuck{}, 20*time.Millisecond
	})
	_, err := b.Data(t.Context(), testEnvelope("yes@example.com"), letter("a@news.example.org"))
	require.Equal(t, StoreUnavailable, denialOf(t, err).Reason)
}

// stuck never answers.
type stuck struct{}

func (stuck) Lookup(ctx context.Context, _, _ string, _ uint16, _ []address.Address) ([]consent.Answer, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// opinion always finds marketing.
type opinion struct{ seen *string }

func (o opinion) LooksMarketing(subject, text string) (bool, string) {
	*o.seen = subject + "|" + text
	return true, "Sale! now"
}

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		advisory string
		mode     stream.Mode
		want     string // "", "header" or "deny"
	}{
		{"", stream.Enforce, ""}, {"count", stream.Enforce, ""}, {"header", stream.Enforce, "header"}, {"refuse", stream.Enforce, "deny"},
		{"", stream.Annotate, "header"}, {"refuse", stream.Annotate, "header"}, {"header", stream.Observe, ""}, {"refuse", stream.Observe, ""},
	} {
		t.Run(c.advisory+" "+string(c.mode), func(t *testing.T) {
			var seen string
			b := newTestEngine(t, func(d *Deps, _ *EngineOptions, sts []stream.Stream) {
				d.Advisor = opinion{&seen}
				sts[1].Advisory, sts[1].Mode = c.advisory, c.mode
			})
			raw := []byte("From: a@example.org\r\nX-Postern-Stream: orders\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
				"<style>x</style><b>Buy=20one</b> &amp; more")
			_, err := b.Data(t.Context(), testEnvelope("x@example.com"), raw)
			require.Equal(t, "Grüße| Buy one & more", strings.Join(strings.Fields(seen), " "))
			if c.want == "deny" {
				require.Equal(t, "looks-like-marketing:salenow", denialOf(t, err).label())
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want == "header", strings.Contains(string(b.shelf.last(t).Header), "X-Postern-Advice: looks-like-marketing:salenow\r\n"))
		})
	}
}

func TestReceived(t *testing.T) {
	b := newTestEngine(t, nil)
	env := testEnvelope("x@example.com")
	env.Helo, env.TLS, env.Auth, env.UTF8 = "a b\r\nX: y", "TLS1.3 (AES)", "crm", true
	got := string(b.received(env, "ID1", engineClock))
	require.Equal(t, "Received: from unknown ([192.0.2.7])\r\n\tby relay.example.org (postern/relay.example.org) with UTF8SMTPSA\r\n"+
		"\tid ID1 (TLS1.3 _AES_);\r\n\tTue, 24 Nov 2026 10:00:00 +0000\r\n", got)
	require.NotContains(t, got, "example.com", "no recipient")
	for _, c := range []struct {
		lmtp, utf8 bool
		tls, auth  string
		want       string
	}{{false, false, "", "", "ESMTP"}, {true, false, "", "", "LMTP"}, {false, false, "x", "", "ESMTPS"}, {false, false, "x", "a", "ESMTPSA"}, {true, true, "x", "", "UTF8LMTPS"}} {
		require.Equal(t, c.want, protocol(&Envelope{LMTP: c.lmtp, UTF8: c.utf8, TLS: c.tls, Auth: c.auth}))
	}
}

// TestSMTP_7_NamesWhoCame: the name it gave and the address it came from, in
// the forms of RFC 5321 section 4.4, above what other servers wrote.
func TestSMTP_7_NamesWhoCame(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7":        "from crm.example.org ([192.0.2.7])\r\n",
		"::ffff:192.0.2.7": "from crm.example.org ([192.0.2.7])\r\n",
		"2001:db8::7":      "from crm.example.org ([IPv6:2001:db8::7])\r\n",
		"fe80::7%eth0":     "from crm.example.org ([IPv6:fe80::7])\r\n",
	} {
		b := newTestEngine(t, nil)
		env := testEnvelope("x@example.com")
		env.Remote = netip.MustParseAddr(remote)
		_, err := b.Data(t.Context(), env, []byte("Received: from a by b; one\r\nReceived: from c by a; two\r\n"+string(letter("a@example.org"))))
		require.NoError(t, err)
		hdr := header.Parse(b.shelf.last(t).Header)
		trace := hdr.Spans()[:3]
		require.Contains(t, string(hdr.Bytes(trace[0])), "Received: "+want)
		require.Equal(t, "Received: from a by b; one\r\n", string(hdr.Bytes(trace[1])))
		require.Equal(t, "Received: from c by a; two\r\n", string(hdr.Bytes(trace[2])))
	}
}

// TestEngineTellsNothingPersonal walks through failures and looks for an
// address or a subject in logs, records, metrics and errors (ST-5).
func TestEngineTellsNothingPersonal(t *testing.T) {
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	b := newTestEngine(t, func(d *Deps, o *EngineOptions, sts []stream.Stream) {
		signing(t)(d, o, sts)
		d.Signer = noSigner{d.Signer}
		o.Log, o.Metrics = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), reg
	})
	var said []string
	send := func(to string, raw []byte) {
		if _, err := b.Data(t.Context(), testEnvelope(to, "second@example.com"), raw); err != nil {
			said = append(said, err.Error())
		}
	}
	send("no@example.com", letter("a@news.example.org", "Subject2: hush"))
	send("yes@example.com", letter("a@news.example.org"))
	send("yes@example.com", letter("stranger@example.net"))
	send("yes@example.com", []byte("From: broken@@example.org\r\n\r\n"))
	b.consent.down = true
	send("yes@example.com", letter("a@news.example.org"))
	b.consent.down = false
	for _, m := range b.shelf.msgs {
		_, _, err := b.Prepare(t.Context(), m, []int{0})
		require.NoError(t, err)
	}
	b.shelf.fail = errors.New("disk")
	send("x@example.com", letter("a@example.org"))
	_, err := b.Submit(t.Context(), Outgoing{To: address.MustParse("who@example.com"), Header: []byte("From: a@example.org\r\n")})
	said = append(said, err.Error())

	metrics, err := reg.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, log.String())
	everything := log.String() + fmt.Sprint(metrics) + strings.Join(said, "\n") + fmt.Sprintf("%+v", b.shelf.recs)
	require.NotContains(t, everything, "@")
	require.NotContains(t, everything, "Hello")
	require.Contains(t, everything, "postern_gateway_recipients_total")
}
