package reply

import (
	"bytes"
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
	gomail "github.com/emersion/go-message/mail"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
)

func TestCompose(t *testing.T) {
	m := Mail{
		FromName: "Müller & Söhne", From: address.MustParse("privacy@example.org"), To: address.MustParse("alice@example.com"),
		ReplyTo: address.MustParse("case@example.org"), Subject: "Ihre Anfrage: Löschung\r\nBcc: x@example.net", Text: "Grüße\n.\nEnde =\n", Language: "de",
		Date: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC), MessageID: "PC-1@example.org", InReplyTo: "a@b", References: []string{"x@y", "bad id", "a@b"}, Auto: true,
	}
	header, body, err := m.Compose()
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(header, []byte("\r\n")))
	require.False(t, bytes.Contains(header, []byte("\r\n\r\n")))
	require.NotContains(t, string(header), "\r\nBcc:", "a line break in the subject makes no field")
	for _, line := range strings.Split(string(header)+string(body), "\r\n") {
		require.LessOrEqual(t, len(line), 998)
		require.NotContains(t, line, "\n")
		for i := range len(line) {
			require.Less(t, line[i], byte(0x80), "all is ASCII on the wire")
		}
	}
	e, err := message.Read(bytes.NewReader(append(append(header, "\r\n"...), body...)))
	require.NoError(t, err)
	text, err := io.ReadAll(e.Body)
	require.NoError(t, err)
	require.Equal(t, "Grüße\r\n.\r\nEnde =\r\n", string(text))
	h := gomail.Header{Header: e.Header}
	subject, err := h.Subject()
	require.NoError(t, err)
	require.Equal(t, "Ihre Anfrage: Löschung Bcc: x@example.net", subject)
	from, err := h.AddressList("From")
	require.NoError(t, err)
	require.Equal(t, "Müller & Söhne", from[0].Name)
	require.Equal(t, "auto-replied", h.Get("Auto-Submitted"))
	require.Equal(t, "<a@b>", h.Get("In-Reply-To"))
	refs, err := h.MsgIDList("References")
	require.NoError(t, err)
	require.Equal(t, []string{"x@y", "a@b"}, refs)

	m.Auto, m.InReplyTo, m.Text, m.Subject = false, "", "Plain text", "Plain"
	header, body, err = m.Compose()
	require.NoError(t, err)
	require.NotContains(t, string(header), "Auto-Submitted")
	require.NotContains(t, string(header), "References")
	require.Contains(t, string(header), "Content-Transfer-Encoding: 7bit")
	require.Equal(t, "Plain text\r\n", string(body))
}

func TestLongThreadIsShortened(t *testing.T) {
	var refs []string
	for i := range 100 {
		refs = append(refs, strings.Repeat("x", i+1)+"@example.com")
	}
	out := thread(refs, "parent@example.com")
	require.Len(t, out, maxReferences)
	require.Equal(t, refs[0], out[0])
	require.Equal(t, "parent@example.com", out[len(out)-1])
}

// FuzzCompose: whatever strangers put into ids and subjects, the message has
// one header, one recipient, and lines that may travel.
func FuzzCompose(f *testing.F) {
	f.Add("subject", "text", "a@b", "c@d")
	f.Add("s\r\nTo: x@example.net", "t\r\n\r\nx", "<a@b>\r\nBcc: y", "\x00")
	f.Fuzz(func(t *testing.T, subject, text, inReplyTo, ref string) {
		header, body, err := Mail{From: address.MustParse("p@example.org"), To: address.MustParse("a@example.com"), Subject: subject, Text: text,
			MessageID: "m@example.org", InReplyTo: inReplyTo, References: []string{ref}, Auto: true}.Compose()
		require.NoError(t, err)
		m, err := mail.ReadMessage(bytes.NewReader(append(append([]byte{}, append(header, "\r\n"...)...), body...)))
		require.NoError(t, err)
		require.Equal(t, []string{"<a@example.com>"}, m.Header["To"])
		require.Empty(t, m.Header["Bcc"])
		require.Len(t, m.Header["Subject"], 1)
		for _, line := range strings.Split(string(header), "\r\n") {
			require.LessOrEqual(t, len(line), 998)
		}
	})
}

func TestMay(t *testing.T) {
	ok := Asked{MayReply: true, ReturnPath: "alice@example.com", From: address.MustParse("alice@example.com"), Authenticated: true, OwnDomains: []string{"example.org"}}
	to, why := May(ok)
	require.Empty(t, why)
	require.Equal(t, "alice@example.com", to.Plain())
	cases := map[string]struct {
		alter func(*Asked)
		why   string
	}{
		"mail forbids":          {func(a *Asked) { a.MayReply = false }, "mail-forbids"},
		"its own reason":        {func(a *Asked) { a.MayReply, a.Why = false, "auto-submitted" }, "auto-submitted"},
		"null":                  {func(a *Asked) { a.ReturnPath = "<>" }, "no-return-path"},
		"missing":               {func(a *Asked) { a.ReturnPath = "" }, "no-return-path"},
		"broken":                {func(a *Asked) { a.ReturnPath = "a b@example.com" }, "bad-return-path"},
		"own":                   {func(a *Asked) { a.ReturnPath = "x@example.org" }, "own-address"},
		"daemon":                {func(a *Asked) { a.ReturnPath = "MAILER-DAEMON@example.com" }, "no-person"},
		"list request":          {func(a *Asked) { a.ReturnPath = "news-request@example.com" }, "no-person"},
		"from no-reply":         {func(a *Asked) { a.From = address.MustParse("no-reply@example.com") }, "no-person"},
		"contradicted":          {func(a *Asked) { a.Contradicted = true }, "contradicted"},
		"unproven other domain": {func(a *Asked) { a.Authenticated, a.ReturnPath = false, "x@example.net" }, "unproven-return-path"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := ok
			c.alter(&a)
			_, why := May(a)
			require.Equal(t, c.why, why)
		})
	}
}
