package gateway

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkServer measures the protocol side alone: pipelining clients over
// loopback, a judge that accepts everything. Half of the work is the client's.
func BenchmarkServer(b *testing.B) {
	for _, size := range []int{4 << 10, 50 << 10} {
		for _, sessions := range []int{1, 20, 100} {
			b.Run(fmt.Sprintf("%dKiB/x%d", size>>10, sessions), func(b *testing.B) { benchServer(b, size, sessions, 1) })
		}
	}
	b.Run("4KiB/x20/50rcpt", func(b *testing.B) { benchServer(b, 4<<10, 20, 50) })
}

func benchServer(b *testing.B, size, sessions, rcpts int) {
	s := serve(b, acceptAll{}, ServerOptions{Listeners: []Listener{open("smtp")}})
	envelope := "MAIL FROM:<news@example.org>\r\n" + strings.Repeat("RCPT TO:<ann@example.net>\r\n", rcpts) + "DATA\r\n"
	body := []byte(strings.Repeat("0123456789012345678901234567890123456789012345678901234567890123456789\r\n", size/72) + ".\r\n")
	conns := make([]net.Conn, sessions)
	for i := range conns {
		c, err := net.Dial("tcp", s.Addrs()["in"].String())
		require.NoError(b, err)
		defer c.Close()
		conns[i] = c
	}
	b.ResetTimer()
	b.ReportAllocs()
	var work sync.WaitGroup
	for i, c := range conns {
		n := b.N / sessions
		if i < b.N%sessions {
			n++
		}
		work.Go(func() { benchClient(b, c, []byte(envelope), body, rcpts, n) })
	}
	work.Wait()
}

func benchClient(b *testing.B, c net.Conn, envelope, body []byte, rcpts, n int) {
	r := bufio.NewReader(c)
	expect := func(lines int, code string) {
		for range lines {
			l, err := r.ReadSlice('\n')
			if err != nil || string(l[:3]) != code && lines == 1 {
				b.Errorf("got %q, %v", l, err)
				return
			}
		}
	}
	expect(1, "220")
	_, _ = c.Write([]byte("EHLO x.example\r\n"))
	expect(7, "250")
	for range n {
		_, _ = c.Write(envelope)
		expect(rcpts+2, "")
		_, _ = c.Write(body)
		expect(1, "250")
	}
}

// acceptAll is a judge that keeps nothing.
type acceptAll struct{}

func (acceptAll) Rcpt(context.Context, *Envelope, EnvelopeRecipient) error { return nil }
func (acceptAll) Data(_ context.Context, env *Envelope, _ []byte) (Outcome, error) {
	return Outcome{ID: "m1", Recipients: make([]error, len(env.Recipients))}, nil
}
