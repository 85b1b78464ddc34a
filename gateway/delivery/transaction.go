package delivery

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"postern/gateway/spool"
)

// maxOneFlight is the size up to which a message goes out together with its
// envelope in a single BDAT flight, before the envelope is answered.
const maxOneFlight = 128 << 10

// verdictOf is what the hop said about one recipient of a copy.
type verdictOf struct {
	reply reply
	known bool // false: the connection broke before it was said
	more  bool // refused only because the transaction had enough recipients (RFC 5321 section 4.5.3.1.10)
}

// errUnfit says that this hop can't take this copy, whatever the time.
type errUnfit struct{ reply reply }

func (e *errUnfit) Error() string {
	return fmt.Sprintf("smarthost can't take the message: %d %s %s", e.reply.code, e.reply.status, e.reply.text)
}

// send runs one transaction. verdicts has an entry for each recipient of cp.
// An error means that the connection broke or is out of step; what was said
// before stands in verdicts. dotted tells that the whole message had been
// sent by then, so the hop may have taken it (RFC 1047).
func (c *conn) send(ctx context.Context, m *spool.Message, cp Copy) (verdicts []verdictOf, dotted bool, err error) {
	env, err := c.envelope(m, cp)
	if err != nil {
		return nil, false, err
	}
	defer c.guard(ctx)()
	verdicts = make([]verdictOf, len(cp.Recipients))
	if c.dirty {
		if rep, err := c.command("RSET", c.host.opts.Timeouts.Mail); err != nil {
			return verdicts, false, err
		} else if rep.class() != 2 {
			return verdicts, false, &errRefused{"RSET", rep}
		}
	}
	c.dirty = true
	c.sent++
	switch {
	case !c.has("PIPELINING"):
		dotted, err = c.stepwise(env, cp, verdicts)
	case c.has("CHUNKING") && !c.host.opts.NoChunking && env.size <= maxOneFlight:
		dotted, err = c.oneFlight(env, cp, verdicts)
	default:
		dotted, err = c.pipelined(env, cp, verdicts)
	}
	return verdicts, dotted, err
}

// oneFlight sends envelope and message in one write (RFC 2920, RFC 3030). If
// no recipient was taken the hop reads the octets and refuses them.
func (c *conn) oneFlight(env *envelope, cp Copy, verdicts []verdictOf) (dotted bool, err error) {
	env.lines = append(env.lines, "BDAT "...)
	env.lines = strconv.AppendInt(env.lines, env.size, 10)
	env.lines = append(env.lines, " LAST\r\n"...)
	if err := c.write(env.lines, cp.Header, crlf, cp.Body); err != nil {
		return false, err
	}
	accepted, err := c.readEnvelope(verdicts)
	if err != nil {
		return accepted > 0, err
	}
	rep, err := c.read(c.host.opts.Timeouts.Final)
	if err != nil {
		return accepted > 0, err
	}
	c.close(rep, verdicts, accepted)
	return accepted > 0, nil
}

var crlf = []byte("\r\n")

// pipelined sends MAIL, RCPTs and DATA in one write, then the message.
func (c *conn) pipelined(env *envelope, cp Copy, verdicts []verdictOf) (dotted bool, err error) {
	if err := c.write(append(env.lines, "DATA\r\n"...)); err != nil {
		return false, err
	}
	accepted, err := c.readEnvelope(verdicts)
	if err != nil {
		return false, err
	}
	rep, err := c.read(c.host.opts.Timeouts.Data)
	if err != nil {
		return false, err
	}
	return c.data(rep, cp, verdicts, accepted)
}

// stepwise speaks to a hop without PIPELINING.
func (c *conn) stepwise(env *envelope, cp Copy, verdicts []verdictOf) (dotted bool, err error) {
	t := c.host.opts.Timeouts
	lines := bytes.SplitAfter(env.lines, crlf)
	if err := c.write(lines[0]); err != nil {
		return false, err
	}
	rep, err := c.read(t.Mail)
	if err != nil {
		return false, err
	}
	if err := c.mailReply(rep, verdicts); err != nil || rep.class() != 2 {
		return false, err
	}
	accepted := 0
	for i := range verdicts {
		if err := c.write(lines[1+i]); err != nil {
			return false, err
		}
		rep, err := c.read(t.Rcpt)
		if err != nil {
			return false, err
		}
		ok, err := c.rcptReply(rep, &verdicts[i])
		if err != nil {
			return false, err
		}
		if ok {
			accepted++
		}
	}
	markMore(verdicts, accepted)
	if accepted == 0 {
		return false, nil
	}
	rep, err = c.command("DATA", t.Data)
	if err != nil {
		return false, err
	}
	return c.data(rep, cp, verdicts, accepted)
}

