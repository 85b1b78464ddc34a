package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/delivery"
	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

// truth is a consent registry in memory. An address it does not know has no
// consent; down makes every look-up fail.
type truth struct {
	mu      sync.Mutex
	answers map[string]consent.Answer
	down    bool
	asked   int
}

func (r *truth) Lookup(_ context.Context, _, _ string, _ uint16, addrs []address.Address) ([]consent.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.down {
		return nil, errors.New("registry away")
	}
	out := make([]consent.Answer, len(addrs))
	for i, a := range addrs {
		out[i] = r.answers[a.Plain()]
		copy(out[i].Subject[:], "subject of "+a.Plain())
	}
	return out, nil
}

func (r *truth) set(addr string, a consent.Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[addr] = a
}

// shelf is a spool in memory that also keeps the records.
type shelf struct {
	mu   sync.Mutex
	msgs []*spool.Message
	recs []ledger.Record
	fail error
}

func (s *shelf) Accept(_ context.Context, m *spool.Message, recs ...ledger.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.msgs = append(s.msgs, m)
	s.recs = append(s.recs, recs...)
	return nil
}

func (s *shelf) Append(_ context.Context, recs ...ledger.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recs = append(s.recs, recs...)
	return nil
}

func (s *shelf) last(t *testing.T) *spool.Message {
	t.Helper()
	require.NotEmpty(t, s.msgs)
	return s.msgs[len(s.msgs)-1]
}

// sealer makes tokens that show whom they are for.
type sealer struct{}

func (sealer) Seal(subject address.SubjectID, _ uint16, _ time.Time) string {
	return strings.Repeat("t", 34) + subject.String()
}

// counted keeps what enforcing would have stopped, and the traffic.
type counted struct {
	mu     sync.Mutex
	would  []Would
	passed []Passed
}

func (c *counted) Count(p Passed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed = append(c.passed, p)
}

func (c *counted) Would(w Would) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.would = append(c.would, w)
}

type bench struct {
	*Engine
	consent *truth
	shelf   *shelf
	report  *counted
	streams []stream.Stream
}

var engineClock = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

func testStreams() []stream.Stream {
	return []stream.Stream{
		{Name: "news", Number: 1, Kind: stream.Marketing, Controller: "shop", Purpose: "newsletter", ListID: "news.example.org", Title: "Shop News",
			FromDomains: []string{"news.example.org"}, Mode: stream.Enforce},
		{Name: "orders", Number: 2, Kind: stream.Transactional, Controller: "shop", FromDomains: []string{"example.org"}, Mode: stream.Enforce},
		{Name: "people", Number: 3, Kind: stream.Personal, Controller: "shop", FromDomains: []string{"example.org"}, Mode: stream.Enforce},
		{Name: "cases", Number: 4, Kind: stream.Service, Controller: "shop", FromDomains: []string{"example.org"}, Mode: stream.Enforce},
	}
}

func newTestEngine(t testing.TB, edit func(*Deps, *EngineOptions, []stream.Stream)) *bench {
	t.Helper()
	b := &bench{consent: &truth{answers: map[string]consent.Answer{}}, shelf: &shelf{}, report: &counted{}, streams: testStreams()}
	d := Deps{Consent: b.consent, Spool: b.shelf, Trail: b.shelf, Tokens: sealer{}}
	o := EngineOptions{Hostname: "relay.example.org", PublicURL: "https://privacy.example.org", MailtoDomain: "u.example.org",
		Report: b.report, Now: func() time.Time { return engineClock }}
	if edit != nil {
		edit(&d, &o, b.streams)
	}
	set, err := stream.NewSet([]stream.Controller{{ID: "shop", Domains: []string{"example.org"}}}, b.streams)
	require.NoError(t, err)
	d.Streams = set
	b.Engine, err = NewEngine(d, o)
	require.NoError(t, err)
	b.consent.set("yes@example.com", consent.Answer{Status: consent.StatusActive, Basis: consent.Express, Evidence: "ev1"})
	return b
}

func testGrant() *Grant {
	return &Grant{Client: "crm", Streams: []string{"news", "orders", "people"}, Default: "people"}
}

