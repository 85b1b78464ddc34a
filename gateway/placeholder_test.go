package gateway

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"postern/gateway/header"
)

var testLinks = links{"https://privacy.example.org/u/" + strings.Repeat("t", 60), "https://privacy.example.org/p/" + strings.Repeat("t", 60)}

// fill puts the links into a part of that encoding.
func fill(t require.TestingT, encoding, body string) string {
	hdr := "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding + "\r\n"
	parts, err := header.Walk(header.Parse([]byte(hdr)), []byte(body), header.Limits{Depth: 50, Parts: 1000})
	require.NoError(t, err)
	s := findPlaceholders([]byte(body), parts)
	if s == nil {
		return body
	}
	return string(s.apply([]byte(body), testLinks))
}

func TestPlaceholdersPlain(t *testing.T) {
	u, p := testLinks[0], testLinks[1]
	for _, c := range []struct{ name, in, want string }{
		{"none", "text {{other}} {x} %7B\r\n", "text {{other}} {x} %7B\r\n"},
		{"one", "a {{unsubscribe_url}} b\r\n", "a " + u + " b\r\n"},
		{"both, joined", "{{unsubscribe_url}}{{preferences_url}}", u + p},
		{"white space inside", "{{ unsubscribe_url\t}}", u},
		{"as an editor writes a link", `<a href="%7B%7Bunsubscribe_url%7d%7d">`, `<a href="` + u + `">`},
		{"three brackets", "{{{unsubscribe_url}}}", "{" + u + "}"},
		{"not closed", "{{unsubscribe_url} }", "{{unsubscribe_url} }"},
		{"over a line end", "{{unsub\r\nscribe_url}}", "{{unsub\r\nscribe_url}}"},
		{"at the end", "x {{preferences_url", "x {{preferences_url"},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, fill(t, "8bit", c.in)) })
	}
}

func TestPlaceholdersQuotedPrintable(t *testing.T) {
	u := testLinks[0]
	for _, c := range []struct{ name, in, want string }{
		{"plain", "a {{unsubscribe_url}} b=20\r\nnext", "a " + u + " b \r\nnext"},
		{"split by a soft break", "a {{unsub=\r\nscribe_url}} b", "a " + u + " b"},
		{"split twice, padded", "{= \r\n{unsubscribe_url}=\r\n}", u},
		{"encoded brackets", "=7B=7bunsubscribe=5Furl=7D=7D", u},
		{"encoded percent", "=257B%7Bunsubscribe_url%7D%7D", u},
		{"after a long line", strings.Repeat("x", 70) + "{{u=\r\nnsubscribe_url}}" + strings.Repeat("y", 55) + "\r\nz", strings.Repeat("x", 70) + u + strings.Repeat("y", 55) + "\r\nz"},
		{"before a soft break", "{{unsubscribe_url}}=\r\nz", u + "z"},
		{"two on a line", "{{unsubscribe_url}} or {{unsubscribe_url}}.", u + " or " + u + "."},
		{"not one", "=7B=7Bother=7D=7D = {", "{{other}} = {"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := fill(t, "Quoted-Printable", c.in)
			got, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(out)))
			require.NoError(t, err)
			require.Equal(t, c.want, string(got))
			require.LessOrEqual(t, header.LongestLine([]byte(out)), qpLine)
		})
	}
}

func TestPlaceholdersBase64(t *testing.T) {
	text := strings.Repeat("Grüße, ", 30) + "{{unsubscribe_url}}" + strings.Repeat(" more", 40) + "{{preferences_url}}."
	in := base64.StdEncoding.EncodeToString([]byte(text))
	var lines strings.Builder
	for ; len(in) > 60; in = in[60:] {
		lines.WriteString(in[:60] + "\r\n")
	}
	out := fill(t, "BASE64", lines.String()+in+"\r\n")
	require.True(t, strings.HasSuffix(out, "\r\n"))
	got, err := base64.StdEncoding.DecodeString(out)
	require.NoError(t, err)
	require.Equal(t, strings.NewReplacer("{{unsubscribe_url}}", testLinks[0], "{{preferences_url}}", testLinks[1]).Replace(text), string(got))
	require.LessOrEqual(t, header.LongestLine([]byte(out)), 76)

	broken := "e3t1bnN1YnNjcmliZV91cmx9fQ==!!!"
	require.Equal(t, broken, fill(t, "base64", broken), "what can't be decoded stays")
}

