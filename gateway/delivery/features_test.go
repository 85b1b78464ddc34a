package delivery

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/spool"
	"postern/testmail/smarthost"
)

// certificate makes a self-signed one for 127.0.0.1 and a file that trusts it.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"hop.example"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

func TestTLS(t *testing.T) {
	cert, ca := certificate(t)
	_, otherCA := certificate(t)
	for _, c := range []struct {
		name   string
		hop    smarthost.Options
		to     Smarthost
		leaves bool
		tls    bool
	}{
		{"opportunistic, unknown certificate", smarthost.Options{TLS: cert}, Smarthost{}, true, true},
		{"opportunistic, none offered", smarthost.Options{}, Smarthost{}, true, false},
		{"none, though offered", smarthost.Options{TLS: cert}, Smarthost{TLS: TLSNone}, true, false},
		{"required, trusted", smarthost.Options{TLS: cert}, Smarthost{TLS: TLSRequired, CAFile: ca}, true, true},
		{"required, by name", smarthost.Options{TLS: cert}, Smarthost{TLS: TLSRequired, CAFile: ca, ServerName: "hop.example"}, true, true},
		{"required, wrong name", smarthost.Options{TLS: cert}, Smarthost{TLS: TLSRequired, CAFile: ca, ServerName: "other.example"}, false, false},
		{"required, not trusted", smarthost.Options{TLS: cert}, Smarthost{TLS: TLSRequired, CAFile: otherCA}, false, false},
		{"required, not offered", smarthost.Options{}, Smarthost{TLS: TLSRequired, CAFile: ca}, false, false},
		{"implicit", smarthost.Options{TLS: cert, Implicit: true}, Smarthost{TLS: TLSImplicit, CAFile: ca}, true, true},
		{"auth plain", smarthost.Options{TLS: cert, Users: map[string]string{"postern": "pass"}}, Smarthost{TLS: TLSRequired, CAFile: ca, Username: "postern", Password: "pass"}, true, true},
		{"auth login", smarthost.Options{TLS: cert, Users: map[string]string{"postern": "pass"}, Script: loginOnly}, Smarthost{TLS: TLSRequired, CAFile: ca, Username: "postern", Password: "pass"}, true, true},
		{"auth wrong", smarthost.Options{TLS: cert, Users: map[string]string{"postern": "pass"}}, Smarthost{TLS: TLSRequired, CAFile: ca, Username: "postern", Password: "no"}, false, false},
		{"auth missing", smarthost.Options{Users: map[string]string{"postern": "pass"}}, Smarthost{}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := hop(t, c.hop)
			r := start(t, setup{opts: Options{Smarthosts: []Smarthost{c.to}, Schedule: Schedule{Pause: time.Millisecond, Breaks: 1000}}}, s)
			r.accept(letter("a@example.org"))
			if c.leaves {
				r.waitEmpty()
				require.Equal(t, c.tls, s.Messages()[0].TLS)
				return
			}
			r.wait("the breaker opens", r.d.closedGate)
			require.Zero(t, s.Count())
			require.EqualValues(t, 1, r.store.Stats().Messages, "trouble with the hop fails no mail")
		})
	}
}

// loginOnly offers AUTH LOGIN alone.
func loginOnly(e smarthost.Event) (a smarthost.Answer) {
	if e.Verb == "EHLO" && e.Conn > 0 {
		a.Reply = "250-hop.example\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 AUTH LOGIN"
	}
	return a
}

func TestParametersArePassedOn(t *testing.T) {
	s := hop(t, smarthost.Options{})
	r := start(t, setup{}, s)
	m := letter("a@example.org")
	m.Ret, m.EnvID, m.EightBit = "HDRS", "id=1+2 x", true
	m.Recipients[0].Notify, m.Recipients[0].ORcpt = "SUCCESS,FAILURE", "rfc822;x+y=z@example.org"
	r.accept(m)
	r.waitEmpty()
	got := s.Messages()
	require.Len(t, got, 1, "the hop reports success itself")
	require.Equal(t, "SIZE="+size(got[0].Data)+" BODY=8BITMIME RET=HDRS ENVID=id+3D1+2B2+20x", got[0].FromParams)
	require.Equal(t, []string{"NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2By+3Dz@example.org"}, got[0].ToParams)
}

