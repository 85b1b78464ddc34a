package header

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var wide = Limits{Depth: 50, Parts: 1000}

func leaves(t *testing.T, msg string, lim Limits) ([]string, []Part) {
	t.Helper()
	hdr, body := Split([]byte(strings.ReplaceAll(msg, "\n", "\r\n")))
	parts, err := Walk(Parse(hdr), body, lim)
	require.NoError(t, err)
	var out []string
	for _, p := range parts {
		out = append(out, fmt.Sprintf("%s|%s|%s", p.Type, p.Encoding, body[p.Start:p.End]))
	}
	return out, parts
}

func TestWalk(t *testing.T) {
	for _, c := range []struct {
		name, msg string
		want      []string
	}{
		{"plain", "A: b\n\ntext\n", []string{"text/plain||text\r\n"}},
		{"no body", "A: b\n\n", []string{"text/plain||"}},
		{"html qp", "Content-Type: Text/HTML; charset=utf-8\nContent-Transfer-Encoding: Quoted-Printable\n\n<p>=\n</p>", []string{"text/html|quoted-printable|<p>=\r\n</p>"}},
		{"alternative", "Content-Type: multipart/alternative; boundary=\"b 1\"\n\npreamble\n--b 1\n\nA\n\n--b 1  \nContent-Type: text/html\n\nB\n--b 1--\nepilogue\n",
			[]string{"text/plain||A\r\n", "text/html||B"}},
		{"nested, inner not closed", "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/related; boundary=i\n\n--i\n\nX\n--o\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n--o--\n",
			[]string{"text/plain||X", "image/png|base64|AAAA"}},
		{"attached message", "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=i\n\n--i\nContent-Type: text/html\n\nin\n--i--\n--o--\n",
			[]string{"text/html||in"}},
		{"no boundary is a leaf", "Content-Type: multipart/mixed\n\n--x\n\nA\n", []string{"multipart/mixed||--x\r\n\r\nA\r\n"}},
		{"doubled parameter is opaque", "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\nA\n", []string{"multipart/mixed||--a\r\n\r\nA\r\n"}},
		{"encoded multipart is a leaf", "Content-Type: multipart/mixed; boundary=a\nContent-Transfer-Encoding: base64\n\n--a\n\nA\n", []string{"multipart/mixed|base64|--a\r\n\r\nA\r\n"}},
		{"boundary is not a prefix", "Content-Type: multipart/mixed; boundary=a\n\n--a\n\n--ab\nx\n--a--", []string{"text/plain||--ab\r\nx"}},
		{"not closed", "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nlast\n", []string{"text/plain||last\r\n"}},
		{"part without content", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/html\n--a--\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := leaves(t, c.msg, wide)
			require.Equal(t, c.want, got)
		})
	}
}

func TestWalkMarks(t *testing.T) {
	_, parts := leaves(t, "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/signed; boundary=s\n\n--s\nContent-Type: text/plain; charset=latin1\n\nX\n--s--\n--o\nContent-Disposition: Attachment; filename=a.txt\n\nY\n--o--\n", wide)
	require.True(t, parts[0].Sealed)
	require.Equal(t, "latin1", parts[0].Charset)
	require.False(t, parts[1].Sealed)
	require.True(t, parts[1].Attachment)
}

func TestWalkLimits(t *testing.T) {
	deep := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return b.String() + "\r\nx\r\n"
	}
	messages := func(n int) string { return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n) + "A: b\r\n\r\nx" }
	many := func(n int) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", n)
	}
	for _, c := range []struct {
		name, msg string
		want      error
	}{
		{"50 deep", deep(50), nil}, {"51 deep", deep(51), ErrDepth}, {"3000 deep", deep(3000), ErrDepth},
		{"50 messages", messages(50), nil}, {"51 messages", messages(51), ErrDepth},
		{"1000 parts", many(1000), nil}, {"1001 parts", many(1001), ErrParts},
	} {
		t.Run(c.name, func(t *testing.T) {
			hdr, body := Split([]byte(c.msg))
			_, err := Walk(Parse(hdr), body, wide)
			require.ErrorIs(t, err, c.want)
		})
	}
}

func FuzzWalk(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: message/rfc822\r\n\r\nX: y\r\n\r\n--a--\r\n"))
	f.Add([]byte("\n--\n"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		hdr, body := Split(msg)
		parts, err := Walk(Parse(hdr), body, Limits{Depth: 5, Parts: 10})
		if err != nil {
			return
		}
		at := 0
		for _, p := range parts {
			require.LessOrEqual(t, at, p.Start)
			require.LessOrEqual(t, p.Start, p.End)
			require.LessOrEqual(t, p.End, len(body))
			at = p.End
		}
	})
}

func BenchmarkWalk50K(b *testing.B) {
	msg := []byte("Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat(strings.Repeat("x", 74)+"\r\n", 330) +
		"--b\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat(strings.Repeat("y", 74)+"\r\n", 330) + "--b--\r\n")
	hdr, body := Split(msg)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := Walk(Parse(hdr), body, wide); err != nil {
			b.Fatal(err)
		}
	}
}