func TestPlaceholdersOnlyInText(t *testing.T) {
	msg := "Content-Type: multipart/mixed; boundary=o\r\n\r\n" +
		"--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n" +
		"--i\r\n\r\nplain {{unsubscribe_url}}\r\n--i\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<a href=3D\"{{unsubscribe_url}}\">\r\n--i--\r\n" +
		"--o\r\nContent-Type: application/json\r\n\r\n{{unsubscribe_url}}\r\n" +
		"--o\r\nContent-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\n{{unsubscribe_url}}\r\n" +
		"--o\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\n{{unsubscribe_url}}\r\n--s--\r\n--o--\r\n"
	hdr, body := header.Split([]byte(msg))
	parts, err := header.Walk(header.Parse(hdr), body, header.Limits{Depth: 50, Parts: 1000})
	require.NoError(t, err)
	out := string(findPlaceholders(body, parts).apply(body, testLinks))
	require.Equal(t, 2, strings.Count(out, testLinks[0][:20]))
	require.Equal(t, 3, strings.Count(out, "{{unsubscribe_url}}"))
}

func TestPlaceholderLineLength(t *testing.T) {
	body := []byte("x {{unsubscribe_url}} y {{preferences_url}} zz\r\n{{unsubscribe_url}}\r\n")
	s := findPlaceholders(body, []header.Part{{End: len(body), Type: "text/plain"}})
	require.GreaterOrEqual(t, s.longest(100), len("x  y  zz")+200)
	require.Less(t, s.longest(100), len("x  y  zz")+200+2*40)
}

// TestPlaceholdersInAnyText compares with replacing in the decoded text.
func TestPlaceholdersInAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"{{unsubscribe_url}}", "{{preferences_url}}", "Hello", " ", "\r\n", "é", "=", "{", "}}", "%",
			strings.Repeat("long", 30), "\t", "unsubscribe_url", "."}), 0, 30).Draw(t, "words")
		text := strings.Join(words, "")
		want := strings.NewReplacer("{{unsubscribe_url}}", testLinks[0], "{{preferences_url}}", testLinks[1]).Replace(text)

		var qp bytes.Buffer
		w := quotedprintable.NewWriter(&qp)
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		out := fill(t, "quoted-printable", qp.String())
		got, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(out)))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		require.LessOrEqual(t, header.LongestLine([]byte(out)), qpLine)

		got, err = base64.StdEncoding.DecodeString(fill(t, "base64", base64.StdEncoding.EncodeToString([]byte(text))))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		require.Equal(t, want, fill(t, "8bit", text))
	})
}

func FuzzPlaceholders(f *testing.F) {
	f.Add("quoted-printable", "{{uns=\r\nubscribe_url}}")
	f.Add("base64", "e3t1bnN1YnNjcmliZV91cmx9fQ==")
	f.Add("8bit", "%7B%7Bunsubscribe_url%7D%7D")
	f.Fuzz(func(t *testing.T, encoding, body string) {
		parts := []header.Part{{End: len(body), Type: "text/plain", Encoding: encoding}}
		s := findPlaceholders([]byte(body), parts)
		if s == nil {
			return
		}
		at := 0
		for _, e := range s.edits {
			require.LessOrEqual(t, at, e.start)
			require.Less(t, e.start, e.end)
			at = e.end
		}
		out := s.apply([]byte(body), testLinks)
		require.True(t, bytes.HasPrefix(out, []byte(body[:s.edits[0].start])))
		require.True(t, bytes.HasSuffix(out, []byte(body[at:])))
	})
}
