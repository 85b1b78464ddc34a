package gateway

import (
	"net"
	"net/textproto"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// memory is what the process holds after a collection, in octets. Both ends
// of the test's connections count.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestManyConnections holds 1,000 idle connections beside 200 that send 512
// KiB messages all at once, which together exceed the memory allowed six times.
func TestManyConnections(t *testing.T) {
	const idle, busy, allowed = 1000, 200, 16 << 20
	s := serve(t, acceptAll{}, ServerOptions{Listeners: []Listener{open("smtp")}, MaxConns: 2000, MaxConnsPerIP: 2000,
		MaxMessageBytes: 1 << 20, Memory: allowed, MemoryWait: time.Minute, Grace: 10 * time.Second})
	before := memory()
	for range idle {
		c, err := net.Dial("tcp", s.Addrs()["in"].String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
		buf := make([]byte, 64)
		_, err = c.Read(buf)
		require.NoError(t, err)
	}
	each := (memory() - before) / idle
	t.Logf("an idle connection takes %d octets", each)
	require.Less(t, each, int64(48<<10))

	stop, most := make(chan struct{}), make(chan [2]int64, 1)
	go func() { most <- s.watch(stop) }()
	body := strings.Repeat(strings.Repeat("a", 126)+"\r\n", 4096) + ".\r\n"
	faults := make(chan error, busy)
	for range busy {
		go func() { faults <- sendOne(s.Addrs()["in"].String(), body) }()
	}
	for range busy {
		require.NoError(t, <-faults)
	}
	close(stop)
	peak := <-most
	t.Logf("peak: %d octets reserved, %d in use by the process", peak[0], peak[1])
	require.LessOrEqual(t, peak[0], int64(allowed))
	require.Less(t, peak[1]-before, int64(4*allowed+idle*48<<10))
	require.Zero(t, s.budget.Used())
}

// sendOne delivers one message and wants every reply to be positive.
func sendOne(addr, body string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	c := textproto.NewConn(conn)
	for _, step := range []struct {
		send string
		want int
	}{
		{"", 220}, {"EHLO x.example", 250}, {"MAIL FROM:<a@example.org> SIZE=524288", 250}, {"RCPT TO:<ann@example.net>", 250},
		{"DATA", 354}, {strings.TrimSuffix(body, "\r\n"), 250}, {"QUIT", 221},
	} {
		if step.send != "" {
			if err := c.PrintfLine("%s", step.send); err != nil {
				return err
			}
		}
		if _, _, err := c.ReadResponse(step.want); err != nil {
			return err
		}
	}
	return nil
}

// watch samples the memory reserved and the heap in use until stop.
func (s *Server) watch(stop <-chan struct{}) (most [2]int64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var m runtime.MemStats
	for {
		select {
		case <-stop:
			return most
		case <-tick.C:
			runtime.ReadMemStats(&m)
			most[0] = max(most[0], s.budget.Used())
			most[1] = max(most[1], int64(m.HeapInuse+m.StackInuse))
		}
	}
}
