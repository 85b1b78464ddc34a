package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"postern/gateway/address"
	"postern/gateway/node"
	"postern/gateway/spool"
	"postern/testmail/smarthost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain prepares one shared copy for all, or what fn says.
type plain struct {
	fn func(m *spool.Message, due []int) ([]Copy, []Refusal, error)
}

func (p plain) Prepare(_ context.Context, m *spool.Message, due []int) ([]Copy, []Refusal, error) {
	if p.fn != nil {
		return p.fn(m, due)
	}
	return []Copy{{Recipients: due, ReversePath: m.ReversePath, Header: m.Header, Body: m.Body, UTF8: m.UTF8, EightBit: m.EightBit}}, nil, nil
}

// each prepares a copy of its own for every recipient.
func each(m *spool.Message, due []int) (out []Copy, _ []Refusal, _ error) {
	for _, i := range due {
		h := append([]byte(fmt.Sprintf("X-Copy: %d\r\n", i)), m.Header...)
		out = append(out, Copy{Recipients: []int{i}, ReversePath: m.ReversePath, Header: h, Body: m.Body})
	}
	return out, nil, nil
}

// rig is a spool with a running deliverer.
type rig struct {
	*testing.T
	store    *spool.Store
	d        *Deliverer
	mu       sync.Mutex
	outcomes []Outcome
}

type setup struct {
	prep  Preparer
	opts  Options
	spool spool.Options
}

// start runs deliveries to servers until the test ends.
func start(t *testing.T, su setup, servers ...*smarthost.Server) *rig {
	t.Helper()
	db := openMem(t)
	store, err := spool.New(db, "", nil, su.spool)
	require.NoError(t, err)
	r := &rig{T: t, store: store}
	if su.prep == nil {
		su.prep = plain{}
	}
	o := su.opts
	for i, s := range servers {
		if i >= len(o.Smarthosts) {
			o.Smarthosts = append(o.Smarthosts, Smarthost{})
		}
		o.Smarthosts[i].Address = s.Addr()
	}
	short(&o)
	o.Outcome = func(_ context.Context, out Outcome) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.outcomes = append(r.outcomes, out)
	}
	r.d, err = New(store, su.prep, o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, store.Close())
		require.NoError(t, db.Close())
	})
	return r
}

// short makes all waiting a matter of milliseconds.
func short(o *Options) {
	if o.Schedule == (Schedule{}) {
		ms := 5 * time.Millisecond
		o.Schedule = Schedule{First: ms, Second: ms, Later: ms, Defer: ms, Pause: ms}
	}
	if o.ProbeEvery == 0 {
		o.ProbeEvery = 10 * time.Millisecond
	}
	if o.Helo == "" {
		o.Helo = "postern.example"
	}
	for i := range o.Smarthosts {
		if o.Smarthosts[i].Timeouts == (Timeouts{}) {
			s := 10 * time.Second
			o.Smarthosts[i].Timeouts = Timeouts{Greeting: s, Mail: s, Rcpt: s, Data: s, Block: s, Final: s}
		}
	}
}

func openMem(t *testing.T) *pebble.DB {
	t.Helper()
	o := node.Options()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("state", o)
	require.NoError(t, err)
	return db
}

func hop(t *testing.T, o smarthost.Options) *smarthost.Server {
	t.Helper()
	s, err := smarthost.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func letter(rcpts ...string) *spool.Message {
	m := &spool.Message{
		Stream: 3, Client: "shop", ReversePath: address.MustParse("sender@shop.example"), EnvID: "env+1",
		Header: []byte("From: sender@shop.example\r\nSubject: hello\r\n"), Body: []byte("Hello\r\n.dot\r\n..two\r\nend\r\n"),
	}
	for _, r := range rcpts {
		m.Recipients = append(m.Recipients, spool.Recipient{Address: address.MustParse(r)})
	}
	return m
}

func (r *rig) accept(m *spool.Message) {
	r.Helper()
	require.NoError(r, r.store.Accept(r.Context(), m))
}

func (r *rig) wait(what string, cond func() bool) {
	r.Helper()
	require.Eventually(r, cond, 20*time.Second, time.Millisecond, what)
}

func (r *rig) waitEmpty() {
	r.Helper()
	r.wait("the spool is empty", func() bool { return r.store.Stats().Messages == 0 })
}

func (r *rig) states() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]string{}
	for _, o := range r.outcomes {
		out[o.Message.Recipients[o.Recipient].Address.Plain()] += fmt.Sprintf("%s %d %s;", o.State, o.Code, o.Status)
	}
	return out
}