func testEnvelope(to ...string) *Envelope {
	env := &Envelope{Session: "s1", Grant: testGrant(), Helo: "crm.example.org", Remote: netip.MustParseAddr("192.0.2.7"),
		ReversePath: address.MustParse("bounce@example.org")}
	for _, a := range to {
		env.Recipients = append(env.Recipients, EnvelopeRecipient{Address: address.MustParse(a)})
	}
	return env
}

// letter builds a message; extra are further header lines.
func letter(from string, extra ...string) []byte {
	var b bytes.Buffer
	b.WriteString("From: Shop <" + from + ">\r\nTo: someone@example.com\r\nSubject: Hello\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n")
	for _, l := range extra {
		b.WriteString(l + "\r\n")
	}
	b.WriteString("\r\nHello there.\r\n")
	return b.Bytes()
}

func denialOf(t *testing.T, err error) *Denial {
	t.Helper()
	var d *Denial
	require.ErrorAs(t, err, &d)
	return d
}

func prepareAll(t *testing.T, b *bench, m *spool.Message) ([]delivery.Copy, []delivery.Refusal) {
	t.Helper()
	due := make([]int, len(m.Recipients))
	for i := range due {
		due[i] = i
	}
	copies, refusals, err := b.Prepare(t.Context(), m, due)
	require.NoError(t, err)
	return copies, refusals
}

