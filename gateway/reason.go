package gateway

// Reason is why a verdict is not "allow". The set is closed: each has its
// reply in the table of reply.go and its label in the metrics (design D3).
type Reason string

const (
	NoConsent        Reason = "no-consent"
	Unconfirmed      Reason = "unconfirmed"
	ConsentWithdrawn Reason = "withdrawn"
	ConsentExpired   Reason = "expired"
	UnprovenImport   Reason = "unproven-import"
	Suppressed       Reason = "suppressed" // detail: the consent.Reason
	HeaderMissing    Reason = "header-missing"
	Malformed        Reason = "malformed"
	FromDenied       Reason = "from-not-allowed"
	StreamDenied     Reason = "stream-not-allowed"
	NullMarketing    Reason = "null-reverse-path"
	SplitRecipients  Reason = "split-recipients"
	LooksMarketing   Reason = "looks-like-marketing"
	AlreadySigned    Reason = "already-signed"
	Loop             Reason = "loop"
	TooBig           Reason = "too-big"
	StoreUnavailable Reason = "store-unavailable"
	SignerFailed     Reason = "signing-unavailable"
	SpoolFull        Reason = "spool-full"
	Stopping         Reason = "stopping"
	Busy             Reason = "busy"
	Internal         Reason = "internal"
)

// Denial is the typed answer to a recipient or message that does not go
// through: its reply is 4yz where Defer is set, 5yz otherwise.
type Denial struct {
	Reason Reason
	Detail string // closed word or header field name; never an address, never foreign text
	Defer  bool
	Err    error // cause for the log, not for the reply
}

// Error names reason and detail, for logs.
func (d *Denial) Error() string {
	s := string(d.Reason)
	if d.Detail != "" {
		s += ":" + d.Detail
	}
	if d.Err != nil {
		s += ": " + d.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (d *Denial) Unwrap() error { return d.Err }

// Temporary tells whether the same message may pass later.
func (d *Denial) Temporary() bool { return d.Defer }