func size(b []byte) string { return big.NewInt(int64(len(b))).String() }

func TestWhoGetsReports(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *spool.Message)
		may    func(*spool.Message) bool
		want   string // action, "" for no report
	}{
		{"no NOTIFY", func(*spool.Message) {}, nil, "failed"},
		{"FAILURE", func(m *spool.Message) { m.Recipients[0].Notify = "FAILURE,DELAY" }, nil, "failed"},
		{"NEVER", func(m *spool.Message) { m.Recipients[0].Notify = "NEVER" }, nil, ""},
		{"SUCCESS only", func(m *spool.Message) { m.Recipients[0].Notify = "SUCCESS" }, nil, ""},
		{"null reverse-path", func(m *spool.Message) { m.ReversePath = address.Address{} }, nil, ""},
		{"foreign reverse-path", func(*spool.Message) {}, func(*spool.Message) bool { return false }, ""},
		{"relayed", func(m *spool.Message) {
			m.Recipients[0].Address = address.MustParse("good@example.org")
			m.Recipients[0].Notify = "SUCCESS"
		}, nil, "relayed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := hop(t, smarthost.Options{Hide: []string{"DSN"}, Script: byLocalPart})
			r := start(t, setup{opts: Options{DSN: DSN{MayReport: c.may}}}, s)
			m := letter("550-5.1.1@example.org")
			c.change(m)
			r.accept(m)
			r.waitEmpty()
			var report string
			for _, g := range s.Messages() {
				if g.From == "" {
					report = string(g.Data)
				}
			}
			if c.want == "" {
				require.Empty(t, report)
				return
			}
			require.Contains(t, report, "Action: "+c.want+"\r\n")
		})
	}
}

// RET=FULL gets the message back whole, if it is not too large and anything
// failed (RFC 3461 section 6.2).
func TestReturnedMessage(t *testing.T) {
	large := []byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", MaxReturned/72+1))
	for _, c := range []struct {
		name, ret, to string
		body          []byte
		want          string // the part's type
		whole         bool
	}{
		{"no RET", "", "550-5.1.1@example.org", nil, "text/rfc822-headers", false},
		{"HDRS", "HDRS", "550-5.1.1@example.org", nil, "text/rfc822-headers", false},
		{"FULL", "FULL", "550-5.1.1@example.org", nil, "message/rfc822", true},
		{"FULL without a last line end", "FULL", "550-5.1.1@example.org", []byte("a\r\n..two"), "message/rfc822", true},
		{"FULL, eight bits", "FULL", "550-5.1.1@example.org", []byte("..two Gr\xc3\xbc\xc3\x9fe\r\n"), "message/rfc822", true},
		{"FULL, too large", "FULL", "550-5.1.1@example.org", append([]byte("..two\r\n"), large...), "text/rfc822-headers", false},
		{"FULL, nothing failed", "FULL", "good@example.org", nil, "text/rfc822-headers", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := hop(t, smarthost.Options{Hide: []string{"DSN"}, Script: byLocalPart})
			r := start(t, setup{}, s)
			m := letter(c.to)
			m.Ret, m.Recipients[0].Notify = c.ret, "SUCCESS,FAILURE"
			if c.body != nil {
				m.Body, m.EightBit = c.body, true
			}
			head, body := string(m.Header), string(m.Body)
			r.accept(m)
			r.waitEmpty()
			report := ""
			for _, g := range s.Messages() {
				if g.From == "" {
					report = string(g.Data)
				}
			}
			parts := reportParts(t, report)
			require.Len(t, parts, 3)
			require.Equal(t, c.want, parts[2].kind)
			if !c.whole {
				require.Equal(t, head, parts[2].text)
				return
			}
			require.Equal(t, head+"\r\n"+strings.TrimSuffix(body, "\r\n"), strings.TrimSuffix(parts[2].text, "\r\n"))
		})
	}
}

type reportPart struct{ kind, text string }