func TestMarketingLeavesPersonalised(t *testing.T) {
	b := newTestEngine(t, nil)
	raw := letter("a@news.example.org", "X-Postern-Stream: news", "List-Unsubscribe: <https://old.example.net>", "Bcc: secret@example.net")
	out, err := b.Data(t.Context(), testEnvelope("yes@example.com"), raw)
	require.NoError(t, err)
	require.Equal(t, []error{nil}, out.Recipients)
	m := b.shelf.last(t)
	require.Equal(t, out.ID, m.ID)
	require.EqualValues(t, 1, m.Stream)
	require.Equal(t, "crm", m.Client)
	require.NotContains(t, string(m.Header), "X-Postern-Stream")
	require.NotContains(t, string(m.Header), "Bcc")
	require.Equal(t, "Hello there.\r\n", string(m.Body))

	copies, refusals := prepareAll(t, b, m)
	require.Empty(t, refusals)
	require.Len(t, copies, 1)
	hdr := string(copies[0].Header)
	token := sealer{}.Seal(m.Recipients[0].Subject, 1, engineClock)
	require.Contains(t, hdr, "List-Unsubscribe: <https://privacy.example.org/u/"+token+">,\r\n\t<mailto:u+"+token+"@u.example.org>\r\n")
	require.Contains(t, hdr, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")
	require.Contains(t, hdr, "List-Id: \"Shop News\"\r\n\t<news.example.org>\r\n")
	require.NotContains(t, hdr, "old.example.net")
	require.True(t, strings.HasPrefix(hdr, "Received: from crm.example.org ([192.0.2.7])\r\n\tby relay.example.org ("))
	require.Len(t, b.shelf.recs, 1)
	require.Equal(t, "allow", b.shelf.recs[0].Action)
	require.Equal(t, "ev1", b.shelf.recs[0].Data["evidence"])
}

func TestNoConsentIsRefused(t *testing.T) {
	b := newTestEngine(t, nil)
	_, err := b.Data(t.Context(), testEnvelope("no@example.com"), letter("a@news.example.org"))
	require.Equal(t, &Denial{Reason: NoConsent, Detail: "newsletter"}, denialOf(t, err))
	require.Empty(t, b.shelf.msgs)
	require.Len(t, b.shelf.recs, 1)
	require.Equal(t, "deny", b.shelf.recs[0].Action)
	require.Equal(t, "no-consent", b.shelf.recs[0].Reason)
}

func TestStoreAway(t *testing.T) {
	b := newTestEngine(t, nil)
	b.consent.down = true
	_, err := b.Data(t.Context(), testEnvelope("yes@example.com"), letter("a@news.example.org"))
	require.Equal(t, &Denial{Reason: StoreUnavailable, Defer: true}, denialOf(t, err))
	out, err := b.Data(t.Context(), testEnvelope("yes@example.com"), letter("a@example.org", "X-Postern-Stream: orders"))
	require.NoError(t, err, "transactional mail passes")
	require.NotEmpty(t, out.ID)
}

func TestWithdrawalBindsTheSpool(t *testing.T) {
	b := newTestEngine(t, nil)
	_, err := b.Data(t.Context(), testEnvelope("yes@example.com"), letter("a@news.example.org"))
	require.NoError(t, err)
	b.consent.set("yes@example.com", consent.Answer{Status: consent.StatusActive, Suppressed: consent.ObjectedTo, Scope: consent.ScopeController})
	copies, refusals := prepareAll(t, b, b.shelf.last(t))
	require.Empty(t, copies)
	require.Equal(t, []delivery.Refusal{{Recipient: 0, Reason: "suppressed", Status: "5.7.1"}}, refusals)

	b.consent.down = true
	copies, refusals = prepareAll(t, b, b.shelf.last(t))
	require.Empty(t, copies)
	require.Equal(t, []delivery.Refusal{{Recipient: 0, Reason: "store-unavailable", Status: "4.3.0", Defer: true}}, refusals)
}

func TestOrdinaryMailPassesUntouched(t *testing.T) {
	b := newTestEngine(t, nil)
	raw := letter("person@example.org", "X-Odd : 1", "Subject2:\t folded", " more")
	_, err := b.Data(t.Context(), testEnvelope("a@example.com", "b@example.com"), raw)
	require.NoError(t, err)
	copies, refusals := prepareAll(t, b, b.shelf.last(t))
	require.Empty(t, refusals)
	require.Len(t, copies, 1, "one copy for all")
	require.Equal(t, []int{0, 1}, copies[0].Recipients)
	_, rest, ok := strings.Cut(string(copies[0].Header), "+0000\r\n")
	require.True(t, ok)
	require.Equal(t, string(raw), rest+"\r\n"+string(copies[0].Body))
}

func TestSubmitOwnMail(t *testing.T) {
	b := newTestEngine(t, nil)
	id, err := b.Submit(t.Context(), Outgoing{Stream: "cases", To: address.MustParse("who@example.com"), NotifyNever: true,
		Header: []byte("From: privacy@example.org\r\nSubject: Auto: received\r\n"), Body: []byte("We have it.\r\n"), Ref: "DSR-1"})
	require.NoError(t, err)
	m := b.shelf.last(t)
	require.Equal(t, id, m.ID)
	require.Equal(t, "NEVER", m.Recipients[0].Notify)
	require.True(t, m.ReversePath.IsZero())
	require.Contains(t, string(m.Header), "Message-ID: <")
	require.Contains(t, string(m.Header), "Date: ")
	require.Equal(t, "DSR-1", b.shelf.recs[0].Data["for"])
	_, err = b.Submit(t.Context(), Outgoing{Stream: "news", To: address.MustParse("who@example.com"), Header: []byte("From: a@example.org\r\n")})
	require.Error(t, err, "no way round consent")
}

// A controller with a host of its own stands in its mail's links by it.
func TestLinksAtTheControllersOwnHost(t *testing.T) {
	b := newTestEngine(t, nil)
	set, err := stream.NewSet([]stream.Controller{{ID: "shop", Domains: []string{"example.org"}, PublicURL: "https://mail.shop.example"}}, b.streams)
	require.NoError(t, err)
	require.NoError(t, b.SetStreams(set))
	raw := bytes.Replace(letter("a@news.example.org", "X-Postern-Stream: news"), []byte("Hello there."), []byte("Off: {{unsubscribe_url}} {{preferences_url}}"), 1)
	_, err = b.Data(t.Context(), testEnvelope("yes@example.com"), raw)
	require.NoError(t, err)
	copies, _ := prepareAll(t, b, b.shelf.last(t))
	require.Len(t, copies, 1)
	require.Contains(t, string(copies[0].Header), "List-Unsubscribe: <https://mail.shop.example/u/")
	require.Contains(t, string(copies[0].Header), "<mailto:u+")
	require.Contains(t, string(copies[0].Body), "Off: https://mail.shop.example/u/")
	require.Contains(t, string(copies[0].Body), " https://mail.shop.example/p/")
}
