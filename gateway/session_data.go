package gateway

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"postern/gateway/wire"
)

// Data takes a whole message and gives it to the judge. go-smtp's reader only
// holds the end of data: the wire reads the message itself.
func (s *session) Data(io.Reader) (err error) {
	defer s.recovered(&err)
	m := s.msg
	if m == nil {
		return s.unexpected()
	}
	buf, err := s.reserve(m.declared)
	if err != nil {
		return s.denyData(&Denial{Reason: Busy, Defer: true})
	}
	s.send(replyGoAhead)
	if err := s.conn.ReadMessage(buf, s.maxSize()); err != nil {
		return s.unread(err)
	}
	defer buf.Release()
	s.srv.metrics.size.Observe(float64(len(buf.Raw)))
	m.env.LongestLine = buf.Longest
	return s.judged(buf.Raw)
}

// reserve waits for memory. The 354 waits with it, so the client holds the
// message back.
func (s *session) reserve(declared int64) (*wire.Message, error) {
	return s.conn.Reserve(s.ctx, s.srv.opts.MemoryWait, declared)
}

// denyData refuses DATA itself: one reply, and no message follows.
func (s *session) denyData(err error) error {
	s.conn.SkipMessage()
	s.refused = true
	_ = s.denyAll(err)
	for i := 1; i < len(s.answers); i++ {
		s.answers[i] = noReply
	}
	return errDenied
}

// noReply stands for a reply of go-smtp that the client doesn't get.
var noReply wire.Reply

// unread answers for a message that was not received whole.
func (s *session) unread(err error) error {
	switch {
	case errors.Is(err, wire.ErrTooBig):
		return s.denyAll(&Denial{Reason: TooBig, Detail: strconv.FormatInt(s.maxSize(), 10)})
	case errors.Is(err, wire.ErrNoMemory):
		return s.denyAll(&Denial{Reason: SpoolFull, Defer: true})
	}
	return errDenied // the connection has ended with the reply it deserves
}

// judged asks the judge and queues the replies.
func (s *session) judged(raw []byte) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.opts.Decide)
	defer cancel()
	begin := time.Now()
	out, err := s.srv.judge.Data(ctx, &s.msg.env, raw)
	s.srv.metrics.decide.Observe(time.Since(begin).Seconds())
	if err == nil && len(out.Recipients) != len(s.msg.env.Recipients) {
		err = errors.New("judge gave a wrong number of verdicts")
	}
	if err != nil {
		return s.denyAll(err)
	}
	if s.on.Protocol == "lmtp" {
		return s.answerEach(out)
	}
	return s.answerOnce(out)
}

// denyAll gives every recipient (LMTP) or the message (SMTP) the same reply.
func (s *session) denyAll(err error) error {
	r := replyFor(err, s.tail)
	n := 1
	if s.on.Protocol == "lmtp" {
		r, n = lmtpReply(r, s.id), len(s.msg.order)
	}
	for range n {
		s.answers = append(s.answers, r)
	}
	s.logDenial(err, r)
	s.count(r.Code)
	return errDenied
}

// answerOnce replies for the whole message: accepted if anybody was, for the
// judge has bounced the rest (design D3).
func (s *session) answerOnce(out Outcome) error {
	for _, verdict := range out.Recipients {
		if verdict == nil {
			s.accepted(out)
			s.answers = append(s.answers, queued(out.ID))
			s.count(250)
			return nil
		}
	}
	if len(out.Recipients) == 0 {
		return s.unexpected()
	}
	return s.denyAll(out.Recipients[0])
}

// answerEach replies for each RCPT in its order (RFC 2033 section 4.2).
func (s *session) answerEach(out Outcome) error {
	worst, good := 0, false
	for _, i := range s.msg.order {
		r := queued(out.ID)
		if verdict := out.Recipients[i]; verdict != nil {
			r = lmtpReply(replyFor(verdict, s.tail), s.id)
			s.logDenial(verdict, r)
			worst = max(worst, r.Code)
		} else {
			good = true
		}
		s.answers = append(s.answers, r)
	}
	if good {
		s.accepted(out)
	}
	switch {
	case good && worst > 0:
		s.srv.metrics.messages.WithLabelValues(s.on.Name, "mixed").Inc()
	case good:
		s.count(250)
	default:
		s.count(worst)
	}
	return nil
}

func (s *session) count(code int) {
	result := "accepted"
	switch code / 100 {
	case 4:
		result = "deferred"
	case 5:
		result = "refused"
	}
	s.srv.metrics.messages.WithLabelValues(s.on.Name, result).Inc()
}

func (s *session) accepted(out Outcome) {
	s.faults = 0
	s.log.Info("message accepted", "message", out.ID, "client", s.client(), "recipients", len(out.Recipients))
}

// logDenial writes the line an administrator finds by the reply's session id.
func (s *session) logDenial(err error, r wire.Reply) {
	reason, detail, cause := Internal, "", err
	var d *Denial
	if errors.As(err, &d) && d != nil {
		reason, detail, cause = d.Reason, d.Detail, d.Err
	}
	attrs := []any{"verb", s.verb, "client", s.client(), "reason", reason, "detail", detail, "code", r.Code}
	if cause != nil {
		attrs = append(attrs, "err", cause)
	}
	if reason == Internal {
		s.log.Error("mail deferred by a fault", attrs...)
		return
	}
	s.log.Info("mail not accepted", attrs...)
}

// Reset ends a transaction, accepted or not.
func (s *session) Reset() { s.msg, s.given, s.forward = nil, nil, nil }

// Logout is go-smtp's end of the connection; Closed does the work.
func (s *session) Logout() error { return nil }

// recovered turns a panic into 451, so that one bad message does not end the
// process and is not lost.
func (s *session) recovered(err *error) {
	v := recover()
	if v == nil {
		return
	}
	s.answers = nil
	s.Panicked(s.conn, v)
	s.conn.End()
	*err = errDenied
}
