package unsubscribe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// from dials from one loopback address.
func from(t *testing.T, source, to string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 10 * time.Second}
	return d.Dial("tcp", to)
}

// UNS-5: scanners hold connections open, send headers that never end and ask
// as fast as they can; the memory stays bounded, and a person's opt-out from
// elsewhere is answered at once.
func TestUNS5_FloodIsBounded(t *testing.T) {
	g := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := Server(g, "")
	door := Limit(l, Crowd{Most: 400, PerClient: 50}).(*door)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(door) }()
	addr := l.Addr().String()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)

	var held []net.Conn
	for place := range 6 { // each opens far more than it may have
		for range 200 {
			c, err := from(t, fmt.Sprintf("127.0.0.%d", 10+place), addr)
			require.NoError(t, err)
			_, _ = c.Write([]byte("GET /u/" + g.token(1) + " HTTP/1.1\r\nHost: x\r\nX-Never: ends\r\n")) // may be closed already
			held = append(held, c)
		}
	}
	env.Eventually(t, 10*time.Second, "the flood to be inside", func() bool {
		door.mu.Lock()
		defer door.mu.Unlock()
		return door.total == 300 && len(door.inside) == 6
	})

	var asked atomic.Int64
	stop := make(chan struct{})
	var flood sync.WaitGroup
	for range 20 {
		flood.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for {
				select {
				case <-stop:
					return
				default:
				}
				if resp, err := client.Get("http://" + addr + "/u/" + g.token(1)); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					asked.Add(1)
				}
			}
		})
	}
	env.Eventually(t, 30*time.Second, "scanners to ask", func() bool { return asked.Load() > 500 })

	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 99)}}
	person := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	start := time.Now()
	resp, err := person.Post("http://"+addr+"/u/"+g.token(2), urlencoded, strings.NewReader(pairBody))
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Less(t, time.Since(start), 8*time.Second, "mailbox providers wait about ten seconds")
	require.Len(t, g.reg.standing(), 1, "and nothing else was changed")

	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(40<<20), "300 held connections of 1,200, and the flood")
	close(stop)
	flood.Wait()
	for _, c := range held {
		_ = c.Close()
	}
	person.CloseIdleConnections()
	require.NoError(t, srv.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	door.mu.Lock()
	defer door.mu.Unlock()
	require.Zero(t, door.total, "whoever left has left")
	require.Empty(t, door.inside)
}

func TestPlaces(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7/32", "[::ffff:192.0.2.7]:80": "192.0.2.7/32", "[2001:db8:1:2:3::4]:80": "2001:db8:1:2::/64",
	} {
		require.Equal(t, want, placeOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text))).String())
	}
	require.Equal(t, netip.Prefix{}, placeOf(&net.UnixAddr{}))
	l := Limit(closed{}, Crowd{})
	_, err := l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

// closed is a listener that has ended.
type closed struct{ net.Listener }

func (closed) Accept() (net.Conn, error) { return nil, errors.Join(net.ErrClosed) }
