package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a socket whose reads give the chunks one after the other.
type scripted struct {
	chunks [][]byte
	out    bytes.Buffer
	silent bool // the end is a timeout, not EOF
}

func (s *scripted) Read(p []byte) (int, error) {
	for len(s.chunks) > 0 && len(s.chunks[0]) == 0 {
		s.chunks = s.chunks[1:]
	}
	if len(s.chunks) == 0 {
		if s.silent {
			return 0, os.ErrDeadlineExceeded
		}
		return 0, io.EOF
	}
	n := copy(p, s.chunks[0])
	s.chunks[0] = s.chunks[0][n:]
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// recorder is a Handler that passes everything on and keeps faults.
type recorder struct {
	faults []error
	lines  []string
	closed int
	panics int
}

func (r *recorder) Open(*Conn) bool { return true }
func (r *recorder) Command(_ *Conn, line []byte) string {
	r.lines = append(r.lines, string(line))
	return string(line)
}
func (r *recorder) Continue(_ *Conn, line []byte) string { return "cont " + string(line) }
func (r *recorder) Reply(c *Conn, code int, lines []string) {
	c.Send(Reply{Code: code, Text: strings.Join(lines, "/")})
}
func (r *recorder) Fault(_ *Conn, err error) { r.faults = append(r.faults, err) }
func (r *recorder) Panicked(_ *Conn, _ any)  { r.panics++ }
func (r *recorder) Closed(*Conn)             { r.closed++ }

func newTest(opts *Options, chunks ...string) (*Conn, *scripted, *recorder) {
	s := &scripted{}
	for _, c := range chunks {
		s.chunks = append(s.chunks, []byte(c))
	}
	h := &recorder{}
	return New(s, h, opts), s, h
}

// readMessage reads one message the way the session does.
func readMessage(c *Conn, declared, limit int64) (*Message, error) {
	m, err := c.Reserve(context.Background(), time.Minute, declared)
	if err != nil {
		return nil, err
	}
	return m, c.ReadMessage(m, limit)
}

func TestReadGivesOneCommandAtATime(t *testing.T) {
	c, _, h := newTest(&Options{}, "NOOP\r\nRS", "ET\r", "\nQUIT\r\n")
	buf := make([]byte, 100)
	for _, want := range []string{"NOOP\r\n", "RSET\r\n", "QUIT\r\n"} {
		n, err := c.Read(buf)
		require.NoError(t, err)
		require.Equal(t, want, string(buf[:n]))
	}
	_, err := c.Read(buf)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, []error{io.EOF}, h.faults)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	require.Equal(t, 1, h.closed)
}

func TestBadCommandLines(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want error
	}{
		"bare LF":       {"NOOP\n", ErrBareLineEnd},
		"bare CR":       {"NO\rOP\r\n", ErrBareLineEnd},
		"CR CR LF":      {"NOOP\r\r\n", ErrBareLineEnd},
		"NUL":           {"NO\x00OP\r\n", ErrBareLineEnd},
		"LF alone":      {"\n", ErrBareLineEnd},
		"too long":      {strings.Repeat("x", MaxCommand) + "\r\n", ErrLineTooLong},
		"endless":       {strings.Repeat("x", 3*MaxCommand), ErrLineTooLong},
		"end in a line": {"NOO", io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, h := newTest(&Options{Linger: time.Millisecond}, tc.in, "QUIT\r\n")
			_, err := io.ReadAll(c)
			require.NoError(t, err)
			if tc.want == io.EOF {
				require.Empty(t, h.faults[1:])
				return
			}
			require.Len(t, h.faults, 1)
			require.ErrorIs(t, h.faults[0], tc.want)
			require.Empty(t, h.lines, "nothing behind it is a command")
			require.NoError(t, c.Close())
		})
	}
}

func TestLongestCommandPasses(t *testing.T) {
	line := strings.Repeat("x", MaxCommand-2)
	c, _, _ := newTest(&Options{}, line+"\r\n")
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, line+"\r\n", string(got))
}

