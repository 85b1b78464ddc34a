package intake

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/intake/report"
	"postern/queue"
)

var received = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// mailWith is a person's mail with fields added or replaced; "" removes one.
func mailWith(body string, fields ...string) []byte {
	h := [][2]string{
		{"Return-Path", "<ada@example.net>"}, {"Received", "from out.example.net by mx.example.org; Tue, 24 Nov 2026 10:00:00 +0000"},
		{"From", "Ada <ada@example.net>"}, {"To", "privacy@example.org"}, {"Subject", "My data"},
		{"Date", "Tue, 24 Nov 2026 09:59:00 +0000"}, {"Message-ID", "<1@example.net>"},
	}
	for i := 0; i < len(fields); i += 2 {
		found := false
		for j := range h {
			if h[j][0] == fields[i] {
				h[j][1], found = fields[i+1], true
			}
		}
		if !found {
			h = append(h, [2]string{fields[i], fields[i+1]})
		}
	}
	var b strings.Builder
	for _, f := range h {
		if f[1] != "" {
			b.WriteString(f[0] + ": " + f[1] + "\r\n")
		}
	}
	b.WriteString("\r\n" + strings.ReplaceAll(body, "\n", "\r\n") + "\r\n")
	return []byte(b.String())
}

func TestMayReply(t *testing.T) {
	ask := "Please erase my data."
	cases := map[string]struct {
		fields []string
		why    string
	}{
		"a person":              {nil, ""},
		"auto-submitted no":     {[]string{"Auto-Submitted", "no"}, ""},
		"suppress none":         {[]string{"X-Auto-Response-Suppress", "None"}, ""},
		"no return path":        {[]string{"Return-Path", ""}, "no-return-path"},
		"null return path":      {[]string{"Return-Path", "<>"}, "null-return-path"},
		"no sender":             {[]string{"From", ""}, "no-sender"},
		"auto-generated":        {[]string{"Auto-Submitted", "auto-generated"}, "auto-submitted"},
		"precedence":            {[]string{"Precedence", "Bulk"}, "precedence"},
		"list id":               {[]string{"List-Id", "<l.example.net>"}, "list"},
		"list unsubscribe":      {[]string{"List-Unsubscribe", "<mailto:x@example.net>"}, "list"},
		"exchange rule":         {[]string{"X-MS-Exchange-Generated-Message-Source", "x"}, "auto-reply"},
		"asks for silence":      {[]string{"X-Auto-Response-Suppress", "OOF, AutoReply"}, "suppress-asked"},
		"no-reply":              {[]string{"From", "no-reply@example.net"}, "no-person"},
		"owner of a list":       {[]string{"Return-Path", "<owner-l@example.net>"}, "no-person"},
		"request of a list":     {[]string{"Return-Path", "<l-request@example.net>"}, "no-person"},
		"our own address":       {[]string{"Return-Path", "<privacy@example.org>"}, "own-address"},
		"spam":                  {[]string{"X-Spam-Flag", "YES"}, "spam"},
		"another return path":   {[]string{"Return-Path", "<ada@example.com>"}, "unproven-return-path"},
		"unsubscribe address":   {[]string{"To", "u+abcdefgh@example.org"}, "unsubscribe-address"},
		"failed authentication": {[]string{"Return-Path", "<ada@example.net>\r\nAuthentication-Results: mx.example.org; dmarc=fail header.from=example.net"}, "contradicted"},
	}
	box := testBox()
	box.AuthServID = "mx.example.org"
	for name, c := range cases {
		in, v := Facts(mailWith(ask, c.fields...), received, box, words{})
		require.Equal(t, c.why, in.NoReplyWhy, name)
		require.Equal(t, c.why == "", in.MayReply, name)
		require.Empty(t, v.Aside, "%s: no condition keeps a case from being opened (AR-7)", name)
		require.True(t, in.Result.Has(classifier.Erasure), name)
	}
}

func TestTokensAndThread(t *testing.T) {
	in, v := Facts(mailWith("unsubscribe", "To", "Stop <u+abc234@example.org>", "Subject", "unsubscribe"), received, testBox(), words{})
	require.Equal(t, "abc234", in.Token)
	require.Equal(t, "abc234", v.Token)
	require.Equal(t, classifier.KindRequest, v.Kind)
	in, _ = Facts(mailWith("x", "To", "u+abc234@example.com"), received, testBox(), words{})
	require.Empty(t, in.Token, "not our domain")
	pages := testBox()
	pages.TokenDomain = "mail.example.com"
	in, v = Facts(mailWith("", "To", "u+abc234@Mail.example.com"), received, pages, words{})
	require.Equal(t, "abc234", in.Token, "the domain of the public pages, where links lead")
	_, v = Facts(mailWith("x", "Delivered-To", "b+abc234@mail.example.com"), received, pages, words{})
	require.Equal(t, "abc234", v.BounceToken)
	in, _ = Facts(mailWith("Here it is.", "Delivered-To", "case+tok9@example.org", "In-Reply-To", "<a1@example.org>", "References", "<a0@example.org> <a1@example.org>"), received, testBox(), words{})
	require.Equal(t, "tok9", in.ReplyToken)
	require.Equal(t, "a1@example.org", in.InReplyTo)
	require.Equal(t, []string{"a0@example.org", "a1@example.org"}, in.References)
}

