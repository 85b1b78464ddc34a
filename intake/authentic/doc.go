// Package authentic grades how sure the sender of a mail is (design D13): by
// an own DKIM check of the received bytes (RFC 6376), and by the
// Authentication-Results of the one server that is trusted (AUTHN-6), or by the
// ARC seals of forwarders that are (RFC 8617).
package authentic
