package mime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func TestTextOfManyForms(t *testing.T) {
	cases := map[string]struct{ raw, want string }{
		"plain":               {"Subject: x\n\nHello.\n", "Hello."},
		"no header end":       {"Subject: x\nFrom: a@example.org\n", ""},
		"header then text":    {"Subject: x\nThis line is no field\nnor this\n", "This line is no field\nnor this"},
		"mbox line":           {"From a@example.org Tue Nov 24\nSubject: x\n\nHello.", "Hello."},
		"bare lf base64":      {"Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\nTMO2c2NoZW4gU2ll\n", "Löschen Sie"},
		"base64 with rubbish": {"Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\n!TMO2c2*NoZW4gU2ll=\n", "Löschen Sie"},
		"qp":                  {"Content-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=iso-8859-1\n\nL=F6schen=\n Sie =ZZ\n", "Löschen Sie =ZZ"},
		"unlabelled latin-1":  {"Subject: x\n\nL\xf6schen\n", "Löschen"},
		"utf-8 called latin":  {"Content-Type: text/plain; charset=iso-8859-1\n\nL\u00f6schen\n", "Löschen"},
		"latin called utf-8":  {"Content-Type: text/plain; charset=utf-8\n\nL\xf6schen\n", "Löschen"},
		"unknown charset":     {"Content-Type: text/plain; charset=x-none\n\nL\xf6schen\n", "Löschen"},
		"unknown encoding":    {"Content-Type: text/plain\nContent-Transfer-Encoding: x-magic\n\nHello.\n", "Hello."},
		"windows-1250":        {"Content-Type: text/plain; charset=windows-1250\n\nUsu\xf1cie\n", "Usuńcie"},
		"koi8-u":              {"Content-Type: text/plain; charset=koi8-u\n\n\xf7\xc9\xc4\xc1\xcc\xc9\xd4\xc9\n", "Видалити"},
		"iso-8859-7":          {"Content-Type: text/plain; charset=iso-8859-7\n\n\xc4\xe9\xe1\xe3\xf1\xe1\xf6\xde\n", "Διαγραφή"},
		"utf-7":               {"Content-Type: text/plain; charset=utf-7\n\nL+APY-schen +- mehr\n", "Löschen + mehr"},
		"utf-16 by mark":      {"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n//5MAPYAcwBjAGgAZQBuAA==\n", "Löschen"},
		"html":                {"Content-Type: text/html; charset=utf-8\n\n<head><style>p{}</style><title>T</title></head><p>Delete <b>my</b> data.<br>Now</p><script>x()</script>", "Delete my data.\nNow"},
		"html meta":           {"Content-Type: text/html\n\n<meta charset=\"windows-1252\"><p>L\xf6schen</p>", "Löschen"},
		"html cells":          {"Content-Type: text/html\n\n<table><tr><td>Name</td><td>Kim</td></tr><tr><td>Wish</td><td>erase</td></tr></table>", "Name Kim\nWish erase"},
		"html hidden":         {"Content-Type: text/html\n\n<div style=\"display: none\">sale</div><div>Erase</div>", "Erase"},
		"html unclosed head":  {"Content-Type: text/html\n\n<html><head><body><p>Erase me", "Erase me"},
		"html quote":          {"Content-Type: text/html\n\n<div>Stop it.</div><blockquote>sale<blockquote>old</blockquote></blockquote>", "Stop it.\n> sale\n>> old"},
		"html gmail quote":    {"Content-Type: text/html\n\nStop it.<div class=\"gmail_quote gmail_x\">On Tue X wrote:<div>sale</div></div>", "Stop it.\n> On Tue X wrote:\n> sale"},
		"html as plain":       {"Content-Type: text/plain\n\n<html><body>Erase me</body></html>", "Erase me"},
		"soft hyphens":        {"Content-Type: text/html; charset=utf-8\n\n<p>De\u00adlete\u200b me&nbsp;now</p>", "Delete me now"},
		"flowed":              {"Content-Type: text/plain; format=flowed\n\nDelete my \ndata now.\n> quoted \n> text\n-- \nAda", "Delete my data now.\n> quoted text\n-- \nAda"},
		"alternative":         {"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nPlain words.\n--b\nContent-Type: text/html\n\n<p>Plain words.</p>\n--b--\n", "Plain words."},
		"alternative hint": {"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nSee HTML.\n--b\nContent-Type: text/html\n\n<p>" + strings.Repeat("Erase my data please. ", 12) + "</p>\n--b--\n",
			strings.TrimSpace(strings.Repeat("Erase my data please. ", 12))},
		"no end boundary":    {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nHello.\n", "Hello."},
		"boundary not named": {"Content-Type: multipart/mixed\n\n--xyz9\nContent-Type: text/plain\n\nHello.\n--xyz9--\n", "Hello."},
		"boundary not found": {"Content-Type: multipart/mixed; boundary=b\n\nHello.\n", "Hello."},
		"qp on multipart":    {"Content-Type: multipart/mixed; boundary=\"b\"\nContent-Transfer-Encoding: quoted-printable\n\n--b\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nA=\nB\n--b--\n", "AB"},
		"related":            {"Content-Type: multipart/related; boundary=r\n\n--r\nContent-Type: text/html\n\n<p>Hello.</p>\n--r\nContent-Type: image/png\n\nx\n--r--\n", "Hello."},
	}
	for name, c := range cases {
		m := Parse(crlf(c.raw), Limits{})
		require.Equal(t, c.want, m.Text(), name)
		require.Empty(t, m.Over, name)
		m = Parse([]byte(c.raw), Limits{})
		require.Equal(t, c.want, m.Text(), name+" with LF")
	}
}

func TestHeaderValues(t *testing.T) {
	m := Parse(crlf("From: =?utf-8?q?Ad=C3=A1?= <ada@example.org>\nSubject: =?iso-8859-1?Q?L=F6schen?=\n =?utf-8?B?IGJpdHRl?=\nTo: a@example.org, B <b@example.org>, broken <c@example.org\nX-Bad: =?x-none?Q?caf=E9?=\nReferences: <1@x> <2@x>\n\n"), Limits{})
	require.Equal(t, "Löschen bitte", m.Header.Text("subject"))
	require.Equal(t, []Mailbox{{"Adá", "ada@example.org"}}, m.Header.Addresses("From"))
	require.Len(t, m.Header.Addresses("To"), 3)
	require.Equal(t, "café", m.Header.Text("X-Bad"))
	require.Equal(t, []string{"1@x", "2@x"}, MessageIDs(m.Header.Get("References")))
	require.Equal(t, []string{"a@b"}, MessageIDs("text <a@b> <c d> <open"))
}

func TestFilesAndMessagesWithin(t *testing.T) {
	m := Parse(crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nSee attached.\n--b\nContent-Type: application/pdf; name=\"=?utf-8?Q?Vollmacht_=C3=BC.pdf?=\"\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nAAAAAAAA\n--b\nContent-Type: message/rfc822\n\nSubject: inner\nFrom: kim@example.net\n\nErase me.\n--b--\n"), Limits{})
	require.Equal(t, "See attached.", m.Text())
	files := m.Files()
	require.Len(t, files, 2)
	require.Equal(t, "Vollmacht ü.pdf", files[0].Name)
	require.EqualValues(t, 6, files[0].Size)
	require.Equal(t, "inner", files[1].Part.Inner.Header.Get("Subject"))
	require.Equal(t, "Erase me.", m.InnerText(files[1].Part.Inner))
}

