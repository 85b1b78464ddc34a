package delivery

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestReadReply(t *testing.T) {
	for _, c := range []struct {
		in     string
		code   int
		status string
		text   string
	}{
		{"250 2.0.0 OK\r\n", 250, "2.0.0", "OK"},
		{"250\r\n", 250, "", ""},
		{"250 \n", 250, "", ""},
		{"550-5.1.1 no\r\n550 5.1.1 such user\r\n", 550, "5.1.1", "no such user"},
		{"550 4.1.1 class differs\r\n", 550, "", "4.1.1 class differs"},
		{"599 what\r\n", 599, "", "what"},
		{"250 caf\xc3\xa9\x07\r\n", 250, "", "caf???"},
		{"600 x\r\n", 0, "", ""},
		{"199 x\r\n", 0, "", ""},
		{"25\r\n", 0, "", ""},
		{"250x\r\n", 0, "", ""},
		{"hello\r\n", 0, "", ""},
		{"250-a\r\n251 b\r\n", 0, "", ""},
		{"250-a\r\n", 0, "", ""},
		{strings.Repeat("2", 5000) + "\r\n", 0, "", ""},
		{strings.Repeat("250-x\r\n", 200) + "250 x\r\n", 0, "", ""},
	} {
		rep, err := readReply(bufio.NewReaderSize(strings.NewReader(c.in), maxReplyLine))
		if c.code == 0 {
			require.Error(t, err, "%.40q", c.in)
			continue
		}
		require.NoError(t, err, "%q", c.in)
		require.Equal(t, reply{c.code, c.status, c.text}, rep)
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("250-first\r\n250 2.0.0 last\r\n"))
	f.Add([]byte("421 4.3.2 closing\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rep, err := readReply(bufio.NewReaderSize(bytes.NewReader(b), maxReplyLine))
		if err != nil {
			return
		}
		require.True(t, rep.class() >= 2 && rep.class() <= 5)
		require.LessOrEqual(t, len(rep.text), maxReplyText)
		require.True(t, ascii([]byte(rep.text)))
		require.NotContains(t, rep.text, "\r")
		require.NotContains(t, rep.text, "\n")
		if rep.status != "" {
			require.True(t, validStatus(rep.status))
			require.Equal(t, rep.class(), int(rep.status[0]-'0'))
		}
	})
}

// unstuff reads DATA as RFC 5321 section 4.5.2 says; rest is what follows.
func unstuff(b []byte) (data, rest []byte, ok bool) {
	for {
		i := bytes.Index(b, crlf)
		if i < 0 {
			return nil, nil, false
		}
		line := b[:i+2]
		b = b[i+2:]
		if string(line) == ".\r\n" {
			return data, b, true
		}
		if line[0] == '.' {
			line = line[1:]
		}
		data = append(data, line...)
	}
}

// TestWhatLeavesIsOneMessage: whatever passes lineEnds is read back by the hop
// octet by octet, and nothing of it is left over as a command.
func TestWhatLeavesIsOneMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"\r\n", ".", "\n", "\r", "a", "..", "\r\n.\r\n", "QUIT\r\n", "\x00", "ü"})
		header := strings.Join(rapid.SliceOf(piece).Draw(t, "header"), "") + "X: y\r\n"
		body := strings.Join(rapid.SliceOf(piece).Draw(t, "body"), "")
		cp := Copy{Header: []byte(header), Body: []byte(body)}
		bare := strings.ReplaceAll(header+"\r\n"+body, "\r\n", "")
		fine := !strings.ContainsAny(bare, "\r\n")
		if ends := lineEnds(cp.Header, cp.Body); ends != fine && ends {
			t.Fatalf("passes with a bare CR or LF: %q", header+"\r\n"+body)
		}
		if !lineEnds(cp.Header, cp.Body) {
			return
		}
		data, rest, ok := unstuff(bytes.Join(stuffed(cp), nil))
		if !ok || len(rest) > 0 {
			t.Fatalf("left over: %q", rest)
		}
		want := header + "\r\n" + body
		if body != "" && !strings.HasSuffix(body, "\r\n") {
			want += "\r\n"
		}
		if string(data) != want {
			t.Fatalf("%q arrived as %q", want, data)
		}
	})
}
