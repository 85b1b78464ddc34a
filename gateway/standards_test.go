package gateway

import (
	"net/mail"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/gateway/consent"
	"postern/gateway/header"
	"postern/gateway/stream"
)

// Tests named for the lines of the requirements on marketing mail: each looks
// at what leaves, or at why it does not.

// leaves gives the header of the one copy of a marketing letter.
func leaves(t *testing.T, b *bench, extra ...string) *header.Header {
	t.Helper()
	copies, refusals := prepareAll(t, b, b.accept(t, letter("a@news.example.org", extra...), "yes@example.com"))
	require.Empty(t, refusals)
	require.Len(t, copies, 1)
	return header.Parse(copies[0].Header)
}

// TestUNS1_OneClickFieldsOnce: one https URI, one List-Unsubscribe-Post with
// the one value, whatever the client wrote.
func TestUNS1_OneClickFieldsOnce(t *testing.T) {
	for name, own := range map[string][]string{
		"none of the client's":  nil,
		"the client's, broken":  {"List-Unsubscribe: <http://old.example.net>, <mailto:x@example.net>", "List-Unsubscribe-Post: yes"},
		"the client's, doubled": {"List-Unsubscribe: <https://a.example.net>", "list-unsubscribe: <https://b.example.net>"},
	} {
		h := leaves(t, newTestEngine(t, nil), own...)
		require.Equal(t, 1, h.Count("List-Unsubscribe"), name)
		v, _ := h.Get("List-Unsubscribe")
		require.Equal(t, 1, strings.Count(v, "<https://"), name)
		require.Zero(t, strings.Count(v, "<http://"), name)
		require.Equal(t, 1, h.Count("List-Unsubscribe-Post"), name)
		v, _ = h.Get("List-Unsubscribe-Post")
		require.Equal(t, "List-Unsubscribe=One-Click", v, name)
	}
}

// TestUNS2_BothFieldsAreSigned: both stand in h= of each signature.
func TestUNS2_BothFieldsAreSigned(t *testing.T) {
	b := newTestEngine(t, signing(t))
	copies, _ := prepareAll(t, b, b.accept(t, letter("a@news.example.org"), "yes@example.com"))
	require.Equal(t, 2, verifySigned(t, copies[0]))
	h := header.Parse(copies[0].Header)
	for _, s := range h.Find("DKIM-Signature") {
		signed := ":" + strings.ToLower(strings.Join(strings.Fields(h.Value(s)), "")) + ":"
		require.Contains(t, signed, "list-unsubscribe:")
		require.Contains(t, signed, "list-unsubscribe-post:")
	}
}

// TestUNS8_MailtoHoldsTheTokenInItsLocalPart, for clients that send nothing but
// an empty mail to it.
func TestUNS8_MailtoHoldsTheTokenInItsLocalPart(t *testing.T) {
	b := newTestEngine(t, nil)
	h := leaves(t, b)
	token := sealer{}.Seal(b.shelf.last(t).Recipients[0].Subject, 1, engineClock)
	v, _ := h.Get("List-Unsubscribe")
	require.Contains(t, v, "<mailto:u+"+token+"@u.example.org>")
	require.NotContains(t, v, "?", "neither subject nor body is relied on")
}

// TestUNS9_SyntaxOfTheField: URLs in angle brackets, separated by commas, with
// no white space inside, https first; other List fields of the client's go.
func TestUNS9_SyntaxOfTheField(t *testing.T) {
	v, _ := leaves(t, newTestEngine(t, nil)).Get("List-Unsubscribe")
	parts := strings.Split(v, ",")
	require.Len(t, parts, 2)
	for i, scheme := range []string{"<https://", "<mailto:"} {
		p := strings.TrimSpace(parts[i])
		require.True(t, strings.HasPrefix(p, scheme) && strings.HasSuffix(p, ">"), p)
		require.Empty(t, strings.FieldsFunc(p, func(r rune) bool { return r != ' ' && r != '\t' }), "white space inside %s", p)
	}
}

