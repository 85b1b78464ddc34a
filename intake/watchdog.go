package intake

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// watched is a connection that closes itself when a guarded command gets no
// byte for too long. The IMAP library sets and clears read deadlines of its
// own and has none for a command as a whole.
type watched struct {
	net.Conn
	last atomic.Int64 // when a byte last came, in ns of the monotonic clock
}

var epoch = time.Now()

func watch(c net.Conn) *watched {
	w := &watched{Conn: c}
	w.touch()
	return w
}

func (w *watched) touch() { w.last.Store(int64(time.Since(epoch))) }

// Read notes that the peer lives.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.touch()
	}
	return n, err
}

// guard closes the connection when limit passes without a byte, until the
// returned function is called.
func (w *watched) guard(limit time.Duration) func() {
	w.touch()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		t := time.NewTimer(limit)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				idle := time.Since(epoch) - time.Duration(w.last.Load())
				if idle >= limit {
					_ = w.Close()
					return
				}
				t.Reset(limit - idle)
			}
		}
	}()
	return func() { close(stop); wg.Wait() }
}
