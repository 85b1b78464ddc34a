package gateway

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"postern/gateway/consent"
	"postern/gateway/wire"
)

// answer is one row of the reply table: code and enhanced code (RFC 3463, RFC
// 5248), a stable tag and a short reason. Its texts never name a person.
type answer struct {
	code   int
	status string
	tag    string
	text   string
	detail string // word under which a Denial's Detail is told: "field", "purpose" or ""
}

// denials maps every Reason to its reply (standards.md, table 1). The first
// row is the permanent one; where a reason is temporary by nature there is no
// other. A Denial with Defer set gets deferred where its row is permanent.
var denials = map[Reason]answer{
	NoConsent:        {550, "5.7.1", "NO-CONSENT", "no consent on record", "purpose"},
	Unconfirmed:      {550, "5.7.1", "NO-CONSENT", "consent was not confirmed", "purpose"},
	UnprovenImport:   {550, "5.7.1", "NO-CONSENT", "imported consent lacks its proof", "purpose"},
	ConsentWithdrawn: {550, "5.7.1", "CONSENT-WITHDRAWN", "consent was withdrawn", "purpose"},
	ConsentExpired:   {550, "5.7.1", "CONSENT-EXPIRED", "consent has expired", "purpose"},
	Suppressed:       {550, "5.7.1", "SUPPRESSED", "recipient is not to be mailed", ""},
	HeaderMissing:    {550, "5.7.0", "HEADER-MISSING", "required header field missing or invalid", "field"},
	Malformed:        {554, "5.6.0", "MALFORMED", "message is malformed", "field"},
	FromDenied:       {550, "5.7.1", "FROM-DENIED", "sender address not allowed for this client", ""},
	StreamDenied:     {550, "5.7.1", "FROM-DENIED", "stream not allowed for this client", ""},
	NullMarketing:    {550, "5.7.1", "POLICY", "marketing needs a reverse-path", "rule"},
	SplitRecipients:  {550, "5.7.1", "SPLIT-RECIPIENTS", "send to each recipient alone", ""},
	LooksMarketing:   {550, "5.7.0", "POLICY", "marketing in a stream that is none", "rule"},
	AlreadySigned:    {550, "5.7.0", "POLICY", "a signature would be broken", "rule"},
	Loop:             {554, "5.4.6", "LOOP", "message loops", ""},
	TooBig:           {552, "5.3.4", "TOO-BIG", "message too big", "limit"},
	StoreUnavailable: {451, "4.3.0", "STORE-UNAVAILABLE", "consent can't be looked up now", ""},
	SignerFailed:     {451, "4.3.0", "SIGNING-UNAVAILABLE", "message can't be signed now", ""},
	SpoolFull:        {452, "4.3.1", "SPOOL-FULL", "no room, try later", ""},
	Stopping:         {421, "4.3.2", "SHUTDOWN", "going down, try later", ""},
	Busy:             {451, "4.4.5", "BUSY", "too much mail at once, try later", ""},
	Internal:         {451, "4.3.0", "INTERNAL", "try later", ""},
}

// deferrals replace a row where the Denial says Defer (X.7.1 is permanent
// only, ESC-2). Reasons not listed become 451 4.7.0 with their own tag.
var deferrals = map[Reason]answer{
	SplitRecipients: {452, "4.5.3", "SPLIT-RECIPIENTS", "send to each recipient alone", ""},
	TooBig:          {452, "4.3.1", "SPOOL-FULL", "no room, try later", ""},
}

