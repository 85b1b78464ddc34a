package gateway

import (
	"encoding/base64"
	"strconv"
	"strings"

	"postern/gateway/wire"
)

// Command checks one command before go-smtp gets it, and answers those that
// go-smtp need not see.
func (s *session) Command(c *wire.Conn, line []byte) string {
	verb, arg := wire.Split(line)
	s.verb = verb
	if !wire.Printable(arg) || !wire.ASCII(verb) {
		return s.refuse(badArgument, "")
	}
	if s.refused && !known(verb) {
		s.say(badSequence, "")
		c.EndLingering()
		return ""
	}
	s.refused = false
	switch verb {
	case "HELO", "EHLO", "LHLO", "RSET", "NOOP", "VRFY", "XFORWARD", "XCLIENT":
		if s.idlers++; s.idlers > maxIdlers || s.grant == nil && s.idlers > maxIdlers/10 {
			s.say(tooMany, "")
			c.EndLingering()
			return ""
		}
	}
	return s.dispatch(verb, arg)
}

func (s *session) dispatch(verb, arg string) string {
	switch verb {
	case "HELO", "EHLO", "LHLO":
		return s.hello(arg)
	case "MAIL":
		return s.mail(arg)
	case "RCPT":
		return s.rcpt(arg)
	case "DATA":
		return s.data(arg)
	case "AUTH":
		return s.auth(arg)
	case "STARTTLS":
		return s.startTLS(arg)
	case "QUIT":
		return "QUIT"
	case "XCLIENT":
		return s.xclient(arg)
	case "XFORWARD":
		return s.xforward(arg)
	}
	return s.smallTalk(verb)
}

// known lists the verbs a body line is not mistaken for.
func known(verb string) bool {
	switch verb {
	case "HELO", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", "AUTH", "STARTTLS", "QUIT", "RSET", "NOOP", "XFORWARD":
		return true
	}
	return false
}

// smallTalk handles what moves no mail.
func (s *session) smallTalk(verb string) string {
	switch verb {
	case "RSET":
		return "RSET"
	case "NOOP":
		s.send(replyOK)
	case "VRFY":
		s.send(replyCannotVerify)
	case "BDAT": // not offered; its octets would be taken for commands
		s.say(notImplemented, "")
		s.conn.EndLingering()
	case "EXPN", "HELP", "TURN", "ETRN", "SEND", "SOML", "SAML":
		return s.refuse(notImplemented, "")
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT": // a browser was made to come here
		s.say(unknownVerb, "")
		s.conn.EndLingering()
	default:
		return s.refuse(unknownVerb, "")
	}
	return ""
}

func (s *session) hello(arg string) string {
	if s.on.Protocol == "lmtp" != (s.verb == "LHLO") {
		return s.refuse(wrongProtocol, "")
	}
	name, _, _ := strings.Cut(arg, " ")
	if name == "" || len(name) > 255 {
		return s.refuse(badArgument, "")
	}
	if !safeHelo(name) { // a PC's name may be anything; no ground to refuse its mail (RFC 5321 section 4.1.4)
		name = "unknown"
	}
	s.helo, s.esmtp = name, s.verb != "HELO"
	return s.verb + " " + name
}

// safeHelo lets through what is safe to write into a Received field: host
// names, also with underscores, and address literals (RFC 5321 section 4.1.3).
func safeHelo(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '.' || c == '-' || c == '_' || c == ':' || c == '[' || c == ']'
		if !ok {
			return false
		}
	}
	return true
}

func (s *session) data(arg string) string {
	switch {
	case arg != "":
		s.refuse(badArgument, "")
	case s.msg == nil:
		s.refuse(badSequence, "")
	case len(s.msg.order) == 0: // all recipients were refused
		s.say(badSequence, "")
	default:
		return "DATA"
	}
	s.refusedData()
	return ""
}

// refusedData guards against a client that did not wait for 354: its body is
// under way and would be taken for commands.
func (s *session) refusedData() {
	s.refused = true
	if s.conn.Buffered() > 0 {
		s.conn.EndLingering()
	}
}

func (s *session) startTLS(arg string) string {
	switch {
	case arg != "":
		return s.refuse(badArgument, "")
	case s.conn.InTLS() || s.helo == "":
		return s.refuse(badSequence, "")
	case s.on.TLS == nil:
		return s.refuse(notImplemented, "")
	}
	s.send(replyStartTLS)
	if s.conn.StartTLS() == nil {
		s.forget()
	}
	return ""
}

