package wire

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// endless is a socket that never stops sending the same.
type endless struct {
	scripted
	what []byte
	sent int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.what[(e.sent+int64(n))%int64(len(e.what)):])
	}
	e.sent += int64(n)
	return n, nil
}

// TestEndlessMessage: what never ends is cut off, and never takes memory.
func TestEndlessMessage(t *testing.T) {
	for name, what := range map[string]string{
		"lines":    "0123456789012345678901234567890123456789\r\n",
		"one line": "0123456789",
		"dots":     "..\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			budget := NewBudget(1 << 20)
			sock := &endless{what: []byte(what)}
			h := &recorder{}
			c := New(sock, h, &Options{Budget: budget, Linger: time.Millisecond})
			_, err := readMessage(c, 0, 100_000)
			require.ErrorIs(t, err, ErrTooBig)
			require.Len(t, h.faults, 1, "the connection has ended")
			require.Zero(t, budget.Used())
			require.Less(t, sock.sent, int64(maxDiscard+2<<20))
			rest, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Empty(t, rest)
		})
	}
}

// TestBurstOfCommandsGivesItsMemoryBack: what was read ahead behind a message
// does not stay with the connection.
func TestBurstOfCommandsGivesItsMemoryBack(t *testing.T) {
	burst := bytes.Repeat([]byte("NOOP\r\n"), 20_000)
	c, sock, h := newTest(&Options{}, "a\r\n.\r\n"+string(burst))
	sock.silent = true
	m, err := readMessage(c, 0, 1<<20)
	require.NoError(t, err)
	m.Release()
	_, err = io.ReadAll(c)
	require.NoError(t, err)
	require.Len(t, h.lines, 20_000)
	require.Equal(t, []error{ErrTimeout}, h.faults)
	require.LessOrEqual(t, cap(c.in), 4*inputSize)
}