func TestForwardedRequests(t *testing.T) {
	block := "---------- Forwarded message ---------\nFrom: Kim <kim@example.net>\nSubject: Please\nTo: info@example.org\n\nPlease erase my data.\n"
	within := "--b\nContent-Type: text/plain\n\nPlease handle this.\n--b\nContent-Type: message/rfc822\n\nFrom: kim@example.net\nSubject: Please\n\nPlease erase my data.\n--b--\n"
	cases := map[string]struct {
		raw  []byte
		who  string
		text string
	}{
		"a colleague, inline":     {mailWith("Please handle this.\n\n"+block, "From", "desk@example.org", "Subject", "Fwd: Please"), "kim@example.net", "erase my data"},
		"a colleague, attached":   {mailWith(within, "From", "desk@example.org", "Content-Type", "multipart/mixed; boundary=b"), "kim@example.net", "erase my data"},
		"a colleague, outlook":    {mailWith("FYI\n\nVon: Kim <kim@example.net>\nGesendet: Dienstag\nAn: info@example.org\nBetreff: Bitte\n\nPlease erase my data.", "From", "desk@example.org", "Subject", "WG: Bitte"), "kim@example.net", "erase my data"},
		"a person, no new words":  {mailWith(block, "Subject", "Fwd: Please"), "", "erase my data"},
		"a person over our mail":  {mailWith("No more of this, thank you.\n\n" + block), "", "No more of this, thank you."},
		"a colleague, inner ours": {mailWith("See.\n\n"+strings.ReplaceAll(block, "kim@example.net", "boss@example.org"), "From", "desk@example.org"), "", "erase my data"},
	}
	for name, c := range cases {
		in, _ := Facts(c.raw, received, testBox(), words{})
		require.Equal(t, c.who, in.Forwarded.Plain(), name)
		require.Contains(t, in.Text, c.text, name)
	}
	in, _ := Facts(cases["a person over our mail"].raw, received, testBox(), words{})
	require.NotContains(t, in.Text, "erase")
	require.Contains(t, in.Quoted, "erase")
}

// signer gives DKIM signatures of example.net and the TXT record to check them.
func signer(t *testing.T) (sign func(raw []byte, keys []string) []byte, lookup func(string) ([]string, error)) {
	pub, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	sign = func(raw []byte, keys []string) []byte {
		var b bytes.Buffer
		require.NoError(t, dkim.Sign(&b, bytes.NewReader(raw), &dkim.SignOptions{Domain: "example.net", Selector: "s", Signer: key, HeaderKeys: keys}))
		return b.Bytes()
	}
	lookup = func(name string) ([]string, error) {
		if name != "s._domainkey.example.net" {
			return nil, fmt.Errorf("no record")
		}
		return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)}, nil
	}
	return sign, lookup
}

