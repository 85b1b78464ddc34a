// Package classifier reads what a mail to privacy@ asks. It is pure: text in,
// labels with scores and reasons out; no network, no clock (design D14).
package classifier
