package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

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

// transaction is one copy of one message on its way over a connection.
type transaction struct {
	m  *spool.Message
	cp Copy

	env      *envelope
	verdicts []verdictOf // one for each recipient of cp
	unfit    *errUnfit   // why this hop can't take the copy
	dotted   bool        // all of it was sent and at least one recipient taken: the hop may have it (RFC 1047)
	over     bool        // it was answered to its end

	until time.Time   // the verdict holds so long; the zero Time: for ever
	again func() bool // asks for the verdict again, about the same copy
}

// late tells whether what allowed the copy is too old.
func (t *transaction) late() bool { return !t.until.IsZero() && time.Now().After(t.until) }

// allowed tells whether the message may follow its envelope: a hop may take
// longer over that than the verdict holds (design D5).
func (t *transaction) allowed() bool { return !t.late() || t.again() }

// errForbidden ends a flight in whose middle the verdict on a message changed:
// behind a 354 it can only be kept back by hanging up.
var errForbidden = errors.New("the message was forbidden while the hop took its time over the envelope")

// send runs transactions one behind the other, as many of them in one write
// as the hop's extensions allow. An error means that the connection broke or
// is out of step; what was said before stands in the transactions.
func (c *conn) send(ctx context.Context, txs []*transaction) error {
	ready := make([]*transaction, 0, len(txs))
	for _, t := range txs {
		var err error
		t.unfit = nil
		if t.env, err = c.envelope(t.m, t.cp); err == nil {
			t.verdicts, t.over, t.dotted = make([]verdictOf, len(t.cp.Recipients)), false, false
			ready = append(ready, t)
		} else if !errors.As(err, &t.unfit) {
			return err
		}
	}
	defer c.guard(ctx)()
	c.sent += len(ready)
	for i := 0; len(ready) > 0; i++ {
		if i > 0 && ready[0].late() {
			return nil // left for another flight
		}
		if err := c.clean(); err != nil {
			return err
		}
		c.dirty = true
		n, run := c.next(ready)
		if err := run(ready[:n]); err != nil {
			return err
		}
		ready = ready[n:]
	}
	return nil
}

// next chooses how the first of txs go, and how many of them.
func (c *conn) next(txs []*transaction) (n int, run func([]*transaction) error) {
	switch {
	case !c.has("PIPELINING"):
		return 1, c.stepwise
	case !c.has("CHUNKING") || c.host.opts.NoChunking || txs[0].env.size > maxOneFlight:
		for n = 1; n < len(txs) && txs[n].env.size <= maxOneFlight; n++ {
		}
		return n, c.pipelined
	case !c.host.prompt():
		return 1, c.heldBack
	}
	total := int64(0)
	for n < len(txs) && total+txs[n].env.size <= maxOneFlight {
		total += txs[n].env.size
		n++
	}
	return n, c.oneFlight
}

// clean ends a transaction that was left open.
func (c *conn) clean() error {
	if !c.dirty {
		return nil
	}
	rep, err := c.command("RSET", c.host.opts.Timeouts.Mail)
	if err == nil && rep.class() != 2 {
		err = &errRefused{"RSET", rep}
	}
	return err
}

// rset goes before each further transaction of a group: the one before may
// have failed, which is not known yet (RFC 2920 section 3.1).
const rset = "RSET\r\n"

// resetReply reads the reply to rset.
func (c *conn) resetReply() error {
	rep, err := c.read(c.host.opts.Timeouts.Mail)
	if err == nil && rep.class() != 2 {
		err = &errRefused{"RSET", rep}
	}
	return err
}

// heldBack sends the message once its envelope is answered: to a hop that may
// take longer over it than the verdict holds.
func (c *conn) heldBack(txs []*transaction) error {
	t := txs[0]
	if err := c.write(t.env.lines); err != nil {
		return err
	}
	accepted, err := c.readEnvelope(t.verdicts)
	if err != nil {
		return err
	}
	if t.over = accepted == 0; t.over || !t.allowed() {
		return nil // RSET comes before the next
	}
	t.dotted = true
	if err := c.write(bdat(nil, t.env.size), t.cp.Header, crlf, t.cp.Body); err != nil {
		return err
	}
	rep, err := c.read(c.host.opts.Timeouts.Final)
	if err != nil {
		return err
	}
	c.close(rep, t, accepted)
	return nil
}

// bdat appends the command before a message of size octets (RFC 3030 section 2).
func bdat(lines []byte, size int64) []byte {
	return append(strconv.AppendInt(append(lines, "BDAT "...), size, 10), " LAST\r\n"...)
}