// reportParts takes a report apart as a mail reader does.
func reportParts(t *testing.T, raw string) (out []reportPart) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	require.NoError(t, err)
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		b, err := io.ReadAll(p)
		require.NoError(t, err)
		out = append(out, reportPart{p.Header.Get("Content-Type"), string(b)})
	}
}

func TestDelayReportOnce(t *testing.T) {
	s := hop(t, smarthost.Options{Script: func(e smarthost.Event) (a smarthost.Answer) {
		if e.Verb == "RCPT" && strings.HasPrefix(e.Arg, "late") {
			a.Reply = "450 4.2.2 full"
		}
		return a
	}})
	r := start(t, setup{opts: Options{DSN: DSN{DelayAfter: time.Millisecond}}}, s)
	m := letter("late@example.org")
	m.Expires = time.Now().Add(300 * time.Millisecond)
	r.accept(m)
	r.waitEmpty()
	var actions []string
	for _, g := range s.Messages() {
		actions = append(actions, field(g.Data, "Action: ")+" "+field(g.Data, "Status: "))
	}
	require.Equal(t, []string{"delayed 4.2.2", "failed 5.2.2"}, actions)
}

func TestHopsThatCannotTakeIt(t *testing.T) {
	for _, c := range []struct {
		name   string
		hide   []string
		offer  []string
		change func(m *spool.Message)
		status string // "" : it is taken
	}{
		{"address needs SMTPUTF8", []string{"SMTPUTF8"}, nil, func(m *spool.Message) {
			m.UTF8, m.Recipients[0].Address = true, address.MustParse("jörg@example.org")
		}, "5.6.7"},
		{"header needs SMTPUTF8", []string{"SMTPUTF8"}, nil, func(m *spool.Message) {
			m.UTF8, m.Header = true, append(m.Header, "X-Ü: ü\r\n"...)
		}, "5.6.9"},
		{"has an ASCII form", []string{"SMTPUTF8"}, nil, func(m *spool.Message) {
			m.UTF8, m.Recipients[0].Address = true, address.MustParse("joerg@bücher.example")
		}, ""},
		{"SMTPUTF8 is there", nil, nil, func(m *spool.Message) {
			m.UTF8, m.Recipients[0].Address = true, address.MustParse("jörg@bücher.example")
		}, ""},
		{"8-bit body", []string{"8BITMIME"}, nil, func(m *spool.Message) { m.EightBit, m.Body = true, []byte("ü\r\n") }, "5.6.3"},
		{"7-bit body after all", []string{"8BITMIME"}, nil, func(m *spool.Message) { m.EightBit = true }, ""},
		{"too big", []string{"SIZE"}, []string{"SIZE 1000"}, func(m *spool.Message) { m.Body = bytes.Repeat([]byte("x\r\n"), 400) }, "5.3.4"},
		{"REQUIRETLS", nil, []string{"REQUIRETLS"}, func(m *spool.Message) { m.RequireTLS = true }, "5.7.30"},
		{"bare LF", nil, nil, func(m *spool.Message) { m.Body = []byte("one\n.\nMAIL FROM:<x@example.org>\r\n") }, "5.6.0"},
		{"bare CR", nil, nil, func(m *spool.Message) { m.Body = []byte("one\r.\r\n") }, "5.6.0"},
		{"unended header", nil, nil, func(m *spool.Message) { m.Header = []byte("Subject: x") }, "5.6.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := hop(t, smarthost.Options{Hide: c.hide, Offer: c.offer})
			r := start(t, setup{opts: Options{DSN: DSN{MayReport: func(*spool.Message) bool { return false }}}}, s)
			m := letter("a@example.org")
			c.change(m)
			r.accept(m)
			r.waitEmpty()
			r.wait("outcome", func() bool { return len(r.states()) == 1 })
			for _, got := range r.states() {
				if c.status == "" {
					require.Contains(t, got, "delivered")
				} else {
					require.Contains(t, got, "failed")
					require.Contains(t, got, c.status+";")
				}
			}
		})
	}
}