func TestAnswerToChallengeMayBeLonger(t *testing.T) {
	line := strings.Repeat("x", 8000)
	c, _, h := newTest(&Options{}, line+"\r\nNOOP\r\n")
	_, err := c.Write([]byte("334 VXNlcg==\r\n"))
	require.NoError(t, err)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "cont "+line+"\r\nNOOP\r\n", string(got))
	require.Equal(t, []string{"NOOP"}, h.lines)
}

func TestRepliesWaitForTheEndOfInput(t *testing.T) {
	c, s, _ := newTest(&Options{}, "A\r\nB\r\n", "C\r\n")
	buf := make([]byte, 10)
	read := func() {
		_, err := c.Read(buf)
		require.NoError(t, err)
		_, err = c.Write([]byte("250 2.0.0 fine\r\n"))
		require.NoError(t, err)
	}
	read()
	require.Empty(t, s.out.String())
	read()
	require.Empty(t, s.out.String())
	read()
	require.Equal(t, "250 2.0.0 fine\r\n250 2.0.0 fine\r\n", s.out.String())
	require.NoError(t, c.Close())
	require.Equal(t, 3, strings.Count(s.out.String(), "fine"))
}

func TestReplyLinesComeWhole(t *testing.T) {
	c, s, _ := newTest(&Options{})
	for _, part := range []string{"250-a\r\n2", "50-b\r\n250", " c\r\n"} {
		_, err := c.Write([]byte(part))
		require.NoError(t, err)
	}
	require.NoError(t, c.Flush())
	require.Equal(t, "250 a/b/c\r\n", s.out.String())
}

func TestHandlerPanicEndsTheConnection(t *testing.T) {
	c, _, _ := newTest(&Options{}, "BOOM\r\nNOOP\r\n")
	h := &panicking{}
	c.handler = h
	_, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, 1, h.panics)
	_, err = c.Write([]byte("250 x\r\n"))
	require.Error(t, err)
}

type panicking struct{ recorder }

func (p *panicking) Command(*Conn, []byte) string { panic("boom") }

func TestReadMessage(t *testing.T) {
	long := strings.Repeat("y", 70_000)
	for name, tc := range map[string]struct {
		in, want, rest string
		longest        int
		err            error
	}{
		"empty":               {in: ".\r\n"},
		"one line":            {in: "a\r\n.\r\n", want: "a\r\n", longest: 1},
		"stuffed dots":        {in: "..\r\n.a\r\n...b\r\n.\r\n", want: ".\r\na\r\n..b\r\n", longest: 3},
		"commands behind":     {in: "a\r\n.\r\nMAIL\r\nQUIT\r\n", want: "a\r\n", rest: "MAIL\r\nQUIT\r\n", longest: 1},
		"dot inside":          {in: "a.\r\nb\r\n.\r\n", want: "a.\r\nb\r\n", longest: 2},
		"long line":           {in: long + "\r\n.\r\n", want: long + "\r\n", longest: 70_000},
		"8 bit":               {in: "\xff\xfe\r\n.\r\n", want: "\xff\xfe\r\n", longest: 2},
		"LF . LF":             {in: "a\n.\nMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"LF . CRLF":           {in: "a\n.\r\nMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"CRLF . LF":           {in: "a\r\n.\nMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"CRLF . CR":           {in: "a\r\n.\rMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"CR . CR":             {in: "a\r.\rMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"CR . CRLF":           {in: "a\r.\r\nMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"CRCRLF . CRLF":       {in: "a\r\r\n.\r\nMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"CRLF . CRCRLF":       {in: "a\r\n.\r\r\nMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"CRLF NUL . CRLF":     {in: "a\r\n\x00.\r\nMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"CRLF . NUL CRLF":     {in: "a\r\n.\x00\r\nMAIL\r\n.\r\n", err: ErrBareLineEnd},
		"LF first":            {in: "\n.\r\n", err: ErrBareLineEnd},
		"connection lost":     {in: "a\r\nb", err: io.ErrUnexpectedEOF},
		"lost before last LF": {in: "a\r\n.\r", err: io.ErrUnexpectedEOF},
		"bare behind the end": {in: "a\r\n.\r\nNO\nOP\r\n", want: "a\r\n", rest: "NO\nOP\r\n", longest: 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, 2, 3, 7, len(tc.in)} {
				c, _, h := newTest(&Options{Linger: time.Millisecond}, pieces(tc.in, step)...)
				m, err := readMessage(c, 0, 1<<20)
				if tc.err != nil {
					require.ErrorIs(t, err, tc.err)
					require.Len(t, h.faults, 1)
					left, err := io.ReadAll(c)
					require.NoError(t, err)
					require.Empty(t, left, "nothing of the body is a command")
					continue
				}
				require.NoError(t, err)
				require.Equal(t, tc.want, string(m.Raw))
				require.Equal(t, tc.longest, m.Longest)
				feed := make([]byte, 3)
				_, err = io.ReadFull(c, feed)
				require.NoError(t, err)
				require.Equal(t, ".\r\n", string(feed))
				left := append([]byte(nil), c.in[c.start:]...)
				for _, ch := range c.conn.(*scripted).chunks {
					left = append(left, ch...)
				}
				require.Equal(t, tc.rest, string(left))
				m.Release()
			}
		})
	}
}

// pieces cuts s into pieces of n octets.
func pieces(s string, n int) []string {
	var out []string
	for len(s) > n {
		out, s = append(out, s[:n]), s[n:]
	}
	return append(out, s)
}

func TestReadMessageGivesBackWhatWasSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune(".ab \tü")), 0, 200, -1), 0, 60).Draw(t, "lines")
		var want, wire strings.Builder
		for _, l := range lines {
			want.WriteString(l + "\r\n")
			if strings.HasPrefix(l, ".") {
				wire.WriteByte('.')
			}
			wire.WriteString(l + "\r\n")
		}
		wire.WriteString(".\r\n")
		step := rapid.IntRange(1, wire.Len()).Draw(t, "step")
		c, _, _ := newTest(&Options{}, pieces(wire.String(), step)...)
		m, err := readMessage(c, 0, 1<<20)
		if err != nil || string(m.Raw) != want.String() {
			t.Fatalf("got %q, %v", m.Raw, err)
		}
		m.Release()
	})
}

