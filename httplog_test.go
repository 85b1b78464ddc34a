package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestComplaintsOfServersNameNoClient(t *testing.T) {
	for line, want := range map[string][]string{
		"http: TLS handshake error from 203.0.113.9:51234: EOF":                                                              {"DEBUG", "tls handshake failed", "why=EOF"},
		"http: TLS handshake error from [2001:db8::17]:51234: remote error: tls: bad certificate":                            {"DEBUG", `"bad certificate"`},
		"http: TLS handshake error from 203.0.113.9:1: read tcp 10.1.2.3:443->203.0.113.9:51234: connection reset by peer":   {"connection reset by peer"},
		"http: TLS handshake error from 203.0.113.9:1: read tcp 10.1.2.3:443->203.0.113.9:51234":                             {"[client] [client]"},
		"http2: server: error reading preface from client 203.0.113.9:51234: read tcp [::1]:443->203.0.113.9:2: i/o timeout": {"DEBUG", "http connection failed", `"i/o timeout"`},
		"http: Accept error: accept tcp 10.1.2.3:443: too many open files; retrying in 5ms":                                  {"WARN", "too many open files"},
		`http: invalid byte 'x' in Cookie.Value of "anna@example.net"`:                                                       {"WARN", "[quoted]"},
		`http: about anna@example.net, and "half a quote of 203.0.113.9`:                                                     {"[client]", "[quoted]"},
		"http: panic serving 203.0.113.9:51234: no such person: anna@example.net\ngoroutine 7 [running]:\nnet/http.(*conn).serve.func1()\n\t/usr/src/net/http/server.go:1947 +0xbe\nmain.page(0xc00012)\n\t/src/postern/page.go:12 +0x1d": {
			"ERROR", "fault of our own", "server.go:1947 page.go:12"},
	} {
		var b bytes.Buffer
		httpErrors(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))).Println(line)
		require.Equal(t, 1, strings.Count(b.String(), "\n"), "one record: %s", b.String())
		for _, w := range want {
			require.Contains(t, b.String(), w, line)
		}
		for _, hidden := range []string{"203.0.113.9", "2001:db8", "10.1.2.3", "::1", "anna"} {
			require.NotContains(t, b.String(), hidden, line)
		}
	}
}

// lockedBuffer is written by a server and read by its test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A real server whose client breaks off the handshake, and whose page panics.
func TestServersComplainIntoTheLog(t *testing.T) {
	var out lockedBuffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("about anna@example.net") })
	helper := httptest.NewUnstartedServer(handler) // for its certificate
	helper.StartTLS()
	defer helper.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- serveHTTP(ctx, &http.Server{Handler: handler}, tls.NewListener(l, &tls.Config{Certificates: helper.TLS.Certificates}), log)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	_, _ = io.ReadAll(conn)
	require.NoError(t, conn.Close())
	_, err = helper.Client().Get("https://" + l.Addr().String() + "/")
	require.Error(t, err)
	require.Eventually(t, func() bool {
		return strings.Contains(out.String(), "tls handshake failed") && strings.Contains(out.String(), "fault of our own")
	}, 10*time.Second, 5*time.Millisecond)
	stop()
	require.NoError(t, <-ended)
	require.Contains(t, out.String(), "httplog_test.go:")
	require.NotContains(t, out.String(), "127.0.0.1")
	require.NotContains(t, out.String(), "anna")
}