func TestUnfitGoesToTheHopThatCan(t *testing.T) {
	first, second := hop(t, smarthost.Options{Hide: []string{"SMTPUTF8"}}), hop(t, smarthost.Options{})
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{Priority: 1}, {Priority: 2}}}}, first, second)
	m := letter("jörg@example.org")
	m.UTF8 = true
	r.accept(m)
	r.waitEmpty()
	require.Zero(t, first.Count())
	require.Equal(t, []string{"jörg@example.org"}, second.Messages()[0].To)
	require.Contains(t, second.Messages()[0].FromParams, "SMTPUTF8")
}

// A hop that can't take a message is no reason to give it up while another one,
// which may, is away.
func TestUnfitWaitsForTheHopThatMay(t *testing.T) {
	first, second := hop(t, smarthost.Options{Hide: []string{"SMTPUTF8"}}), hop(t, smarthost.Options{})
	addr := second.Addr()
	require.NoError(t, second.Close())
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{Priority: 1, Address: first.Addr()}, {Priority: 2, Address: addr}}}})
	m := letter("jörg@example.org")
	m.UTF8 = true
	r.accept(m)
	attempts := func() int {
		list, err := r.store.List(t.Context(), spool.Filter{})
		require.NoError(t, err)
		if len(list) == 0 {
			return -1
		}
		return list[0].Recipients[0].Attempts
	}
	r.wait("attempts", func() bool { n := attempts(); return n < 0 || n > 3 })
	require.Empty(t, r.states(), "it waits")
	second = hop(t, smarthost.Options{Addr: addr})
	r.waitEmpty()
	require.Zero(t, first.Count())
	require.Equal(t, []string{"jörg@example.org"}, second.Messages()[0].To)
}

func TestRateLimit(t *testing.T) {
	s := hop(t, smarthost.Options{})
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{Rate: 100}}}}, s)
	begin := time.Now()
	for range 40 {
		r.accept(letter("a@example.org"))
	}
	r.waitEmpty()
	require.GreaterOrEqual(t, time.Since(begin), 290*time.Millisecond) // 40 less a burst of 10, at 100 a second
}

func TestStalledHopTimesOut(t *testing.T) {
	s := hop(t, smarthost.Options{Script: func(e smarthost.Event) (a smarthost.Answer) {
		if e.Verb == "MAIL" && e.Conn == 1 {
			a.Delay = time.Hour
		}
		return a
	}})
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{Timeouts: Timeouts{Mail: 30 * time.Millisecond}}}}}, s)
	r.accept(letter("a@example.org"))
	r.waitEmpty()
	require.EqualValues(t, 1, s.Count())
}

func TestUTF8Report(t *testing.T) {
	s := hop(t, smarthost.Options{Script: func(e smarthost.Event) (a smarthost.Answer) {
		if e.Verb == "RCPT" && strings.HasPrefix(e.Arg, "jörg") {
			a.Reply = "550 5.1.1 niemand"
		}
		return a
	}})
	r := start(t, setup{}, s)
	m := letter("jörg@example.org")
	m.UTF8 = true
	r.accept(m)
	r.waitEmpty()
	report := string(s.Messages()[0].Data)
	require.Contains(t, report, "Content-Type: message/global-delivery-status\r\n")
	require.Contains(t, report, "Final-Recipient: utf-8; jörg@example.org\r\n")
	require.Contains(t, s.Messages()[0].FromParams, "BODY=8BITMIME")
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := New(nil, plain{}, Options{Helo: "bad name", Smarthosts: []Smarthost{
		{Address: "nohost"}, {Name: "a", Address: "h:25", TLS: "maybe"}, {Name: "a", Address: "h:25", Username: "u"}}})
	require.Error(t, err)
	for _, want := range []string{"nohost", "maybe", "given twice", "password would travel", "helo"} {
		require.ErrorContains(t, err, want)
	}
	_, err = New(nil, plain{}, Options{})
	require.ErrorContains(t, err, "no smarthost")
}

func TestPerConnLimit(t *testing.T) {
	s := hop(t, smarthost.Options{})
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{MaxConns: 1, PerConn: 5}}}}, s)
	for range 20 {
		r.accept(letter("a@example.org"))
	}
	r.waitEmpty()
	require.EqualValues(t, 4, s.Connections())
}

