package smarthost

import (
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTakesAndKeeps(t *testing.T) {
	s, err := New(Options{})
	require.NoError(t, err)
	require.NoError(t, smtp.SendMail(s.Addr(), nil, "a@example.org", []string{"b@example.net", "c@example.net"}, []byte("Subject: x\r\n\r\n.dot\r\n")))
	require.NoError(t, s.Close())
	got := s.Messages()
	require.Len(t, got, 1)
	require.Equal(t, "a@example.org", got[0].From)
	require.Equal(t, []string{"b@example.net", "c@example.net"}, got[0].To)
	require.Equal(t, "Subject: x\r\n\r\n.dot\r\n", string(got[0].Data))
	require.WithinDuration(t, time.Now(), got[0].At, time.Minute)
}

// say sends raw octets and returns all replies.
func say(t *testing.T, s *Server, octets string) []string {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = c.Write([]byte(octets))
	require.NoError(t, err)
	var out []string
	r := textproto.NewConn(c)
	for {
		line, err := r.ReadLine()
		if err != nil {
			return out
		}
		out = append(out, line)
	}
}

func TestOnlyCRLFDotCRLFEndsData(t *testing.T) {
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\n\n.\r\n"} {
		s, err := New(Options{})
		require.NoError(t, err)
		say(t, s, "EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\none"+end+"MAIL FROM:<evil@example.org>\r\n.\r\nQUIT\r\n")
		require.NoError(t, s.Close())
		got := s.Messages()
		require.Len(t, got, 1, "%q", end)
		require.Contains(t, string(got[0].Data), "evil", "it is part of the message")
	}
}

func TestScript(t *testing.T) {
	s, err := New(Options{Script: func(e Event) (a Answer) {
		switch {
		case e.Verb == "RCPT" && strings.HasPrefix(e.Arg, "no"):
			a.Reply = "550 5.1.1 no"
		case e.Verb == "." && e.Msg.To[0] == "drop@example.org":
			a.Drop = true
		}
		return a
	}})
	require.NoError(t, err)
	defer s.Close()
	replies := say(t, s, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<no@example.org>\r\nRCPT TO:<yes@example.org>\r\nBDAT 3 LAST\r\nabcQUIT\r\n")
	require.Equal(t, []string{"250 2.1.0 OK", "550 5.1.1 no", "250 2.1.5 OK", "250 2.0.0 Taken", "221 2.0.0 Bye"}, replies[len(replies)-5:])
	require.EqualValues(t, 1, s.Count())
	replies = say(t, s, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<drop@example.org>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
	require.Equal(t, "354 Go ahead", replies[len(replies)-1])
	require.EqualValues(t, 1, s.Count())
}
