package gateway

import (
	"context"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"

	"postern/gateway/wire"
)

// errAuth is what go-smtp is told; the reply is in session.answers.
var errAuth = errors.New("not authenticated")

// mayAuth tells whether this listener knows accounts.
func (s *session) mayAuth() bool {
	return (s.on.RequireAuth || s.on.Auth) && len(s.access.passwords.accounts) > 0
}

// auth checks an AUTH command (RFC 4954 section 4).
func (s *session) auth(arg string) string {
	mech, initial, hasInitial := strings.Cut(arg, " ")
	switch {
	case !s.mayAuth():
		return s.refuse(notImplemented, "")
	case !s.conn.InTLS():
		return s.refuse(tlsRequired, "")
	case !s.esmtp || s.msg != nil || s.account != "":
		return s.refuse(badSequence, "")
	case mech == "":
		return s.refuse(badArgument, "")
	case hasInitial && initial != "=" && !isBase64(initial):
		return s.refuse(authMalformed, "")
	}
	return "AUTH " + arg
}

// Continue passes on an answer to a challenge; what is no base64 cancels.
func (s *session) Continue(_ *wire.Conn, line []byte) string {
	l := string(line)
	if l == "*" {
		return "*"
	}
	if !isBase64(l) {
		s.answers = append(s.answers, authMalformed.reply("", s.id))
		return "*"
	}
	if l == "" {
		return "=" // an empty answer, which go-smtp reads alike
	}
	return l
}

// AuthMechanisms lists what AUTH offers inside TLS.
func (s *session) AuthMechanisms() []string { return []string{sasl.Plain, sasl.Login} }

// Auth begins an exchange; go-smtp carries it.
func (s *session) Auth(mech string) (sasl.Server, error) {
	switch mech {
	case sasl.Plain:
		return sasl.NewPlainServer(func(identity, name, password string) error {
			if identity != "" && identity != name {
				return s.authFailed()
			}
			return s.login(name, password)
		}), nil
	case sasl.Login:
		return &loginServer{login: s.login}, nil
	}
	s.answers = append(s.answers, authMechanism.reply("", s.id))
	return nil, errAuth
}

// loginServer is the LOGIN mechanism, which clients still use.
type loginServer struct {
	login func(name, password string) error
	step  int
	name  string
}

// Next asks for name and password in turn (draft-murchison-sasl-login).
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if l.step == 0 && response == nil {
		l.step = 1
		return []byte("Username:"), false, nil
	}
	if l.step < 2 {
		l.name, l.step = string(response), 2
		return []byte("Password:"), false, nil
	}
	return nil, true, l.login(l.name, string(response))
}

// login checks a password and takes over the account's rights.
func (s *session) login(name, password string) (err error) {
	defer s.recovered(&err)
	result := s.srv.metrics.auth
	if !s.srv.limits.mayTry(s.from) {
		result.WithLabelValues("limited").Inc()
		return s.authUnavailable()
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.opts.Lookup)
	defer cancel()
	account, remembered, err := s.access.passwords.check(ctx, name, password)
	switch {
	case err != nil:
		result.WithLabelValues("unavailable").Inc()
		return s.authUnavailable()
	case account == nil:
		result.WithLabelValues("failed").Inc()
		s.srv.limits.failed(s.from)
		s.log.Warn("authentication failed", "remote", s.remote)
		return s.authFailed()
	case remembered:
		result.WithLabelValues("remembered").Inc()
	default:
		result.WithLabelValues("ok").Inc()
	}
	if !s.become(&account.Grant, account.Name) {
		s.answers = append(s.answers, tooMany.reply("", s.id))
		return errAuth
	}
	s.noStranger()
	return nil
}

func (s *session) authFailed() error {
	s.faults += maxFaults / 3 // three tries
	r := authFailed.reply("", s.id)
	if s.faults > maxFaults {
		r = tooMany.reply("", s.id)
	}
	s.answers = append(s.answers, r)
	return errAuth
}

func (s *session) authUnavailable() error {
	s.answers = append(s.answers, authUnavailable.reply("", s.id))
	return errAuth
}