func TestDeliversBytesUnchanged(t *testing.T) {
	for name, opts := range map[string]smarthost.Options{
		"pipelining": {},
		"stepwise":   {Hide: []string{"PIPELINING"}},
		"chunking":   {Offer: []string{"CHUNKING"}},
		"helo only": {Script: func(e smarthost.Event) (a smarthost.Answer) {
			if e.Verb == "EHLO" {
				a.Reply = "502 5.5.1 what"
			}
			return a
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := hop(t, opts)
			r := start(t, setup{}, s)
			m := letter("a@example.org", "b@example.net")
			want := string(m.Header) + "\r\n" + string(m.Body)
			r.accept(m)
			r.waitEmpty()
			got := s.Messages()
			require.Len(t, got, 1)
			require.Equal(t, want, string(got[0].Data))
			require.Equal(t, []string{"a@example.org", "b@example.net"}, got[0].To)
			require.Equal(t, "sender@shop.example", got[0].From)
			r.wait("outcomes", func() bool { return len(r.states()) == 2 })
			require.Equal(t, "delivered 250 2.0.0;", r.states()["a@example.org"])
		})
	}
}

func TestReusesConnections(t *testing.T) {
	s := hop(t, smarthost.Options{})
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{MaxConns: 2}}}}, s)
	for range 100 {
		r.accept(letter("a@example.org"))
	}
	r.waitEmpty()
	require.EqualValues(t, 100, s.Count())
	require.LessOrEqual(t, s.Connections(), int64(2))
}

// script answers RCPT by the local-part "code-status": 550-5.1.1@...
func byLocalPart(e smarthost.Event) (a smarthost.Answer) {
	if e.Verb == "RCPT" && e.Arg[0] >= '4' && e.Arg[0] <= '5' {
		a.Reply = strings.Replace(e.Arg[:strings.IndexByte(e.Arg, '@')], "-", " ", 1) + " told so"
	}
	return a
}

func TestRecipientsFailAlone(t *testing.T) {
	for _, hide := range [][]string{nil, {"PIPELINING"}} {
		s := hop(t, smarthost.Options{Hide: hide, Script: byLocalPart})
		r := start(t, setup{opts: Options{DSN: DSN{Stream: 9}}}, s)
		r.accept(letter("good@example.org", "550-5.1.1@example.org", "554-x@example.org"))
		r.waitEmpty()
		r.wait("outcomes", func() bool { return len(r.states()) == 4 })
		require.Equal(t, "delivered 250 2.0.0;", r.states()["good@example.org"])
		require.Equal(t, "failed 550 5.1.1;", r.states()["550-5.1.1@example.org"])
		require.Equal(t, "failed 554 ;", r.states()["554-x@example.org"])
		got := s.Messages()
		require.Len(t, got, 2)
		bounce := got[0]
		if bounce.From != "" {
			bounce = got[1]
		}
		require.Equal(t, "", bounce.From, "the report comes from <>")
		require.Equal(t, []string{"sender@shop.example"}, bounce.To)
		report := string(bounce.Data)
		require.Contains(t, report, "Action: failed\r\nStatus: 5.1.1\r\n")
		require.Contains(t, report, "Original-Envelope-Id: env+1\r\nReporting-MTA: dns; postern.example\r\n")
		require.Contains(t, report, "Subject: hello\r\n")
		require.NotContains(t, report, "..two", "no body goes back")
	}
}

func TestRetriesThenExpires(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	s := hop(t, smarthost.Options{Script: func(e smarthost.Event) (a smarthost.Answer) {
		if e.Verb != "RCPT" {
			return a
		}
		mu.Lock()
		defer mu.Unlock()
		tries[e.Arg]++
		if strings.HasPrefix(e.Arg, "never") || strings.HasPrefix(e.Arg, "third") && tries[e.Arg] < 3 {
			a.Reply = "450 4.2.0 not now"
		}
		return a
	}})
	r := start(t, setup{}, s)
	m := letter("never@example.org", "third@example.org")
	m.Expires = time.Now().Add(400 * time.Millisecond)
	r.accept(m)
	r.waitEmpty()
	r.wait("outcomes", func() bool { return len(r.states()) == 3 })
	require.Equal(t, "delivered 250 2.0.0;", r.states()["third@example.org"])
	require.Equal(t, "expired 450 4.2.0;", r.states()["never@example.org"])
	require.Contains(t, string(s.Messages()[1].Data), "Status: 5.2.0\r\n", "the last real cause is told") // a report of an expiry comes last
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 3, tries["third@example.org"])
	require.Greater(t, tries["never@example.org"], 3)
}

