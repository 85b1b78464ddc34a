package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/spool"
)

// script is a hop that says what it was told to, whatever it is sent.
type script struct {
	net.Conn
	says io.Reader
	sent bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)       { return s.says.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.sent.Write(p) }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) Close() error                     { return nil }

// FuzzFlight is a hop that answers rubbish to several messages in one flight:
// nothing counts as delivered without a positive reply of its own, no more
// transactions are answered than there were replies, and a transaction that
// was not reached is not in doubt.
func FuzzFlight(f *testing.F) {
	hello := "220 hop\r\n250-hop\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
	f.Add([]byte(hello+"250 a\r\n250 b\r\n250 c\r\n250 rset\r\n250 d\r\n550 e\r\n503 f\r\n250 rset\r\n250 g\r\n250 h\r\n250 i\r\n"), 3, true)
	f.Add([]byte("220 hop\r\n250-hop\r\n250 PIPELINING\r\n250 a\r\n250 b\r\n354 c\r\n250 d\r\n250 rset\r\n250 e\r\n450 f\r\n354 g\r\n554 h\r\n"), 2, true)
	f.Add([]byte("220 hop\r\n250 hop\r\n250 a\r\n250 b\r\n354 c\r\n250 d\r\n250 a\r\n421 b\r\n"), 4, true)
	f.Add([]byte(hello+"250 a\r\n250 b\r\n421 c\r\n"), 2, true)
	f.Add([]byte(hello+"250 a\r\n250 b\r\n250 c\r\n250 d\r\n550 e\r\n503 f\r\n250 rset\r\n250 g\r\n250 h\r\n250 i\r\n"), 3, false)
	f.Fuzz(func(t *testing.T, says []byte, n int, prompt bool) {
		if n < 1 || n > 20 {
			return
		}
		wire := &script{says: bytes.NewReader(says)}
		opts := Options{Smarthosts: []Smarthost{{Address: "192.0.2.1:25", TLS: TLSNone}}}.withDefaults()
		opts.Dial = dialTo(wire)
		h, err := newHost(opts.Smarthosts[0], opts)
		require.NoError(t, err)
		if prompt { // else the message waits for the replies to its envelope
			h.took(1, 0)
		}
		c, err := h.dial(t.Context())
		if err != nil {
			return
		}
		var txs []*transaction
		for i := range n {
			m := &spool.Message{Recipients: []spool.Recipient{{Address: address.MustParse(fmt.Sprintf("r%d@example.org", i))}}}
			txs = append(txs, &transaction{m: m, cp: Copy{Recipients: []int{0}, Header: []byte("A: b\r\n"), Body: []byte("x\r\n")}})
		}
		err = c.send(t.Context(), txs)
		positive := bytes.Count(append([]byte("\n"), says...), []byte("\n2"))
		delivered, stopped := 0, false
		for _, tx := range txs {
			require.False(t, stopped && (tx.over || tx.dotted), "one behind the break was answered")
			stopped = stopped || tx.unfit == nil && !tx.over
			for _, v := range tx.verdicts {
				if v.known && v.reply.class() == 2 {
					require.True(t, tx.over && tx.dotted)
					delivered++
				}
			}
		}
		require.LessOrEqual(t, 3*delivered, positive, "each takes a MAIL, a RCPT and a final reply")
		if err == nil {
			require.False(t, stopped)
		}
	})
}

func dialTo(c net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return c, nil }
}
