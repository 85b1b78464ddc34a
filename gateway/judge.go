package gateway

import "context"

// Judge decides about mail; *Engine is the one of the gateway. Its methods are
// called concurrently. What they return is mapped to replies by reply.go: a
// *Denial by its reason, anything else as 451 4.3.0 (design D4).
type Judge interface {
	// Rcpt is asked at RCPT. It gives nil where only the header can tell the
	// stream, or where the recipient may be mailed; else a *Denial.
	// env.Recipients holds those accepted before.
	Rcpt(ctx context.Context, env *Envelope, rcpt EnvelopeRecipient) error
	// Data judges and spools a whole message. raw is header and body as
	// received: dot-unstuffed, each line ended by CRLF, without bare CR, LF or
	// NUL. The buffer is used again once Data has returned: what is kept must
	// be copied. An error is about the whole message; otherwise the Outcome
	// has one entry per recipient of env, and all nil entries are durable.
	// Where all recipients are denied over SMTP, the error is the first denial.
	Data(ctx context.Context, env *Envelope, raw []byte) (Outcome, error)
}