// oneFlight sends envelopes and messages in one write (RFC 2920, RFC 3030),
// to a hop that was prompt a moment ago: what it is sent can't be kept back
// any more. If no recipient was taken the hop reads the octets and refuses them.
func (c *conn) oneFlight(txs []*transaction) error {
	parts := make([][]byte, 0, 4*len(txs))
	for i, t := range txs {
		lines := t.env.lines
		if i > 0 {
			lines = append([]byte(rset), lines...)
		}
		parts = append(parts, bdat(lines, t.env.size), t.cp.Header, crlf, t.cp.Body)
	}
	if err := c.write(parts...); err != nil {
		return err
	}
	for i, t := range txs {
		if i > 0 {
			if err := c.resetReply(); err != nil {
				return err
			}
		}
		accepted, err := c.readEnvelope(t.verdicts)
		t.dotted = accepted > 0
		if err != nil {
			return err
		}
		rep, err := c.read(c.host.opts.Timeouts.Final)
		if err != nil {
			return err
		}
		c.close(rep, t, accepted)
		if rep.code == 421 && i+1 < len(txs) {
			return &errRefused{"BDAT", rep}
		}
	}
	return nil
}

var crlf = []byte("\r\n")

// pipelined sends MAIL, RCPTs and DATA in one write, then the message together
// with the next one's envelope, which may stand in the same group (RFC 2920
// section 3.1).
func (c *conn) pipelined(txs []*transaction) error {
	if err := c.write(txs[0].env.lines, data); err != nil {
		return err
	}
	for i, t := range txs {
		if i > 0 {
			if err := c.resetReply(); err != nil {
				return err
			}
		}
		accepted, err := c.readEnvelope(t.verdicts)
		if err != nil {
			return err
		}
		rep, err := c.read(c.host.opts.Timeouts.Data)
		if err != nil {
			return err
		}
		if rep.class() == 3 && accepted > 0 && !t.allowed() {
			return errForbidden
		}
		var next [][]byte
		if i+1 < len(txs) {
			next = [][]byte{[]byte(rset), txs[i+1].env.lines, data}
		}
		if err := c.data(rep, t, accepted, next); err != nil {
			return err
		}
	}
	return nil
}

var data = []byte("DATA\r\n")

// stepwise speaks to a hop without PIPELINING.
func (c *conn) stepwise(txs []*transaction) error {
	wait, t := c.host.opts.Timeouts, txs[0]
	lines := bytes.SplitAfter(t.env.lines, crlf)
	if err := c.write(lines[0]); err != nil {
		return err
	}
	rep, err := c.read(wait.Mail)
	if err != nil {
		return err
	}
	if err := c.mailReply(rep, t.verdicts); err != nil || rep.class() != 2 {
		t.over = err == nil
		return err
	}
	accepted := 0
	for i := range t.verdicts {
		if err := c.write(lines[1+i]); err != nil {
			return err
		}
		rep, err := c.read(wait.Rcpt)
		if err != nil {
			return err
		}
		ok, err := c.rcptReply(rep, &t.verdicts[i])
		if err != nil {
			return err
		}
		if ok {
			accepted++
		}
	}
	markMore(t.verdicts, accepted)
	if accepted == 0 {
		t.over = true
		return nil
	}
	if !t.allowed() {
		return nil
	}
	rep, err = c.command("DATA", wait.Data)
	if err != nil {
		return err
	}
	if rep.class() == 3 && !t.allowed() {
		return errForbidden
	}
	return c.data(rep, t, accepted, nil)
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

// data goes on behind the reply to DATA; next is written right behind it.
func (c *conn) data(rep reply, t *transaction, accepted int, next [][]byte) error {
	if rep.code == 421 {
		return &errRefused{"DATA", rep}
	}
	if rep.class() == 2 { // nothing was sent that could have been taken
		return fmt.Errorf("%w: DATA was answered with %d", errRubbish, rep.code)
	}
	if rep.class() != 3 {
		c.close(rep, t, accepted)
		return c.write(next...)
	}
	if accepted == 0 { // let it end at once (RFC 2920 section 3.1)
		if err := c.write(append([][]byte{finalDot}, next...)...); err != nil {
			return err
		}
		_, err := c.read(c.host.opts.Timeouts.Final)
		t.over = err == nil
		return err
	}
	// The final dot goes out in the last write: without it nothing is taken.
	t.dotted = true
	if err := c.write(append(stuffed(t.cp), next...)...); err != nil {
		return err
	}
	rep, err := c.read(c.host.opts.Timeouts.Final)
	if err != nil {
		return err
	}
	if rep.code == 421 {
		return &errRefused{"the final dot", rep}
	}
	c.close(rep, t, accepted)
	return nil
}

// close gives the last reply to all recipients that were still in.
func (c *conn) close(rep reply, t *transaction, accepted int) {
	if accepted > 0 {
		for i := range t.verdicts {
			if v := &t.verdicts[i]; !v.known {
				*v = verdictOf{reply: rep, known: true}
			}
		}
	}
	t.over = true
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
	return append(out, finalDot)
}

var (
	dot      = []byte(".")
	finalDot = []byte(".\r\n")
)

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