func TestVerdictAgainBeforeAttempt(t *testing.T) {
	s := hop(t, smarthost.Options{})
	var mu sync.Mutex
	asked := 0
	r := start(t, setup{prep: plain{func(m *spool.Message, due []int) ([]Copy, []Refusal, error) {
		if m.ReversePath.IsZero() {
			return plain{}.Prepare(context.Background(), m, due)
		}
		mu.Lock()
		defer mu.Unlock()
		asked++
		switch asked {
		case 1:
			return nil, nil, errors.New("store away")
		case 2:
			return nil, []Refusal{{Recipient: 0, Reason: "store-unavailable", Status: "4.3.0", Defer: true}}, nil // 1 is forgotten
		}
		return []Copy{{Recipients: []int{1}, ReversePath: m.ReversePath, Header: m.Header, Body: m.Body}},
			[]Refusal{{Recipient: 0, Reason: "withdrawn", Status: "5.7.1"}}, nil
	}}}, s)
	r.accept(letter("gone@example.org", "in@example.org"))
	r.waitEmpty()
	r.wait("outcomes", func() bool { return len(r.states()) == 3 })
	require.Equal(t, "denied 0 5.7.1;", r.states()["gone@example.org"])
	require.Equal(t, "delivered 250 2.0.0;", r.states()["in@example.org"])
	var report string
	for _, m := range s.Messages() {
		require.NotContains(t, m.To, "gone@example.org")
		if m.From == "" {
			report = string(m.Data)
		}
	}
	require.Contains(t, report, "refused by policy: withdrawn")
}

// What gets no verdict, as of a stream that is configured no more, ends with its
// life like all else, and its sender is told.
func TestNoVerdictForLifeIsTold(t *testing.T) {
	for name, prepare := range map[string]func(*spool.Message, []int) ([]Copy, []Refusal, error){
		"error": func(*spool.Message, []int) ([]Copy, []Refusal, error) { return nil, nil, errors.New("no such stream") },
		"deferral": func(_ *spool.Message, due []int) ([]Copy, []Refusal, error) {
			return nil, []Refusal{{Recipient: due[0], Reason: "store-unavailable", Status: "4.3.0", Defer: true}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := hop(t, smarthost.Options{})
			r := start(t, setup{prep: plain{func(m *spool.Message, due []int) ([]Copy, []Refusal, error) {
				if m.ReversePath.IsZero() {
					return plain{}.Prepare(context.Background(), m, due)
				}
				return prepare(m, due)
			}}}, s)
			m := letter("a@example.org")
			m.Expires = time.Now().Add(50 * time.Millisecond)
			r.accept(m)
			r.waitEmpty()
			r.wait("outcomes", func() bool { return len(r.states()) == 2 })
			require.Equal(t, "expired 0 4.3.0;", r.states()["a@example.org"])
			require.Len(t, s.Messages(), 1)
			require.Contains(t, string(s.Messages()[0].Data), "Final-Recipient: rfc822; a@example.org\r\nAction: failed\r\nStatus: 5.3.0\r\n")
		})
	}
}

func TestSmarthostAwayCostsNothing(t *testing.T) {
	s, err := smarthost.New(smarthost.Options{})
	require.NoError(t, err)
	addr := s.Addr()
	require.NoError(t, s.Close())
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{Address: addr}}}})
	for range 50 {
		r.accept(letter("a@example.org"))
	}
	r.wait("the breaker opens", r.d.closedGate)
	list, err := r.store.List(t.Context(), spool.Filter{})
	require.NoError(t, err)
	for _, m := range list {
		require.Zero(t, m.Recipients[0].Attempts)
	}
	s = hop(t, smarthost.Options{Addr: addr})
	r.waitEmpty()
	require.EqualValues(t, 50, s.Count())
}