// TestUNS10_ListIDOnMarketingOnly: one, stable, under a domain of the company;
// mail that is no marketing carries none of ours.
func TestUNS10_ListIDOnMarketingOnly(t *testing.T) {
	b := newTestEngine(t, nil)
	h := leaves(t, b, "List-Id: <NEWS.example.org>")
	require.Equal(t, 1, h.Count("List-Id"))
	v, _ := h.Get("List-Id")
	require.LessOrEqual(t, len(v), 255)
	require.Contains(t, v, "<news.example.org>")
	copies, _ := prepareAll(t, b, b.accept(t, letter("a@example.org", "X-Postern-Stream: orders"), "x@example.com"))
	require.Zero(t, header.Parse(copies[0].Header).Count("List-Id"))
}

// TestUNS12_TheClientNamesTheStream among those it may use, and the field that
// did goes.
func TestUNS12_TheClientNamesTheStream(t *testing.T) {
	b := newTestEngine(t, nil)
	m := b.accept(t, letter("a@example.org", "X-Postern-Stream: orders"), "x@example.com")
	require.EqualValues(t, 2, m.Stream)
	require.NotContains(t, string(m.Header), "X-Postern-Stream")
	_, err := b.Data(t.Context(), testEnvelope("x@example.com"), letter("a@example.org", "X-Postern-Stream: cases"))
	require.Equal(t, "stream-not-allowed", denialOf(t, err).label())
	m = b.accept(t, letter("a@example.org"), "x@example.com")
	require.EqualValues(t, 3, m.Stream, "no stream named: the default of the grant")
}

// TestCON13_MarketingInDisguise: what a client declares decides, and mail that
// only looks like marketing is told of, not turned into marketing; under a
// marketing stream even an order confirmation needs consent.
func TestCON13_MarketingInDisguise(t *testing.T) {
	b := newTestEngine(t, nil)
	_, err := b.Data(t.Context(), testEnvelope("never@example.com"), letter("a@news.example.org", "X-Postern-Stream: news", "Subject2: Your order 5512"))
	require.Equal(t, "no-consent", denialOf(t, err).label())
	b.consent.set("no@example.com", consent.Answer{Status: consent.StatusNone, Suppressed: consent.Unsubscribed, Scope: consent.ScopePurpose})
	m := b.accept(t, letter("a@example.org", "X-Postern-Stream: orders"), "no@example.com")
	require.EqualValues(t, 2, m.Stream, "an opt-out from advertising stops no order mail")
}

// TestHDR1_NoAutoSubmittedOnMarketing: it leaves as the client wrote it, and
// Postern adds none.
func TestHDR1_NoAutoSubmittedOnMarketing(t *testing.T) {
	h := leaves(t, newTestEngine(t, nil))
	require.Zero(t, h.Count("Auto-Submitted"))
	require.Zero(t, h.Count("Precedence"))
}

// TestHDR2_FeedbackIDOnceAndOfNobody: the configured one, the same for all
// recipients, and signed.
func TestHDR2_FeedbackIDOnceAndOfNobody(t *testing.T) {
	b := newTestEngine(t, func(d *Deps, o *EngineOptions, sts []stream.Stream) {
		signing(t)(d, o, sts)
		sts[0].FeedbackID = "a:b:c:shop1"
	})
	b.consent.set("two@example.com", consent.Answer{Status: consent.StatusActive})
	copies, _ := prepareAll(t, b, b.accept(t, letter("a@news.example.org", "Feedback-ID: x:y:z:w"), "yes@example.com", "two@example.com"))
	require.Len(t, copies, 2)
	for _, c := range copies {
		h := header.Parse(c.Header)
		require.Equal(t, 1, h.Count("Feedback-ID"))
		v, _ := h.Get("Feedback-ID")
		require.Equal(t, "a:b:c:shop1", v)
		require.Equal(t, 2, verifySigned(t, c))
		require.Contains(t, strings.ToLower(string(c.Header)), "feedback-id:")
		_, err := mail.ReadMessage(strings.NewReader(string(wholeOf(c))))
		require.NoError(t, err)
	}
}
