package unsubscribe

import (
	"net/http"
	"time"
)

// Server makes the listener for the public pages with limits that a flood of
// scanners and slow clients meets: a header in 5 s and under 16 KiB, a whole
// request in 15 s, an answer in 20 s, idle connections for 60 s. Bodies are
// limited to 64 KiB by the pages. HTTP/1.1 and, inside TLS, HTTP/2.
func Server(h http.Handler, addr string) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 32},
	}
}