// TestHopHangsUpIdleConnections: a connection the hop closed while it was idle
// costs nothing and repeats nothing.
func TestHopHangsUpIdleConnections(t *testing.T) {
	for _, offer := range [][]string{nil, {"CHUNKING"}} {
		s := hop(t, smarthost.Options{Offer: offer})
		r := start(t, setup{opts: Options{Schedule: Schedule{First: time.Hour, Pause: time.Hour}}}, s)
		for range 5 {
			r.accept(letter("a@example.org"))
			r.waitEmpty()
			s.Hangup()
		}
		require.EqualValues(t, 5, s.Count())
	}
}

// TestBacklogIsReadBack: what waited on disk during an outage leaves from there.
func TestBacklogIsReadBack(t *testing.T) {
	s, err := smarthost.New(smarthost.Options{})
	require.NoError(t, err)
	addr := s.Addr()
	require.NoError(t, s.Close())
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{Address: addr}}}, spool: spool.Options{Memory: 10_000}})
	for range 1000 {
		r.accept(letter("a@example.org"))
	}
	r.wait("the breaker opens", r.d.closedGate)
	s = hop(t, smarthost.Options{Addr: addr, Discard: true})
	for range 100 {
		r.accept(letter("a@example.org"))
	}
	r.waitEmpty()
	require.EqualValues(t, 1100, s.Count())
	require.Zero(t, r.store.Stats().Memory)
}

func TestLedgerRecords(t *testing.T) {
	d, err := New(nil, plain{}, Options{Smarthosts: []Smarthost{{Address: "127.0.0.1:25"}}, Controller: func(uint16) string { return "acme" }})
	require.NoError(t, err)
	m := letter("a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org")
	m.ID, m.MessageID = "ID", "ab"
	m.Recipients[3].Subject[0], m.Recipients[4].Subject[0] = 3, 4
	recs := d.records(m, []spool.Result{
		{Recipient: 0, State: spool.Delivered, Status: "2.0.0", Host: "h"},
		{Recipient: 1, State: spool.Delivered, Status: "2.0.0", Host: "h"},
		{Recipient: 2, State: spool.Queued, Status: "4.2.0", Host: "h"},
		{Recipient: 3, State: spool.Delivered, Status: "2.0.0", Host: "h"},
		{Recipient: 4, State: spool.Denied, Status: "5.7.1", Reply: "withdrawn"},
	})
	require.Len(t, recs, 3)
	require.Equal(t, map[string]string{"host": "h", "status": "2.0.0", "recipients": "2"}, recs[0].Data)
	require.Equal(t, m.Recipients[3].Subject, recs[1].Subject)
	require.Equal(t, "denied", recs[2].Action)
	require.Equal(t, "withdrawn", recs[2].Reason)
	require.Equal(t, "acme", recs[2].Controller)
	require.Equal(t, "ID", recs[2].Ref)
}

// TestSharedCopyGoesOnce: known recipients of a shared copy share its
// transaction, and its record of delivery; who was refused has one of their own.
func TestSharedCopyGoesOnce(t *testing.T) {
	s := hop(t, smarthost.Options{Script: byLocalPart})
	r := start(t, setup{}, s)
	m := letter("550-5.1.1@example.org")
	m.Shared = true
	for i := range 49 {
		m.Recipients = append(m.Recipients, spool.Recipient{Address: address.MustParse("r" + size(make([]byte, i)) + "@example.org")})
	}
	for i := range m.Recipients {
		m.Recipients[i].Subject[0] = byte(i + 1)
	}
	var results []spool.Result
	for i := range m.Recipients {
		state := spool.Delivered
		if i == 0 {
			state = spool.Failed
		}
		results = append(results, spool.Result{Recipient: i, State: state})
	}
	recs := r.d.records(m, results)
	require.Len(t, recs, 2)
	require.Equal(t, m.Recipients[0].Subject, recs[0].Subject)
	require.True(t, recs[1].Subject.IsZero())
	require.Equal(t, "49", recs[1].Data["recipients"])

	r.accept(m)
	r.waitEmpty()
	var copies int
	for _, g := range s.Messages() {
		if g.From != "" {
			copies++
			require.Len(t, g.To, 49)
		}
	}
	require.Equal(t, 1, copies)
}
