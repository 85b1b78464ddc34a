package delivery

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/spool"
	"postern/testmail/smarthost"
)

// flown sends a letter to each recipient in one flight over one connection.
func flown(t *testing.T, o flight, to ...string) (*smarthost.Server, []*transaction, *conn, error) {
	t.Helper()
	s := hop(t, o.Options)
	opts := Options{Smarthosts: []Smarthost{{Address: s.Addr(), TLS: TLSNone}}}
	short(&opts)
	opts = opts.withDefaults()
	h, err := newHost(opts.Smarthosts[0], opts)
	require.NoError(t, err)
	if o.prompt {
		h.took(1, time.Millisecond)
	}
	c, err := h.dial(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.net.Close() })
	var txs []*transaction
	for i, r := range to {
		m := &spool.Message{ReversePath: address.MustParse("sender@shop.example"), Recipients: []spool.Recipient{{Address: address.MustParse(r)}}}
		txs = append(txs, &transaction{m: m, cp: Copy{Recipients: []int{0}, ReversePath: m.ReversePath,
			Header: fmt.Appendf(nil, "Subject: %d\r\n", i), Body: []byte("Hello\r\n.dot\r\n")}})
	}
	return s, txs, c, c.send(t.Context(), txs)
}

// flight is a kind of hop; prompt says that it was quick a moment ago.
type flight struct {
	smarthost.Options
	prompt bool
}

var flights = map[string]flight{
	"BDAT":           {smarthost.Options{Offer: []string{"CHUNKING"}}, true},
	"BDAT held back": {smarthost.Options{Offer: []string{"CHUNKING"}}, false},
	"DATA":           {},
	"stepwise":       {Options: smarthost.Options{Hide: []string{"PIPELINING"}}},
}

// A refusal at any point of one transaction says nothing about its neighbours.
func TestFlightKeepsTransactionsApart(t *testing.T) {
	for name, o := range flights {
		t.Run(name, func(t *testing.T) {
			o.Script = func(e smarthost.Event) (a smarthost.Answer) {
				switch {
				case e.Verb == "RCPT" && strings.HasPrefix(e.Arg, "rcpt"):
					a.Reply = "550 5.1.1 nobody"
				case e.Verb == "." && strings.HasPrefix(e.Msg.To[0], "dot"):
					a.Reply = "451 4.3.0 later"
				case e.Verb == "DATA" && strings.HasPrefix(e.Msg.To[0], "data"):
					a.Reply = "452 4.3.1 full"
				}
				return a
			}
			to := []string{"a@example.org", "rcpt@example.org", "b@example.org", "dot@example.org", "c@example.org", "rcpt@example.org", "d@example.org"}
			if !strings.HasPrefix(name, "BDAT") {
				to = append(to, "data@example.org", "e@example.org")
			}
			s, txs, c, err := flown(t, o, to...)
			require.NoError(t, err)

			for i, tx := range txs {
				require.True(t, tx.over, to[i])
				code := 250
				switch strings.SplitN(to[i], "@", 2)[0] {
				case "rcpt":
					code = 550
				case "dot":
					code = 451
				case "data":
					code = 452
				}
				require.True(t, tx.verdicts[0].known, to[i])
				require.Equal(t, code, tx.verdicts[0].reply.code, to[i])
			}
			for _, m := range s.Messages() {
				n := 0
				_, err := fmt.Sscanf(string(m.Data), "Subject: %d", &n)
				require.NoError(t, err)
				require.Equal(t, []string{to[n]}, m.To)
				require.Equal(t, fmt.Sprintf("Subject: %d\r\n\r\nHello\r\n.dot\r\n", n), string(m.Data))
			}
			require.False(t, c.dirty, "the last one was taken")
			require.Zero(t, c.r.Buffered(), "no reply is left over")
		})
	}
}

// Where a flight breaks off, only the transaction in hand is in doubt.
func TestFlightBreaksOff(t *testing.T) {
	for name, o := range flights {
		t.Run(name, func(t *testing.T) {
			o.Script = func(e smarthost.Event) (a smarthost.Answer) {
				a.Drop = e.Verb == "." && e.Msg.To[0] == "drop@example.org"
				return a
			}
			_, txs, _, err := flown(t, o, "a@example.org", "drop@example.org", "b@example.org")
			require.Error(t, err)
			require.True(t, txs[0].over)
			require.Equal(t, 250, txs[0].verdicts[0].reply.code)
			require.False(t, txs[1].over)
			require.True(t, txs[1].dotted)
			require.False(t, txs[1].verdicts[0].known)
			require.False(t, txs[2].over)
			require.False(t, txs[2].dotted)
		})
	}
}