func TestGrade(t *testing.T) {
	sign, lookup := signer(t)
	all := []string{"From", "To", "Subject", "Date", "Message-ID"}
	ar := func(results string) string { return "Authentication-Results: mx.example.org; " + results + "\r\n" }
	raw := mailWith("Please erase my data.")
	foreign := []byte("Received: from mx.example.org by relay.example.com; x\r\n")
	cases := map[string]struct {
		raw   []byte
		grade queue.Grade
	}{
		"nothing said":                {raw, queue.Unknown},
		"signed":                      {sign(raw, all), queue.Proven},
		"signed, altered":             {bytes.Replace(sign(raw, all), []byte("erase my"), []byte("erase all"), 1), queue.Unknown},
		"signed, To not":              {sign(raw, []string{"From", "Date"}), queue.Likely},
		"signed, to others":           {sign(mailWith("x", "To", "someone@example.org"), all), queue.Likely},
		"signed, old":                 {sign(mailWith("x", "Date", "Tue, 10 Nov 2026 09:59:00 +0000"), all), queue.Likely},
		"signed, other From":          {sign(mailWith("x", "From", "eve@example.com"), all), queue.Unknown},
		"two authors":                 {sign(mailWith("x", "From", "ada@example.net, eve@example.com"), all), queue.Unknown},
		"dmarc pass":                  {append([]byte(ar("dmarc=pass header.from=example.net")), raw...), queue.Likely},
		"spf pass":                    {append([]byte(ar("spf=pass smtp.mailfrom=ada@example.net")), raw...), queue.Likely},
		"spf pass elsewhere":          {append([]byte(ar("spf=pass smtp.mailfrom=ada@example.com")), raw...), queue.Unknown},
		"dkim pass at border":         {append([]byte(ar("dkim=pass header.d=mail.example.net")), raw...), queue.Likely},
		"dmarc fail":                  {append([]byte(ar("dmarc=fail header.from=example.net")), raw...), queue.Contradicted},
		"another server's":            {append([]byte("Authentication-Results: mx.example.com; dmarc=pass\r\n"), raw...), queue.Unknown},
		"forged below":                {append(append([]byte{}, foreign...), append([]byte(ar("dmarc=pass header.from=example.net")), raw...)...), queue.Unknown},
		"forged, the border's on top": {append([]byte(ar("dmarc=fail header.from=example.net")), []byte(strings.Replace(string(raw), "From: Ada", ar("dmarc=pass header.from=example.net")+"From: Ada", 1))...), queue.Contradicted},
	}
	box := testBox()
	box.AuthServID, box.LookupTXT = "mx.example.org", lookup
	for name, c := range cases {
		in, _ := Facts(c.raw, received, box, words{})
		require.Equal(t, c.grade, in.Grade, "%s: %s", name, in.GradeWhy)
	}
}

func TestMachineKeepsItsFactsForTheOperator(t *testing.T) {
	raw := mailWith("I am out of the office until Monday.", "Subject", "Automatic reply: Your case", "Auto-Submitted", "auto-replied", "In-Reply-To", "<a1@example.org>")
	in, v := Facts(raw, received, testBox(), words{})
	require.Equal(t, classifier.KindAutoReply, v.Kind)
	require.Equal(t, "auto-reply", v.Aside)
	require.Equal(t, "ada@example.net", in.From.Plain())
	require.NotEmpty(t, in.Text)
	require.True(t, in.Received.Equal(received))
}

func FuzzFacts(f *testing.F) {
	for _, dir := range []string{"", "machine"} {
		for _, file := range corpusFiles(f, dir) {
			f.Add(readFile(f, file))
		}
	}
	box := testBox()
	box.AuthServID = "mx.example.org"
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, v := Facts(raw, received, box, words{})
		if in.ContentHash == "" || v.Kind == "" {
			t.Fatal("no facts")
		}
		if in.MayReply && (in.ReturnPath == "" || in.ReturnPath == "<>") {
			t.Fatal("an answer to nobody")
		}
		if v.Aside != "" && (v.Manual != "" || v.Kind == classifier.KindRequest || v.Kind == classifier.KindFollowUp) {
			t.Fatalf("a request set aside as %q", v.Aside)
		}
	})
}

func TestAttachedLetters(t *testing.T) {
	with := func(body, attached string) []byte {
		return mailWith("--b\nContent-Type: text/plain\n\n"+body+"\n--b\nContent-Type: text/plain; name=letter.txt\nContent-Disposition: attachment\n\n"+attached+"\n--b--", "Content-Type", "multipart/mixed; boundary=b")
	}
	in, _ := Facts(with("See attached, please.", "Please erase my data."), received, testBox(), words{})
	require.True(t, in.Result.Has(classifier.Erasure), "the letter is attached")
	require.Equal(t, "See attached, please.", in.Text)
	require.Equal(t, "Please erase my data.", in.Attachments[0].Text)
	in, _ = Facts(with("I want a copy of my data.", "Please erase my data."), received, testBox(), words{})
	require.True(t, in.Result.Has(classifier.Access))
	require.False(t, in.Result.Has(classifier.Erasure), "the letter itself says what is asked")
}

// TestLettersThroughOwnGroup: a group address before the mailbox marks every
// mail as of a list; a letter attached to one is read nevertheless.
func TestLettersThroughOwnGroup(t *testing.T) {
	raw := []byte("Return-Path: <ada@example.net>\r\nFrom: ada@example.net\r\nTo: privacy@example.org\r\nSubject: Letter\r\nMessage-ID: <1@example.net>\r\n" +
		"List-Id: <privacy.example.org>\r\nPrecedence: list\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nSee attached.\r\n--b\r\nContent-Type: text/plain; name=letter.txt\r\nContent-Disposition: attachment; filename=letter.txt\r\n\r\nPlease erase my data.\r\n--b--\r\n")
	in, v := Facts(raw, time.Now(), testBox(), words{})
	require.Empty(t, v.Aside)
	require.Equal(t, report.None, v.Report.Kind)
	require.True(t, in.Result.Has(classifier.Erasure), "%+v", in.Attachments)
}