// forget brings back the state before EHLO (RFC 3207 section 4.2).
func (s *session) forget() {
	s.helo, s.esmtp, s.msg, s.given, s.forward = "", false, nil, nil, nil
}

// Reply turns what go-smtp says into what the table says.
func (s *session) Reply(c *wire.Conn, code int, lines []string) {
	if len(s.answers) > 0 {
		r := s.answers[0]
		s.answers = s.answers[1:]
		if r.Code != 0 {
			s.send(r)
		}
		if r.Code == 421 || s.refused && c.Buffered() > 0 {
			c.EndLingering()
		}
		return
	}
	switch {
	case s.verb == "" && code == 220:
		s.greet()
	case s.verb == "HELO" && code == 250:
		s.send(wire.Reply{Code: 250, Text: s.srv.opts.Hostname})
	case (s.verb == "EHLO" || s.verb == "LHLO") && code == 250:
		s.send(wire.Reply{Code: 250, Lines: s.extensions(lines)})
	case code == 334:
		s.send(wire.Reply{Code: 334, Text: base64Text(lines[0])})
	case code == 354: // Data sends it when there is room for the message
	case code < 400:
		s.send(success(s.verb))
	default:
		s.foreign(code)
	}
}

func (s *session) greet() {
	proto := "ESMTP"
	if s.on.Protocol == "lmtp" {
		proto = "LMTP"
	}
	s.send(wire.Reply{Code: 220, Text: s.srv.opts.Hostname + " " + proto + " Postern"})
}

// success is the reply to a command that go-smtp took.
func success(verb string) wire.Reply {
	switch verb {
	case "MAIL":
		return replyMailOK
	case "RCPT":
		return replyRcptOK
	case "AUTH":
		return replyAuthOK
	case "QUIT":
		return replyBye
	}
	return replyOK
}

// foreign answers where go-smtp refused what our own checks let through.
func (s *session) foreign(code int) {
	switch {
	case s.verb == "AUTH" && code == 454:
		s.refuse(authMalformed, "")
	case s.verb == "AUTH" && code == 501:
		s.refuse(authCancelled, "")
	case s.verb == "MAIL" && code == 501:
		s.refuse(badMail, "")
	case s.verb == "RCPT" && code == 501:
		s.refuse(badRcpt, "")
	case code == 502 || code == 503:
		s.refuse(badSequence, "")
	case code == 500 || code == 501:
		s.refuse(badArgument, "")
	default:
		s.send(denials[Internal].reply("", s.id))
	}
}

// base64Text keeps a SASL challenge as it is.
func base64Text(s string) string {
	if _, err := base64.StdEncoding.DecodeString(s); err != nil {
		return ""
	}
	return s
}

// offered are the extensions of go-smtp that are ours too. CHUNKING and
// BINARYMIME are not (SMTP-16), nor is RRVS.
var offered = map[string]bool{"PIPELINING": true, "8BITMIME": true, "ENHANCEDSTATUSCODES": true, "SMTPUTF8": true, "DSN": true}

// extensions edits go-smtp's EHLO reply.
func (s *session) extensions(lines []string) []string {
	out := []string{s.srv.opts.Hostname}
	for _, l := range lines[1:] {
		if offered[l] {
			out = append(out, l)
		}
	}
	out = append(out, "SIZE "+strconv.FormatInt(s.maxSize(), 10))
	inTLS := s.conn.InTLS()
	if s.on.TLS != nil && !inTLS {
		out = append(out, "STARTTLS")
	}
	if s.mayAuth() && inTLS {
		out = append(out, "AUTH "+strings.Join(s.AuthMechanisms(), " "))
	}
	if s.srv.opts.RequireTLS && inTLS {
		out = append(out, "REQUIRETLS")
	}
	if s.trusted.xforward {
		out = append(out, "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
	}
	if s.trusted.xclient {
		out = append(out, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN")
	}
	return out
}

// maxSize is what this client's messages may have.
func (s *session) maxSize() int64 {
	if s.grant != nil && s.grant.MaxSize > 0 {
		return min(s.grant.MaxSize, s.srv.opts.MaxMessageBytes)
	}
	return s.srv.opts.MaxMessageBytes
}
