package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// IDField carries a number that is different in every message of a run, so
// that a sink can tell losses and duplicates.
const IDField = "X-Load-Id"

// Source is a bounded SMTP load: so many messages over so many sessions.
type Source struct {
	Addr       string
	Messages   int
	Sessions   int
	Size       int    // octets of the body, about
	Recipients int    // per message
	From       string // reverse-path and header From
	Header     string // further header lines, each with CRLF
	First      int    // number of the first message

	// Recipient names the r-th recipient of message n; nil: u<k>@example.net,
	// k counting over the run.
	Recipient func(n, r int) string
	// Accepted is told every message that was answered 250; nil: nobody.
	Accepted func(n int)
}

// Result is what a run saw.
type Result struct {
	Accepted int64
	Refused  int64           // messages answered 4yz or 5yz
	Times    []time.Duration // from the message's first octet to its 250, sorted
	Elapsed  time.Duration
}

// Quantile is the q-th of the times to 250, 0 where none was accepted.
func (r Result) Quantile(q float64) time.Duration {
	if len(r.Times) == 0 {
		return 0
	}
	return r.Times[min(len(r.Times)-1, int(q*float64(len(r.Times))))]
}

// Run sends the load and waits for its last answer. A session whose connection
// breaks counts its message as refused and dials again; a run ends at the
// first error only if no connection can be made at all.
func (s Source) Run(ctx context.Context) (Result, error) {
	var next atomic.Int64
	var mu sync.Mutex
	var total Result
	var errs []error
	var wg sync.WaitGroup
	start := time.Now()
	body := Body(s.Size)
	for range s.Sessions {
		wg.Go(func() {
			one := session{source: &s, body: body}
			err := one.loop(ctx, &next)
			mu.Lock()
			defer mu.Unlock()
			total.Accepted += one.accepted
			total.Refused += one.refused
			total.Times = append(total.Times, one.times...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	total.Elapsed = time.Since(start)
	slices.Sort(total.Times)
	return total, errors.Join(errs...)
}

type session struct {
	source            *Source
	body              []byte
	conn              net.Conn
	r                 *bufio.Reader
	out               bytes.Buffer
	accepted, refused int64
	times             []time.Duration
}

func (s *session) loop(ctx context.Context, next *atomic.Int64) error {
	defer s.close()
	for ctx.Err() == nil {
		n := int(next.Add(1) - 1)
		if n >= s.source.Messages {
			break
		}
		n += s.source.First
		if s.conn == nil {
			if err := s.dial(ctx); err != nil {
				return err
			}
		}
		begin := time.Now()
		switch err := s.send(n); {
		case err == nil:
			s.accepted++
			s.times = append(s.times, time.Since(begin))
			if s.source.Accepted != nil {
				s.source.Accepted(n)
			}
		case errors.Is(err, errRefused):
			s.refused++
		default: // the connection is gone
			s.refused++
			s.close()
		}
	}
	return nil
}

func (s *session) close() {
	if s.conn != nil {
		_, _ = s.conn.Write([]byte("QUIT\r\n"))
		_ = s.conn.Close()
		s.conn = nil
	}
}

func (s *session) dial(ctx context.Context) error {
	d := net.Dialer{Timeout: 10 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", s.source.Addr)
	if err != nil {
		return err
	}
	s.conn, s.r = conn, bufio.NewReaderSize(conn, 16<<10)
	if code, err := s.reply(); err != nil || code != 220 {
		return fmt.Errorf("greeting %d: %w", code, err)
	}
	if _, err := conn.Write([]byte("EHLO load.example.org\r\n")); err != nil {
		return err
	}
	code, err := s.reply()
	if err != nil || code != 250 {
		return fmt.Errorf("EHLO %d: %w", code, err)
	}
	return nil
}

var errRefused = errors.New("refused")

// send runs one pipelined transaction (RFC 2920).
func (s *session) send(n int) error {
	_ = s.conn.SetDeadline(time.Now().Add(2 * time.Minute))
	s.out.Reset()
	fmt.Fprintf(&s.out, "MAIL FROM:<%s>\r\n", s.source.From)
	for r := range s.source.Recipients {
		fmt.Fprintf(&s.out, "RCPT TO:<%s>\r\n", s.source.recipient(n, r))
	}
	s.out.WriteString("DATA\r\n")
	if _, err := s.conn.Write(s.out.Bytes()); err != nil {
		return err
	}
	if _, err := s.reply(); err != nil {
		return err
	}
	for range s.source.Recipients {
		if _, err := s.reply(); err != nil {
			return err
		}
	}
	code, err := s.reply()
	if err != nil {
		return err
	}
	if code != 354 {
		_, _ = s.conn.Write([]byte("RSET\r\n"))
		_, err := s.reply()
		return errors.Join(errRefused, err)
	}
	s.out.Reset()
	fmt.Fprintf(&s.out, "Date: %s\r\nFrom: <%s>\r\nTo: undisclosed-recipients:;\r\nMessage-ID: <%d.load@example.org>\r\nSubject: Offers of the week %d\r\n%s: %d\r\n%s",
		time.Now().Format(time.RFC1123Z), s.source.From, n, n, IDField, n, s.source.Header)
	s.out.Write(s.body)
	s.out.WriteString(".\r\n")
	if _, err := s.conn.Write(s.out.Bytes()); err != nil {
		return err
	}
	if code, err = s.reply(); err != nil {
		return err
	}
	if code != 250 {
		return errRefused
	}
	return nil
}

func (s *Source) recipient(n, r int) string {
	if s.Recipient != nil {
		return s.Recipient(n, r)
	}
	return "u" + strconv.Itoa(n*s.Recipients+r) + "@example.net"
}

// reply reads one reply of any number of lines.
func (s *session) reply() (code int, err error) {
	for {
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) < 4 {
			return 0, fmt.Errorf("reply line of %d octets", len(line))
		}
		if line[3] != '-' {
			return strconv.Atoi(string(line[:3]))
		}
	}
}

// Body is a multipart/alternative marketing body of about size octets, with
// its MIME header fields and the empty line before it; every line is dot-safe.
func Body(size int) []byte {
	var b bytes.Buffer
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"=_offer\"\r\n\r\n--=_offer\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
	for i := 0; b.Len() < size*2/5; i++ {
		fmt.Fprintf(&b, "Offer %d: fresh bread, warm socks and a lamp, from %d.90 on. See it at https://shop.example.org/o/%d\r\n", i, i%90+9, i)
	}
	b.WriteString("--=_offer\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<html><body><table>\r\n")
	for i := 0; b.Len() < size-60; i++ {
		fmt.Fprintf(&b, "<tr><td class=3D\"o\"><a href=3D\"https://shop.example.org/o/%d\">Offer %d</a></td></tr>\r\n", i, i)
	}
	b.WriteString("</table></body></html>\r\n--=_offer--\r\n")
	return b.Bytes()
}

// ID reads the number of a message that a Source sent, or -1.
func ID(message []byte) int {
	i := bytes.Index(message, []byte("\r\n"+IDField+": "))
	if i < 0 {
		return -1
	}
	rest := message[i+len(IDField)+4:]
	end := bytes.IndexByte(rest, '\r')
	if end < 0 {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(rest[:end])))
	if err != nil {
		return -1
	}
	return n
}