func TestFailoverByPriority(t *testing.T) {
	first, second := hop(t, smarthost.Options{}), hop(t, smarthost.Options{})
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{Priority: 10}, {Priority: 20}}}}, first, second)
	r.accept(letter("a@example.org"))
	r.waitEmpty()
	require.EqualValues(t, 1, first.Count())
	require.NoError(t, first.Close())
	for range 10 {
		r.accept(letter("a@example.org"))
	}
	r.waitEmpty()
	require.EqualValues(t, 10, second.Count())
}

func TestManyPersonalCopies(t *testing.T) {
	s := hop(t, smarthost.Options{Offer: []string{"CHUNKING"}})
	r := start(t, setup{prep: plain{each}}, s)
	var rcpts []string
	for i := range 50 {
		rcpts = append(rcpts, fmt.Sprintf("r%d@example.org", i))
	}
	m := letter(rcpts...)
	for i := range m.Recipients {
		m.Recipients[i].Subject[0] = byte(i + 1)
	}
	r.accept(m)
	r.waitEmpty()
	seen := map[string]string{}
	for _, g := range s.Messages() {
		require.Len(t, g.To, 1)
		seen[g.To[0]] = strings.SplitN(string(g.Data), "\r\n", 2)[0]
	}
	require.Len(t, s.Messages(), 50)
	require.Equal(t, "X-Copy: 17", seen["r17@example.org"])
}

func TestBrokenConnections(t *testing.T) {
	for _, verb := range []string{"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		for name, answer := range map[string]smarthost.Answer{
			"drop": {Drop: true}, "421": {Reply: "421 4.3.2 going"}, "rubbish": {Reply: "hello there"},
		} {
			t.Run(verb+" "+name, func(t *testing.T) {
				var mu sync.Mutex
				left := 2
				s := hop(t, smarthost.Options{Script: func(e smarthost.Event) smarthost.Answer {
					mu.Lock()
					defer mu.Unlock()
					if e.Verb == verb && left > 0 {
						left--
						return answer
					}
					return smarthost.Answer{}
				}})
				r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{MaxConns: 3}}}}, s)
				for range 5 {
					r.accept(letter("a@example.org"))
				}
				r.waitEmpty()
				require.EqualValues(t, 5, s.Count(), "each came once")
			})
		}
	}
}

func TestLostFinalReplyIsRepeated(t *testing.T) {
	var mu sync.Mutex
	cut := false
	s := hop(t, smarthost.Options{Script: func(e smarthost.Event) smarthost.Answer {
		mu.Lock()
		defer mu.Unlock()
		if e.Verb == "." && !cut {
			cut = true
			return smarthost.Answer{Drop: true, Keep: true}
		}
		return smarthost.Answer{}
	}})
	r := start(t, setup{}, s)
	r.accept(letter("a@example.org"))
	r.waitEmpty()
	require.EqualValues(t, 2, s.Count(), "the one duplicate SMTP can't avoid (RFC 1047)")
}

func TestTooManyRecipientsGoOnAtOnce(t *testing.T) {
	for _, code := range []string{"452 4.5.3 enough", "552 too many"} {
		s := hop(t, smarthost.Options{Script: func(e smarthost.Event) (a smarthost.Answer) {
			if e.Verb == "RCPT" && len(e.Msg.To) >= 2 {
				a.Reply = code
			}
			return a
		}})
		r := start(t, setup{opts: Options{Schedule: Schedule{First: time.Hour}}}, s)
		r.accept(letter("a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org"))
		r.waitEmpty()
		require.EqualValues(t, 3, s.Count())
	}
}

func TestStopLeavesTheRest(t *testing.T) {
	s := hop(t, smarthost.Options{Script: func(e smarthost.Event) (a smarthost.Answer) {
		if e.Verb == "." {
			a.Delay = time.Hour
		}
		return a
	}})
	db := openMem(t)
	store, err := spool.New(db, "", nil, spool.Options{})
	require.NoError(t, err)
	o := Options{Smarthosts: []Smarthost{{Address: s.Addr()}}, Grace: 20 * time.Millisecond}
	short(&o)
	d, err := New(store, plain{}, o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	require.NoError(t, store.Accept(ctx, letter("a@example.org")))
	require.Eventually(t, func() bool { return s.Open() > 0 }, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.EqualValues(t, 1, store.Stats().Messages)
	require.NoError(t, store.Close())
	require.NoError(t, db.Close())
}
