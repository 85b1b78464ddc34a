package gateway

import (
	"bytes"
	"context"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-smtp"

	"postern/gateway/address"
	"postern/gateway/wire"
)

// command is a MAIL or RCPT that passed the checks.
type command struct {
	addr       address.Address
	size       int64
	utf8       bool
	eightBit   bool
	requireTLS bool
	ret, envID string
	notify     string
	orcpt      string
}

// mail checks MAIL FROM. A client with rights may be wrong about addresses as
// often as it likes: lists are.
func (s *session) mail(arg string) string {
	if !s.refresh() {
		return ""
	}
	switch {
	case s.helo == "" || s.msg != nil:
		return s.refuse(badSequence, "")
	case s.grant == nil:
		return s.stranger()
	}
	path, params, err := wire.Path(arg, "FROM")
	if err != nil {
		return s.say(badMail, "")
	}
	cmd := &command{}
	if a, ok := s.mailParams(cmd, params); !ok {
		return s.say(a, s.detailOf(a))
	}
	if a, ok := cmd.setPath(path, cmd.utf8, badMail, utf8Mail); !ok {
		return s.say(a, "")
	}
	if wait, ok := s.srv.limits.message(s.grant); !ok {
		return s.say(rateLimited, retryAfter(wait))
	}
	s.given = cmd
	return "MAIL FROM:<" + path + ">"
}

// stranger refuses a client without rights, telling how to get some.
func (s *session) stranger() string {
	switch {
	case !s.mayAuth():
		return s.refuse(relayDenied, "")
	case !s.conn.InTLS():
		return s.refuse(tlsRequired, "")
	}
	return s.refuse(authRequired, "")
}

func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

func (s *session) detailOf(a answer) string {
	if a.detail == "limit" {
		return strconv.FormatInt(s.maxSize(), 10)
	}
	return ""
}

// mailParams reads the parameters of MAIL (RFC 1870, 3461, 6152, 6531, 8689, 4954).
func (s *session) mailParams(cmd *command, params []wire.Param) (answer, bool) {
	for _, p := range params {
		ok := s.esmtp
		switch p.Key {
		case "SIZE":
			n, err := strconv.ParseUint(p.Value, 10, 62)
			if err != nil || len(p.Value) > 20 {
				return badArgument, false
			}
			if cmd.size = int64(n); cmd.size > s.maxSize() {
				return denials[TooBig], false
			}
		case "BODY":
			v := strings.ToUpper(p.Value)
			if v != "7BIT" && v != "8BITMIME" {
				return badArgument, false
			}
			cmd.eightBit = v == "8BITMIME"
		case "SMTPUTF8":
			if cmd.utf8 = true; p.Value != "" {
				return badArgument, false
			}
		case "RET":
			if cmd.ret = strings.ToUpper(p.Value); cmd.ret != "FULL" && cmd.ret != "HDRS" {
				return badArgument, false
			}
		case "ENVID":
			var err error
			if cmd.envID, err = wire.DecodeEnvID(p.Value); err != nil {
				return badArgument, false
			}
		case "AUTH": // of no use to us, but no fault (RFC 4954 section 5)
			ok = ok && s.mayAuth()
			if _, err := wire.DecodeXtext(p.Value); err != nil || p.Value == "" {
				return badArgument, false
			}
		case "REQUIRETLS":
			cmd.requireTLS = true
			ok = ok && s.srv.opts.RequireTLS && s.conn.InTLS() && p.Value == ""
		default:
			ok = false
		}
		if !ok {
			return unknownParam, false
		}
	}
	return answer{}, true
}

// setPath parses an address of the envelope.
func (cmd *command) setPath(path string, utf8OK bool, bad, needsUTF8 answer) (answer, bool) {
	if path == "" {
		return answer{}, true
	}
	if !utf8.ValidString(path) {
		return bad, false
	}
	if !utf8OK && !wire.ASCII(path) {
		return needsUTF8, false
	}
	a, err := address.Parse(path)
	if err != nil {
		return bad, false
	}
	cmd.addr = a
	return answer{}, true
}

// Mail begins a transaction, as go-smtp has taken the command too.
func (s *session) Mail(string, *smtp.MailOptions) error {
	cmd := s.given
	s.given = nil
	if cmd == nil {
		return s.unexpected()
	}
	s.idlers = 0
	s.msg = &transaction{declared: cmd.size, env: Envelope{
		Session: s.id, Grant: s.grant, LMTP: s.on.Protocol == "lmtp", Helo: s.helo, Remote: s.remote,
		TLS: s.tlsName(), Auth: s.account, ReversePath: cmd.addr, Ret: cmd.ret, EnvID: cmd.envID,
		UTF8: cmd.utf8, EightBit: cmd.eightBit, RequireTLS: cmd.requireTLS, Forward: s.forward,
	}}
	return nil
}

