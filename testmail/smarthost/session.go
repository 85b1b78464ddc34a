package smarthost

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// errDrop ends a session without a further word.
var errDrop = errors.New("connection is to be dropped")

type session struct {
	s      *Server
	conn   net.Conn
	number int64
	r      *bufio.Reader
	w      *bufio.Writer
	msg    *Message
	secure bool
	user   string
	buf    []byte
	chunks bool // a BDAT transaction is under way
	failed bool // its octets are consumed and thrown away
}

func newSession(s *Server, c net.Conn, number int64) *session {
	return &session{s: s, conn: c, number: number, r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriterSize(c, 4<<10)}
}

func (x *session) run() {
	if err := x.answer("CONNECT", "", "220 smarthost.example ESMTP"); err != nil {
		return
	}
	for {
		if x.r.Buffered() == 0 && x.w.Flush() != nil {
			return
		}
		line, err := x.r.ReadString('\n')
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if err := x.command(strings.ToUpper(verb), arg); err != nil {
			if !errors.Is(err, errDrop) {
				x.w.Flush()
			}
			return
		}
	}
}

// ask runs the script; it returns the reply to send, "" for the usual one.
func (x *session) ask(verb, arg string) (Answer, error) {
	if x.s.opts.Script == nil {
		return Answer{}, nil
	}
	a := x.s.opts.Script(Event{Verb: verb, Arg: arg, Conn: x.number, Msg: x.msg})
	if a.Delay > 0 {
		x.w.Flush()
		select {
		case <-time.After(a.Delay):
		case <-x.s.stop:
			return a, errDrop
		}
	}
	if a.Drop {
		x.w.Flush()
		return a, errDrop
	}
	return a, nil
}

func (x *session) say(reply string) error {
	_, err := x.w.WriteString(reply + "\r\n")
	return err
}

func (x *session) answer(verb, arg, usual string) error {
	a, err := x.ask(verb, arg)
	if err != nil {
		return err
	}
	if a.Reply != "" {
		usual = a.Reply
	}
	return x.say(usual)
}

func (x *session) command(verb, arg string) error {
	switch verb {
	case "EHLO", "HELO":
		return x.hello(verb, arg)
	case "STARTTLS":
		return x.startTLS()
	case "AUTH":
		return x.auth(arg)
	case "MAIL":
		return x.mail(arg)
	case "RCPT":
		return x.rcpt(arg)
	case "DATA":
		return x.data()
	case "BDAT":
		return x.bdat(arg)
	case "RSET":
		x.msg = nil
		return x.answer(verb, arg, "250 2.0.0 OK")
	case "NOOP":
		return x.answer(verb, arg, "250 2.0.0 OK")
	case "QUIT":
		if err := x.answer(verb, arg, "221 2.0.0 Bye"); err != nil {
			return err
		}
		return io.EOF
	}
	return x.say("500 5.5.2 UNKNOWN command")
}

func (x *session) hello(verb, arg string) error {
	x.msg = nil
	if verb == "HELO" {
		return x.answer(verb, arg, "250 smarthost.example")
	}
	lines := []string{"smarthost.example"}
	for _, k := range []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "SIZE 52428800"} {
		if name, _, _ := strings.Cut(k, " "); !x.s.hide[name] {
			lines = append(lines, k)
		}
	}
	lines = append(lines, x.s.opts.Offer...)
	if x.s.opts.TLS != nil && !x.secure {
		lines = append(lines, "STARTTLS")
	}
	if len(x.s.opts.Users) > 0 {
		lines = append(lines, "AUTH PLAIN LOGIN")
	}
	var b strings.Builder
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("250" + sep + l)
	}
	return x.answer(verb, arg, b.String())
}

func (x *session) startTLS() error {
	if x.s.opts.TLS == nil || x.secure {
		return x.say("503 5.5.1 SEQUENCE")
	}
	a, err := x.ask("STARTTLS", "")
	if err != nil {
		return err
	}
	if a.Reply != "" {
		return x.say(a.Reply)
	}
	if err := x.say("220 2.0.0 Go ahead"); err != nil {
		return err
	}
	if err := x.w.Flush(); err != nil {
		return err
	}
	return x.handshake()
}

func (x *session) handshake() error {
	c := tls.Server(x.conn, x.s.opts.TLS)
	if err := c.Handshake(); err != nil {
		return errDrop
	}
	x.conn, x.secure, x.msg = c, true, nil
	x.r.Reset(c)
	x.w.Reset(c)
	return nil
}

func (x *session) auth(arg string) error {
	a, err := x.ask("AUTH", arg)
	if err != nil {
		return err
	}
	if a.Reply != "" {
		return x.say(a.Reply)
	}
	mech, initial, _ := strings.Cut(arg, " ")
	var user, pass string
	switch strings.ToUpper(mech) {
	case "PLAIN":
		if initial == "" {
			if initial, err = x.challenge(""); err != nil {
				return err
			}
		}
		raw, _ := base64.StdEncoding.DecodeString(initial)
		if parts := bytes.Split(raw, []byte{0}); len(parts) == 3 {
			user, pass = string(parts[1]), string(parts[2])
		}
	case "LOGIN":
		for i, text := range []string{"Username:", "Password:"} {
			line, err := x.challenge(text)
			if err != nil {
				return err
			}
			raw, _ := base64.StdEncoding.DecodeString(line)
			if i == 0 {
				user = string(raw)
			} else {
				pass = string(raw)
			}
		}
	default:
		return x.say("504 5.5.4 ARGUMENT")
	}
	if want, ok := x.s.opts.Users[user]; !ok || want != pass {
		return x.say("535 5.7.8 AUTH-FAILED")
	}
	x.user = user
	return x.say("235 2.7.0 OK")
}