// Replies of the session itself.
var (
	replyMailOK       = wire.Reply{Code: 250, Status: "2.1.0", Text: "OK"}
	replyRcptOK       = wire.Reply{Code: 250, Status: "2.1.5", Text: "OK"}
	replyOK           = wire.Reply{Code: 250, Status: "2.0.0", Text: "OK"}
	replyBye          = wire.Reply{Code: 221, Status: "2.0.0", Text: "Bye"}
	replyAuthOK       = wire.Reply{Code: 235, Status: "2.7.0", Text: "OK"}
	replyGoAhead      = wire.Reply{Code: 354, Text: "End data with <CR><LF>.<CR><LF>"}
	replyStartTLS     = wire.Reply{Code: 220, Status: "2.0.0", Text: "Ready to start TLS"}
	replyCannotVerify = wire.Reply{Code: 252, Status: "2.5.0", Text: "Send mail to find out"}

	authRequired    = answer{530, "5.7.0", "AUTH-REQUIRED", "authenticate first", ""}
	tlsRequired     = answer{530, "5.7.0", "TLS-REQUIRED", "start TLS first", ""}
	authFailed      = answer{535, "5.7.8", "AUTH-FAILED", "user name or password wrong", ""}
	authUnavailable = answer{454, "4.7.0", "AUTH-UNAVAILABLE", "can't check passwords now", ""}
	authMechanism   = answer{504, "5.5.4", "ARGUMENT", "mechanism not offered", ""}
	authCancelled   = answer{501, "5.7.0", "AUTH-CANCELLED", "as asked", ""}
	authMalformed   = answer{501, "5.5.2", "ARGUMENT", "credentials can't be read", ""}
	relayDenied     = answer{550, "5.7.1", "RELAY-DENIED", "this client may not relay", ""}
	rateLimited     = answer{450, "4.7.0", "RATE-LIMIT", "too much mail", "retry-after"}
	tooMany         = answer{421, "4.7.0", "TOO-MANY", "closing", ""}
	serverBusy      = answer{421, "4.4.5", "BUSY", "too many connections, try later", ""}
	stopping        = answer{421, "4.3.2", "SHUTDOWN", "going down, try later", ""}
	stoppingRcpt    = answer{451, "4.3.2", "SHUTDOWN", "going down, try later", ""}
	idleTimeout     = answer{421, "4.4.2", "TIMEOUT", "nothing came for too long", ""}
	tooManyRcpt     = answer{452, "4.5.3", "TOO-MANY-RCPT", "send the rest separately", ""}
	badRcpt         = answer{501, "5.1.3", "BAD-ADDRESS", "recipient address syntax", ""}
	badMail         = answer{501, "5.1.7", "BAD-ADDRESS", "sender address syntax", ""}
	utf8Rcpt        = answer{553, "5.6.7", "UTF8", "address needs SMTPUTF8", ""}
	utf8Mail        = answer{550, "5.6.7", "UTF8", "address needs SMTPUTF8", ""}
	bareLineEnd     = answer{550, "5.5.2", "BARE-LF", "lines end with CRLF only", ""}
	lineTooLong     = answer{500, "5.5.2", "TOO-LONG", "command line too long", ""}
	badSequence     = answer{503, "5.5.1", "SEQUENCE", "bad order of commands", ""}
	unknownVerb     = answer{500, "5.5.2", "UNKNOWN", "command not known", ""}
	notImplemented  = answer{502, "5.5.1", "UNKNOWN", "command not offered", ""}
	wrongProtocol   = answer{500, "5.5.1", "UNKNOWN", "wrong greeting for this protocol", ""}
	badArgument     = answer{501, "5.5.4", "ARGUMENT", "malformed argument", ""}
	unknownParam    = answer{555, "5.5.4", "ARGUMENT", "parameter not offered", ""}
)

// reply writes a in full: tag, detail, reason, session id.
func (a answer) reply(detail, session string) wire.Reply {
	var b strings.Builder
	b.WriteString(a.tag)
	if detail = plainWord(detail); detail != "" && a.detail != "" {
		b.WriteString(" " + a.detail + "=" + detail)
	}
	b.WriteString(" " + a.text)
	if session != "" {
		b.WriteString("; " + session)
	}
	return wire.Reply{Code: a.code, Status: a.status, Text: b.String()}
}

// replyFor is the one place where an error becomes a reply. What is not a
// *Denial is 451 4.3.0 and tells nothing of itself.
func replyFor(err error, session string) wire.Reply {
	var d *Denial
	if !errors.As(err, &d) || d == nil {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, consent.ErrStoreUnavailable) {
			return denials[StoreUnavailable].reply("", session)
		}
		return denials[Internal].reply("", session)
	}
	a, ok := denials[d.Reason]
	if !ok {
		a = denials[Internal]
	}
	if d.Defer && a.code >= 500 {
		a = a.deferred(d.Reason)
	}
	if d.Reason == SignerFailed && d.Detail == "key" {
		a.status = "4.3.5"
	}
	return a.reply(d.Detail, session)
}

func (a answer) deferred(r Reason) answer {
	if row, ok := deferrals[r]; ok {
		return row
	}
	a.code, a.status = 451, "4.7.0"
	return a
}

// lmtpReply is r for one of several recipients, where 421 would not do.
func lmtpReply(r wire.Reply, session string) wire.Reply {
	if r.Code == 421 {
		return stoppingRcpt.reply("", session)
	}
	return r
}

// plainWord lets through what can only be a configured or built-in name: no
// address, no foreign text.
func plainWord(s string) string {
	if len(s) > 64 {
		return ""
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return ""
		}
	}
	return s
}

// queued is the reply to a message that is durable.
func queued(id string) wire.Reply {
	return wire.Reply{Code: 250, Status: "2.0.0", Text: "Queued as " + id}
}

// tagOf gives the tag of a reply, for metrics: a closed set.
func tagOf(r wire.Reply) string {
	if r.Code < 400 {
		return strconv.Itoa(r.Code)
	}
	tag, _, _ := strings.Cut(r.Text, " ")
	return tag
}
