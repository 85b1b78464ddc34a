// Package gateway is the relay: it takes mail by SMTP and LMTP, matches it to
// a stream, asks consent, gives a verdict per recipient and spools what may
// leave (design.md, flow 1). It never imports intake or queue.
package gateway
