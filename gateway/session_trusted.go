package gateway

import (
	"encoding/base64"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"postern/gateway/wire"
)

// trust is what the peer of the socket may tell about others.
type trust struct{ xclient, xforward bool }

func (l *Listener) trustOf(peer netip.Addr) trust {
	unix := l.Network == "unix" && !peer.IsValid()
	return trust{xclient: contains(l.XClient, peer), xforward: unix || contains(l.XForward, peer)}
}

// attributes reads NAME=value pairs of XCLIENT and XFORWARD: upper-case names
// of allowed, values in xtext, "[UNAVAILABLE]" and "[TEMPUNAVAIL]" as "".
func attributes(arg, allowed string) (map[string]string, bool) {
	out := map[string]string{}
	for _, word := range strings.Fields(arg) {
		key, value, ok := strings.Cut(word, "=")
		key = strings.ToUpper(key)
		if _, dup := out[key]; !ok || dup || !strings.Contains(" "+allowed+" ", " "+key+" ") {
			return nil, false
		}
		v, err := wire.DecodeXtext(value)
		if err != nil || !wire.Printable(v) || len(v) > 255 {
			return nil, false
		}
		if v == "[UNAVAILABLE]" || v == "[TEMPUNAVAIL]" {
			v = ""
		}
		out[key] = v
	}
	return out, len(out) > 0
}

// xforward notes whom the message comes from, for the next transaction
// (Postfix XFORWARD_README).
func (s *session) xforward(arg string) string {
	if !s.trusted.xforward {
		return s.refuse(unknownVerb, "")
	}
	if s.msg != nil {
		return s.refuse(badSequence, "")
	}
	a, ok := attributes(arg, "NAME ADDR PORT PROTO HELO IDENT SOURCE")
	if !ok {
		return s.refuse(badArgument, "")
	}
	f := s.forward
	if f == nil {
		f = &Forward{}
	}
	for key, field := range map[string]*string{"NAME": &f.Name, "ADDR": &f.Addr, "PORT": &f.Port, "PROTO": &f.Proto,
		"HELO": &f.Helo, "IDENT": &f.Ident, "SOURCE": &f.Source} {
		if v, given := a[key]; given {
			*field = v
		}
	}
	s.forward = f
	s.send(replyOK)
	return ""
}

// xclient makes the session that of another client, rights included (Postfix
// XCLIENT_README). The reply is the greeting, and EHLO comes again.
func (s *session) xclient(arg string) string {
	if !s.trusted.xclient {
		return s.refuse(unknownVerb, "")
	}
	if s.msg != nil {
		return s.refuse(badSequence, "")
	}
	a, ok := attributes(arg, "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
	if !ok {
		return s.refuse(badArgument, "")
	}
	account := s.access.passwords.accounts[a["LOGIN"]]
	if a["LOGIN"] != "" && account == nil {
		return s.refuse(relayDenied, "")
	}
	if v, given := a["ADDR"]; given && !s.setPeer(v, a["PORT"]) {
		return s.refuse(badArgument, "")
	}
	rights, name := s.on.grantOf(s.remote), ""
	if account != nil {
		rights, name = &account.Grant, account.Name
	}
	if !s.become(rights, name) {
		s.say(tooMany, "")
		s.conn.EndLingering()
		return ""
	}
	s.forget()
	s.greet()
	return ""
}

// setPeer takes over another address.
func (s *session) setPeer(addr, port string) bool {
	addr = strings.TrimPrefix(strings.ToUpper(addr), "IPV6:")
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Zone() != "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil && port != "" {
		return false
	}
	s.remote = ip.Unmap()
	s.conn.SetRemote(net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.remote, uint16(n))))
	return true
}

// isBase64 tells whether a SASL answer can be decoded.
func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}

// Forward is whom a trusted client had a message from, as XFORWARD tells it.
// It is for logs and records only, never for rights.
type Forward struct {
	Name, Addr, Port, Proto, Helo, Ident, Source string
}
