// Package dkim signs what leaves (RFC 6376, RFC 8301, RFC 8463): rsa-sha256
// with, where configured, an ed25519-sha256 signature beside it, relaxed over
// header and body, never with l=. The body is hashed once for any number of
// copies, and the header is canonicalised once for both signatures; the
// go-msgauth signer can do neither, so it only verifies here, in the tests.
package dkim