func TestLimits(t *testing.T) {
	var deep strings.Builder
	for i := range 300 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	require.Equal(t, "nested too deep", Parse([]byte(deep.String()+"\nErase me.\n"), Limits{}).Over)
	many := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 3000) + "--b--\n"
	require.Equal(t, "too many parts", Parse([]byte(many), Limits{}).Over)
	require.Equal(t, "header over its limit", Parse([]byte("X: "+strings.Repeat("a", 300<<10)+"\n\nx"), Limits{}).Over)
	long := Parse([]byte("Subject: x\n\nErase me.\n"+strings.Repeat("a b ", 1<<20)), Limits{})
	require.Contains(t, long.Text(), "Erase me.")
	require.Equal(t, "text over its limit", long.Over)
}

func seeds(f *testing.F) {
	for _, dir := range []string{"", "machine"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "testmail", "corpus", dir, "*.eml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Add([]byte("Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html; charset=utf-7\n\n<p>+AOk-<blockquote>\n--b\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n#86)C\nend\n--b--"))
}

func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := Parse(raw, Limits{})
		text := m.Text()
		if !utf8.ValidString(text) {
			t.Fatalf("text is no UTF-8")
		}
		for _, field := range m.Header {
			if !utf8.ValidString(DecodeWords(field.Value)) {
				t.Fatalf("field is no UTF-8")
			}
		}
		for _, file := range m.Files() {
			if file.Size > int64(len(raw)) {
				t.Fatalf("a part of %d bytes in a mail of %d", file.Size, len(raw))
			}
		}
		m.Header.Addresses("From")
	})
}

func BenchmarkParseText(b *testing.B) {
	raw := crlf("From: a@example.org\nSubject: x\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("Bitte l=C3=B6schen Sie alle meine Daten, danke.\n", 40) + "--b\nContent-Type: text/html; charset=utf-8\n\n<p>x</p>\n--b--\n")
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		Parse(raw, Limits{}).Text()
	}
}

// Where a part says it stands is where its bytes are, whatever lies within what.
func TestPartsKnowWhereTheyStand(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nested": crlf("Content-Type: multipart/mixed; boundary=a\n\npre\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nPlain.\n--b\nContent-Type: text/html\n\n<p>x\n--b--\n--a\nContent-Type: image/png; name=x.png\n\nPNG\n--a--\nafter\n"),
		"bare":   []byte("Content-Type: image/png\n\nPNG"),
		"no end": []byte("Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: image/png; name=x.png\n\nPNG"),
	} {
		m := Parse(raw, Limits{})
		m.Walk(func(p *Part) bool {
			at := raw[p.Start:p.End]
			require.Equal(t, string(p.Body), string(at[len(at)-len(p.Body):]), name)
			again := Parse(at, Limits{})
			require.Equal(t, p.Header, again.Header, name)
			return true
		})
		file := m.Files()[0].Part
		require.Equal(t, "PNG", string(file.Body), name)
		require.Equal(t, "image/png", file.Type, name)
	}
}

// TestHeaderOfFoldedLines: a header of nothing but folded lines costs what its
// length costs, not the square of it.
func TestHeaderOfFoldedLines(t *testing.T) {
	raw := []byte("Subject: a\n" + strings.Repeat(" b\n", 80_000) + "To: c\n\nText\n")
	var m *Message
	res := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			m = Parse(raw, Limits{})
		}
	})
	require.Equal(t, "a"+strings.Repeat(" b", 80_000), m.Header.Get("Subject"))
	require.Equal(t, "c", m.Header.Get("To"))
	require.Empty(t, m.Over)
	require.Less(t, res.AllocedBytesPerOp(), int64(16*len(raw)))
	m = Parse([]byte("Subject:\n  \n a\n\t\n b"), Limits{})
	require.Equal(t, "a b", m.Header.Get("Subject"))
}