// A positive reply to DATA itself is rubbish: nothing was sent that could have
// been taken.
func TestPositiveReplyToDataIsNoDelivery(t *testing.T) {
	for name, o := range flights {
		if strings.HasPrefix(name, "BDAT") {
			continue
		}
		o.Script = func(e smarthost.Event) (a smarthost.Answer) {
			if e.Verb == "DATA" {
				a.Reply = "250 2.0.0 thank you"
			}
			return a
		}
		_, txs, _, err := flown(t, o, "a@example.org")
		require.ErrorIs(t, err, errRubbish, name)
		require.False(t, txs[0].over || txs[0].dotted || txs[0].verdicts[0].known, name)
	}
}

// A hop that takes a few messages a connection and then says 421, one that
// drops connections, one that refuses at random: all messages arrive, and only
// those whose reply was lost arrive again.
func TestFlightsLoseNothing(t *testing.T) {
	const messages = 120
	for name, script := range map[string]func() func(smarthost.Event) smarthost.Answer{
		"421 behind three messages": func() func(smarthost.Event) smarthost.Answer {
			var mu sync.Mutex
			taken := map[int64]int{}
			return func(e smarthost.Event) (a smarthost.Answer) {
				mu.Lock()
				defer mu.Unlock()
				if e.Verb == "." {
					taken[e.Conn]++
				}
				if e.Verb == "MAIL" && taken[e.Conn] >= 3 {
					a.Reply = "421 4.7.0 enough"
				}
				return a
			}
		},
		"drops at some dots": func() func(smarthost.Event) smarthost.Answer {
			var mu sync.Mutex
			dots := 0
			return func(e smarthost.Event) (a smarthost.Answer) {
				mu.Lock()
				defer mu.Unlock()
				if e.Verb == "." {
					dots++
					a.Drop = dots%17 == 0
					a.Keep = dots%2 == 0
				}
				return a
			}
		},
		"refuses some for now": func() func(smarthost.Event) smarthost.Answer {
			var mu sync.Mutex
			n := 0
			return func(e smarthost.Event) (a smarthost.Answer) {
				mu.Lock()
				defer mu.Unlock()
				n++
				if n%13 == 0 && (e.Verb == "RCPT" || e.Verb == "MAIL" || e.Verb == ".") {
					a.Reply = "451 4.3.0 later"
				}
				return a
			}
		},
	} {
		for kind, o := range flights {
			t.Run(name+" "+kind, func(t *testing.T) {
				o.Script = script()
				s := hop(t, o.Options)
				db := openMem(t)
				store, err := spool.New(db, "", nil, spool.Options{Pace: -1})
				require.NoError(t, err)
				for n := range messages {
					require.NoError(t, store.Accept(t.Context(), letter(fmt.Sprintf("m%d@example.org", n))))
				}
				opts := Options{Smarthosts: []Smarthost{{Address: s.Addr(), MaxConns: 4}}, BreakAfter: 1000, DSN: DSN{MayReport: func(*spool.Message) bool { return false }}}
				short(&opts)
				d, err := New(store, plain{}, opts)
				require.NoError(t, err)
				d.hosts.all[0].pace = time.Microsecond // a quick hop from the start
				if o.prompt {
					d.hosts.all[0].took(1, time.Microsecond)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- d.Run(ctx) }()
				require.Eventually(t, func() bool { return store.Stats().Messages == 0 }, 20*time.Second, time.Millisecond)
				cancel()
				require.NoError(t, <-done)
				require.NoError(t, store.Close())
				require.NoError(t, db.Close())
				got := map[string]int{}
				for _, m := range s.Messages() {
					got[m.To[0]]++
				}
				require.Len(t, got, messages)
				for to, n := range got {
					require.Positive(t, n, to)
					if name != "drops at some dots" {
						require.Equal(t, 1, n, to)
					}
				}
			})
		}
	}
}

// TestLargeMailingsLetOthersPass: a single message behind more large mailings
// than are worked on at once leaves before they have.
func TestLargeMailingsLetOthersPass(t *testing.T) {
	single := make(chan struct{})
	s := hop(t, smarthost.Options{Script: func(e smarthost.Event) (a smarthost.Answer) {
		switch {
		case e.Verb == "." && e.Msg.To[0] == "single@example.org":
			close(single)
		case e.Verb == ".":
			<-single // no copy of a mailing is taken before
		}
		return a
	}})
	mailings := 12
	opts := Options{Smarthosts: []Smarthost{{MaxConns: 30}}, Fanout: 2, Workers: 6}
	r := start(t, setup{prep: plain{each}, opts: opts}, s)
	for range mailings {
		m := letter()
		for i := range 20 {
			m.Recipients = append(m.Recipients, spool.Recipient{Address: address.MustParse(fmt.Sprintf("bulk%d@example.org", i)), Subject: address.SubjectID{byte(i + 1)}})
		}
		r.accept(m)
	}
	r.accept(letter("single@example.org"))
	r.waitEmpty()
	require.EqualValues(t, mailings*20+1, s.Count())
}