func TestReadMessageLimit(t *testing.T) {
	body := strings.Repeat(strings.Repeat("a", 98)+"\r\n", 50) // 5,000 octets
	for name, tc := range map[string]struct {
		in    string
		limit int64
		ok    bool
	}{
		"exactly":        {body, 5000, true},
		"stuffing free":  {strings.ReplaceAll(body, "a", "a")[:4900] + ".." + strings.Repeat("a", 97) + "\r\n", 5000, true},
		"one over":       {body, 4999, false},
		"far over":       {strings.Repeat(body, 40), 5000, false},
		"one long line":  {strings.Repeat("a", 300_000) + "\r\n", 5000, false},
		"long with dots": {"." + strings.Repeat(".", 300_000) + "\r\n.x\r\n", 5000, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBudget(1 << 20)
			c, _, h := newTest(&Options{Budget: b}, append(pieces(tc.in, 1000), ".\r\nNOOP\r\n")...)
			m, err := readMessage(c, 0, tc.limit)
			require.Empty(t, h.faults)
			if tc.ok {
				require.NoError(t, err)
				m.Release()
			} else {
				require.ErrorIs(t, err, ErrTooBig)
			}
			require.Zero(t, b.Used())
			rest, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, ".\r\nNOOP\r\n", string(rest), "the session goes on")
		})
	}
}

func TestBareLineEndFoundInUnwantedMessage(t *testing.T) {
	for _, tail := range []string{"\n.\r\n", "a\rb\r\n.\r\n", "\x00\r\n.\r\n"} {
		in := strings.Repeat("a", 100_000) + tail
		c, _, h := newTest(&Options{Linger: time.Millisecond}, append(pieces(in, 1111), "NOOP\r\n")...)
		_, err := readMessage(c, 0, 1000)
		require.ErrorIs(t, err, ErrBareLineEnd)
		require.Len(t, h.faults, 1)
	}
}