func (x *session) challenge(text string) (string, error) {
	if err := x.say("334 " + base64.StdEncoding.EncodeToString([]byte(text))); err != nil {
		return "", err
	}
	if err := x.w.Flush(); err != nil {
		return "", err
	}
	line, err := x.r.ReadString('\n')
	return strings.TrimSpace(line), err
}

// path splits "FROM:<a@b> SIZE=1" into path and parameters.
func path(arg, word string) (addr, params string, ok bool) {
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return "", "", false
	}
	arg = strings.TrimLeft(arg[len(word):], " ")
	end := strings.LastIndexByte(arg, '>')
	if !strings.HasPrefix(arg, "<") || end < 0 {
		return "", "", false
	}
	return arg[1:end], strings.TrimSpace(arg[end+1:]), true
}

func (x *session) mail(arg string) error {
	addr, params, ok := path(arg, "FROM:")
	switch {
	case !ok:
		return x.say("501 5.1.7 BAD-ADDRESS")
	case x.msg != nil:
		return x.say("503 5.5.1 SEQUENCE")
	case len(x.s.opts.Users) > 0 && x.user == "":
		return x.say("530 5.7.0 AUTH-REQUIRED")
	}
	a, err := x.ask("MAIL", addr)
	if err != nil {
		return err
	}
	if a.Reply != "" && a.Reply[0] != '2' {
		return x.say(a.Reply)
	}
	x.msg = &Message{From: addr, FromParams: params, TLS: x.secure, User: x.user, Conn: x.number}
	x.chunks, x.failed = false, false
	if a.Reply != "" {
		return x.say(a.Reply)
	}
	return x.say("250 2.1.0 OK")
}

func (x *session) rcpt(arg string) error {
	addr, params, ok := path(arg, "TO:")
	switch {
	case !ok:
		return x.say("501 5.1.3 BAD-ADDRESS")
	case x.msg == nil:
		return x.say("503 5.5.1 SEQUENCE")
	}
	a, err := x.ask("RCPT", addr)
	if err != nil {
		return err
	}
	if a.Reply == "" {
		a.Reply = "250 2.1.5 OK"
	}
	if a.Reply[0] == '2' {
		x.msg.To = append(x.msg.To, addr)
		x.msg.ToParams = append(x.msg.ToParams, params)
	}
	return x.say(a.Reply)
}

func (x *session) data() error {
	if x.msg == nil {
		return x.say("503 5.5.1 SEQUENCE")
	}
	if len(x.msg.To) == 0 {
		return x.say("554 5.5.1 No valid recipients")
	}
	a, err := x.ask("DATA", "")
	if err != nil {
		return err
	}
	if a.Reply != "" {
		if err := x.say(a.Reply); err != nil || a.Reply[0] != '3' {
			return err
		}
	} else if err := x.say("354 Go ahead"); err != nil {
		return err
	}
	if x.r.Buffered() == 0 {
		if err := x.w.Flush(); err != nil {
			return err
		}
	}
	if err := x.readData(); err != nil {
		return err
	}
	return x.end()
}

// readData takes octets up to CRLF.CRLF; only CRLF ends a line.
func (x *session) readData() error {
	x.buf = x.buf[:0]
	start := true // of a line
	for {
		part, err := x.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		crlf := bytes.HasSuffix(part, []byte("\r\n")) || len(part) == 1 && part[0] == '\n' && bytes.HasSuffix(x.buf, []byte("\r"))
		if start && part[0] == '.' {
			if len(part) == 3 && crlf {
				return nil
			}
			part = part[1:]
		}
		x.buf = append(x.buf, part...)
		start = crlf
	}
}

func (x *session) bdat(arg string) error {
	size, last, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseInt(size, 10, 63)
	if err != nil || n < 0 {
		return x.say("501 5.5.4 ARGUMENT")
	}
	if !x.chunks {
		x.buf = x.buf[:0]
		x.chunks = true
	}
	at := len(x.buf)
	x.buf = append(x.buf, make([]byte, n)...)
	if _, err := io.ReadFull(x.r, x.buf[at:]); err != nil {
		return err
	}
	if x.msg == nil || len(x.msg.To) == 0 || x.failed {
		x.failed = true
		return x.say("503 5.5.1 SEQUENCE")
	}
	if !strings.EqualFold(last, "LAST") {
		return x.answer("BDAT", arg, fmt.Sprintf("250 2.0.0 %d octets", n))
	}
	return x.end()
}

// end finishes a transaction: the reply after the final dot or last chunk.
func (x *session) end() error {
	m := x.msg
	m.Data, m.At = x.buf, x.s.opts.Now()
	a, err := x.ask(".", "")
	x.msg, x.chunks = nil, false
	if a.Reply == "" {
		a.Reply = "250 2.0.0 Taken"
	}
	if a.Keep || err == nil && a.Reply[0] == '2' {
		x.s.taken(m)
	}
	if cap(x.buf) > 1<<20 { // idle connections hold no large buffers
		x.buf = nil
	}
	if err != nil {
		return err
	}
	return x.say(a.Reply)
}
