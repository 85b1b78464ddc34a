// Package preflight looks at a marketing message as it arrived in a mailbox
// and tells what a mailbox provider would object to: the unsubscribe fields
// (RFC 8058, RFC 2369), the signatures over them (RFC 6376), alignment and the
// DNS records behind it (RFC 9989, RFC 7208), and whether the link works. It
// reaches the network only through what its caller hands in.
package preflight