// rcpt checks RCPT TO.
func (s *session) rcpt(arg string) string {
	if s.msg == nil {
		return s.refuse(badSequence, "")
	}
	path, params, err := wire.Path(arg, "TO")
	if err != nil || path == "" {
		return s.say(badRcpt, "")
	}
	if strings.EqualFold(path, "postmaster") { // RFC 5321 section 4.5.1
		path += "@" + s.srv.opts.Hostname
	}
	cmd := &command{}
	if a, ok := s.rcptParams(cmd, params); !ok {
		return s.say(a, "")
	}
	if a, ok := cmd.setPath(path, s.msg.env.UTF8, badRcpt, utf8Rcpt); !ok {
		return s.say(a, "")
	}
	if len(s.msg.order) >= s.maxRecipients() {
		return s.say(tooManyRcpt, "")
	}
	if wait, ok := s.srv.limits.recipient(s.grant); !ok {
		return s.say(rateLimited, retryAfter(wait))
	}
	s.given = cmd
	return "RCPT TO:<" + path + ">"
}

func (s *session) maxRecipients() int {
	if s.grant.MaxRecipients > 0 {
		return min(s.grant.MaxRecipients, s.srv.opts.MaxRecipients)
	}
	return s.srv.opts.MaxRecipients
}

// rcptParams reads NOTIFY and ORCPT (RFC 3461 sections 4.1 and 4.2).
func (s *session) rcptParams(cmd *command, params []wire.Param) (answer, bool) {
	for _, p := range params {
		var err error
		switch {
		case !s.esmtp:
			return unknownParam, false
		case p.Key == "NOTIFY":
			cmd.notify, err = notifyList(p.Value)
		case p.Key == "ORCPT":
			cmd.orcpt, err = wire.DecodeORcpt(p.Value)
		default:
			return unknownParam, false
		}
		if err != nil {
			return badArgument, false
		}
	}
	return answer{}, true
}

// notifyList wants NEVER alone, or others each once (DSN-1).
func notifyList(v string) (string, error) {
	v = strings.ToUpper(v)
	seen := map[string]bool{}
	for _, w := range strings.Split(v, ",") {
		switch w {
		case "NEVER", "SUCCESS", "FAILURE", "DELAY":
		default:
			return "", wire.ErrArgument
		}
		if seen[w] {
			return "", wire.ErrArgument
		}
		seen[w] = true
	}
	if seen["NEVER"] && len(seen) > 1 {
		return "", wire.ErrArgument
	}
	return v, nil
}

// Rcpt asks the judge about one recipient.
func (s *session) Rcpt(string, *smtp.RcptOptions) (err error) {
	defer s.recovered(&err)
	cmd := s.given
	s.given = nil
	if cmd == nil || s.msg == nil {
		return s.unexpected()
	}
	m := s.msg
	if i, ok := m.named(cmd.addr); ok { // one copy, however often it is named
		m.order = append(m.order, i)
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.opts.Lookup)
	defer cancel()
	r := EnvelopeRecipient{Address: cmd.addr, Notify: cmd.notify, ORcpt: cmd.orcpt}
	m.env.Ahead = s.ahead
	if err := s.srv.judge.Rcpt(ctx, &m.env, r); err != nil {
		return s.deny(err)
	}
	m.add(r)
	return nil
}

// fewRecipients is how many are compared one by one; a map costs more than
// that, and most messages have one.
const fewRecipients = 8

// named tells whether an address was a recipient before, and its index.
func (t *transaction) named(a address.Address) (int, bool) {
	if t.seen != nil {
		i, ok := t.seen[a]
		return i, ok
	}
	for i := range t.env.Recipients {
		if t.env.Recipients[i].Address == a {
			return i, true
		}
	}
	return 0, false
}

func (t *transaction) add(r EnvelopeRecipient) {
	n := len(t.env.Recipients)
	t.order = append(t.order, n)
	t.env.Recipients = append(t.env.Recipients, r)
	switch {
	case t.seen != nil:
		t.seen[r.Address] = n
	case n+1 > fewRecipients:
		t.seen = make(map[address.Address]int, 4*fewRecipients)
		for i := range t.env.Recipients {
			t.seen[t.env.Recipients[i].Address] = i
		}
	}
}

// maxAhead bounds how many pipelined recipients are asked about in one go.
const maxAhead = 100

// ahead lists the recipients that the client has pipelined behind this one, so
// that the judge can ask about all in one round trip. Each is still judged,
// and its command checked, when its turn comes.
func (s *session) ahead() (list []address.Address) {
	s.conn.Ahead(func(line []byte) bool {
		const verb = "RCPT TO:<"
		if len(line) < len(verb) || !bytes.EqualFold(line[:len(verb)], []byte(verb)) {
			return false
		}
		path, _, ok := bytes.Cut(line[len(verb):], []byte(">"))
		a, err := address.Parse(string(path))
		if !ok || err != nil {
			return false
		}
		list = append(list, a)
		return len(list) < maxAhead
	})
	return list
}

// deny makes err the answer to the command in hand. What it returns is for
// go-smtp's eyes only.
func (s *session) deny(err error) error {
	r := replyFor(err, s.tail)
	if s.on.Protocol == "lmtp" {
		r = lmtpReply(r, s.id)
	}
	s.answers = append(s.answers, r)
	s.logDenial(err, r)
	return errDenied
}

// errDenied is what go-smtp is told; the reply is in session.answers.
var errDenied = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "denied"}

// unexpected answers where go-smtp and the checks disagree, which is a fault.
func (s *session) unexpected() error {
	s.log.Error("command without its checks", "verb", s.verb)
	s.answers = append(s.answers, denials[Internal].reply("", s.id))
	return errDenied
}
