// Package authentic grades how sure the sender of a mail is (design D13): by
// an own DKIM check of the received bytes (RFC 6376), and by the
// Authentication-Results of the one server that is trusted (AUTHN-6).
package authentic