// readEnvelope reads the replies to MAIL and to each RCPT of a pipelined group.
func (c *conn) readEnvelope(verdicts []verdictOf) (accepted int, err error) {
	t := c.host.opts.Timeouts
	rep, err := c.read(t.Mail)
	if err != nil {
		return 0, err
	}
	if err := c.mailReply(rep, verdicts); err != nil {
		return 0, err
	}
	taken := rep.class() == 2
	for i := range verdicts {
		rep, err := c.read(t.Rcpt)
		if err != nil {
			return accepted, err
		}
		if !taken {
			continue // 503 after a refused MAIL says nothing new
		}
		ok, err := c.rcptReply(rep, &verdicts[i])
		if err != nil {
			return accepted, err
		}
		if ok {
			accepted++
		}
	}
	markMore(verdicts, accepted)
	return accepted, nil
}

// mailReply spreads a refusal of MAIL over all recipients. That the hop wants
// a log-in or shuts down is no fault of the message.
func (c *conn) mailReply(rep reply, verdicts []verdictOf) error {
	switch {
	case rep.class() == 2:
		return nil
	case rep.code == 421, rep.code == 530, rep.code == 535, rep.code == 538:
		return &errRefused{"MAIL", rep}
	}
	for i := range verdicts {
		verdicts[i] = verdictOf{reply: rep, known: true}
	}
	return nil
}

func (c *conn) rcptReply(rep reply, v *verdictOf) (ok bool, err error) {
	if rep.code == 421 {
		return false, &errRefused{"RCPT", rep}
	}
	if rep.class() == 2 {
		return true, nil
	}
	if rep.code == 552 { // means "too many" here (SMTP-8)
		rep.code, rep.status = 452, "4.5.3"
	}
	*v = verdictOf{reply: rep, known: true}
	return false, nil
}

// markMore notes recipients that only did not fit into this transaction.
func markMore(verdicts []verdictOf, accepted int) {
	for i := range verdicts {
		if v := &verdicts[i]; accepted > 0 && v.known && v.reply.code == 452 && (v.reply.status == "" || v.reply.status == "4.5.3") {
			v.more = true
		}
	}
}

// data goes on behind the reply to DATA.
func (c *conn) data(rep reply, cp Copy, verdicts []verdictOf, accepted int) (dotted bool, err error) {
	if rep.code == 421 {
		return false, &errRefused{"DATA", rep}
	}
	if rep.class() != 3 {
		c.close(rep, verdicts, accepted)
		return false, nil
	}
	if accepted == 0 { // let it end at once (RFC 2920 section 3.1)
		_, err := c.command(".", c.host.opts.Timeouts.Final)
		return false, err
	}
	if err := c.write(stuffed(cp)...); err != nil {
		// The final dot goes out in the last write: without it nothing is taken.
		return true, err
	}
	rep, err = c.read(c.host.opts.Timeouts.Final)
	if err != nil {
		return true, err
	}
	if rep.code == 421 {
		return true, &errRefused{"the final dot", rep}
	}
	c.close(rep, verdicts, accepted)
	return true, nil
}

// close gives the last reply to all recipients that were still in.
func (c *conn) close(rep reply, verdicts []verdictOf, accepted int) {
	if accepted > 0 {
		for i := range verdicts {
			if !verdicts[i].known {
				verdicts[i] = verdictOf{reply: rep, known: true}
			}
		}
	}
	c.dirty = rep.class() != 2
	c.usedAt = c.host.now()
}

// stuffed is the message in DATA form: dots doubled at line starts, CRLF at
// the end, final dot (RFC 5321 section 4.5.2).
func stuffed(cp Copy) [][]byte {
	out := make([][]byte, 0, 8)
	out = appendStuffed(out, cp.Header)
	out = append(out, crlf)
	out = appendStuffed(out, cp.Body)
	if n := len(cp.Body); n > 0 && !bytes.HasSuffix(cp.Body, crlf) {
		out = append(out, crlf)
	}
	return append(out, []byte(".\r\n"))
}

var dot = []byte(".")

func appendStuffed(out [][]byte, b []byte) [][]byte {
	if len(b) > 0 && b[0] == '.' {
		out = append(out, dot)
	}
	for {
		i := bytes.Index(b, []byte("\n."))
		if i < 0 {
			return append(out, b)
		}
		out = append(out, b[:i+1], dot)
		b = b[i+1:]
	}
}
