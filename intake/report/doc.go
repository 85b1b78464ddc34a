// Package report tells machine mail from letters by structure, before any
// text is classified: delivery status notifications (RFC 3464), abuse reports
// (RFC 5965), automatic replies (RFC 3834), disposition notifications
// (RFC 8098), and what merely looks like them. A person's words in an odd
// envelope are never machine mail: in doubt the answer is None.
package report
