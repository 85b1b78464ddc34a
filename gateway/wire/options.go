package wire

import (
	"crypto/tls"
	"time"
)

// Limits in octets, CRLF included (RFC 5321 section 4.5.3.1, RFC 4954
// section 4). A command line may be longer than 512 because each extension
// adds to it.
const (
	MaxCommand = 2048
	MaxAuth    = 12288
	MaxReply   = 512
)

// Options of a Conn. The zero value works, without TLS and budget.
type Options struct {
	// TLS lets StartTLS work; nil: no TLS.
	TLS *tls.Config
	// Implicit starts TLS before the greeting (RFC 8314 section 3.3).
	Implicit bool
	// Idle is how long the next command may take. Default 5 min
	// (RFC 5321 section 4.5.3.2.7).
	Idle time.Duration
	// Block is how long the next octets of message data may take. Default
	// 3 min (RFC 5321 section 4.5.3.2.5).
	Block time.Duration
	// Data is how long a whole message may take. Default 30 min.
	Data time.Duration
	// Write is how long the client may take to read our replies. Default 1 min.
	Write time.Duration
	// Handshake bounds a TLS handshake. Default 30 s.
	Handshake time.Duration
	// Linger is how long what a refused client still sends is read and thrown
	// away, so that it gets to see our last reply. Default 2 s.
	Linger time.Duration
	// Budget bounds the memory of all messages being received. Default: no bound.
	Budget *Budget
	// Now is the clock for Data. Default time.Now.
	Now func() time.Time
}

func (o *Options) withDefaults() *Options {
	out := *o
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&out.Idle, 5*time.Minute)
	def(&out.Block, 3*time.Minute)
	def(&out.Data, 30*time.Minute)
	def(&out.Write, time.Minute)
	def(&out.Handshake, 30*time.Second)
	def(&out.Linger, 2*time.Second)
	if out.Now == nil {
		out.Now = time.Now
	}
	return &out
}