func TestBudget(t *testing.T) {
	b := NewBudget(40_000)
	body := strings.Repeat(strings.Repeat("a", 98)+"\r\n", 1000) + ".\r\n"
	c, _, h := newTest(&Options{Budget: b}, append(pieces(body, 900), "NOOP\r\n")...)
	_, err := readMessage(c, 0, 1<<20)
	require.ErrorIs(t, err, ErrNoMemory)
	require.Empty(t, h.faults)
	require.Zero(t, b.Used())

	first, err := c.Reserve(context.Background(), time.Minute, 35_000)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = c.Reserve(ctx, time.Minute, 0)
	require.ErrorIs(t, err, ErrNoMemory)
	first.Raw = getBuffer(1)
	first.Release()
	second, err := c.Reserve(context.Background(), time.Minute, 1<<40)
	require.NoError(t, err, "more than all there is takes all there is")
	require.EqualValues(t, 40_000, second.taken)
}

// TestSMTP_9_ClientsGetTheirTime: five minutes for a command, three for the
// next octets of a message (RFC 5321 section 4.5.3.2).
func TestSMTP_9_ClientsGetTheirTime(t *testing.T) {
	o := (&Options{}).withDefaults()
	require.GreaterOrEqual(t, o.Idle, 5*time.Minute)
	require.GreaterOrEqual(t, o.Block, 3*time.Minute)
}

func TestMessageTimeouts(t *testing.T) {
	c, s, h := newTest(&Options{}, "a\r\n")
	s.silent = true
	_, err := readMessage(c, 0, 1000)
	require.ErrorIs(t, err, ErrTimeout)
	require.Len(t, h.faults, 1)

	now := time.Unix(0, 0)
	c, _, _ = newTest(&Options{Data: time.Minute, Now: func() time.Time { now = now.Add(20 * time.Second); return now }},
		pieces(strings.Repeat("a\r\n", 100)+".\r\n", 1)...)
	_, err = readMessage(c, 0, 1000)
	require.ErrorIs(t, err, ErrTimeout, "a client that sends an octet now and then")
}

func TestStopWhileWaiting(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	h := &recorder{}
	c := New(far, h, &Options{})
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(c)
		done <- err
	}()
	require.Eventually(t, c.waiting.Load, 5*time.Second, time.Millisecond)
	c.Stop()
	require.NoError(t, <-done)
	require.Len(t, h.faults, 1)
	require.ErrorIs(t, h.faults[0], ErrStopping)
	require.NoError(t, c.Close())
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("a\r\n..b\r\n.\r\nQUIT\r\n"), 3)
	f.Add([]byte("a\n.\r\n.\r\n"), 1)
	f.Add([]byte("\r\n.\r.\r\n.\r\n"), 2)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		if step < 1 || len(in) > 64<<10 {
			return
		}
		c, _, _ := newTest(&Options{Linger: time.Millisecond}, pieces(string(in), step)...)
		m, err := readMessage(c, 0, 4096)
		end := bytes.Index(append([]byte("\r\n"), in...), []byte("\r\n.\r\n"))
		if errors.Is(err, ErrTooBig) {
			return
		}
		if err != nil {
			bare := end < 0 || bytes.ContainsAny(bytes.ReplaceAll(in, []byte("\r\n"), nil), "\r\n\x00")
			require.True(t, bare, "a clean message was refused: %q", in)
			return
		}
		require.GreaterOrEqual(t, end, 0)
		clean := bytes.ReplaceAll(m.Raw, []byte("\r\n"), nil)
		require.False(t, bytes.ContainsAny(clean, "\r\n\x00"), "%q", m.Raw)
		var again []byte
		for _, l := range bytes.SplitAfter(m.Raw, []byte("\r\n")) {
			if len(l) > 0 && l[0] == '.' {
				again = append(again, '.')
			}
			again = append(again, l...)
		}
		sent := in[:max(end, 0)]
		if end > 0 {
			sent = in[:end] // the two octets put before are not counted
		}
		require.Equal(t, unstuff(sent), unstuff(again), "%q", in)
		m.Release()
	})
}

// unstuff removes the leading dot of each line.
func unstuff(b []byte) string {
	lines := strings.SplitAfter(string(b), "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, ".")
	}
	return strings.Join(lines, "")
}
