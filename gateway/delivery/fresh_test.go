package delivery

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/spool"
	"postern/testmail/smarthost"
)

// Copies that were allowed together do not all leave at once: what waits behind
// a slow hop is asked about again.
func TestWithdrawalBindsWhatWaits(t *testing.T) {
	var withdrawn atomic.Bool
	slow := smarthost.Options{Script: func(e smarthost.Event) (a smarthost.Answer) {
		if e.Verb == "." && withdrawn.CompareAndSwap(false, true) {
			a.Delay = fresh + 200*time.Millisecond
		}
		return a
	}}
	refuse := func(m *spool.Message, due []int) (copies []Copy, no []Refusal, _ error) {
		gone := withdrawn.Load()
		all, _, _ := each(m, due)
		for _, c := range all {
			if gone && m.Recipients[c.Recipients[0]].Address.Plain() == "gone@example.org" {
				no = append(no, Refusal{Recipient: c.Recipients[0], Reason: "withdrawn", Status: "5.7.1"})
				continue
			}
			copies = append(copies, c)
		}
		return copies, no, nil
	}
	for name, host := range map[string]Smarthost{"": {MaxConns: 1}, "rate": {MaxConns: 1, Rate: 1000}} {
		t.Run(name, func(t *testing.T) {
			withdrawn.Store(false)
			s := hop(t, slow)
			r := start(t, setup{prep: plain{refuse}, opts: Options{Smarthosts: []Smarthost{host}, DSN: DSN{MayReport: func(*spool.Message) bool { return false }}}}, s)
			r.accept(letter("first@example.org", "gone@example.org", "in@example.org"))
			r.waitEmpty()
			r.wait("outcomes", func() bool { return len(r.states()) == 3 })
			require.Equal(t, "denied 0 5.7.1;", r.states()["gone@example.org"])
			require.Equal(t, "delivered 250 2.0.0;", r.states()["in@example.org"])
			for _, m := range s.Messages() {
				require.NotContains(t, m.To, "gone@example.org")
			}
		})
	}
}

// A hop may take its time over the envelope, too. The message follows only if
// it is allowed by then, and a hop that is always slow still gets its mail once.
func TestWithdrawalBindsBehindASlowEnvelope(t *testing.T) {
	for name, kind := range flights {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var withdrawn atomic.Bool
			o := kind.Options
			o.Script = func(e smarthost.Event) (a smarthost.Answer) {
				if e.Verb == "RCPT" && e.Arg == "gone@example.org" {
					withdrawn.Store(true)
				}
				if e.Verb == "MAIL" {
					a.Delay = fresh + 200*time.Millisecond
				}
				return a
			}
			s := hop(t, o)
			r := start(t, setup{opts: Options{Smarthosts: []Smarthost{{MaxConns: 1}}, DSN: DSN{MayReport: func(*spool.Message) bool { return false }}},
				prep: plain{func(m *spool.Message, due []int) (copies []Copy, no []Refusal, _ error) {
					left := []int{}
					for _, i := range due {
						if withdrawn.Load() && m.Recipients[i].Address.Plain() == "gone@example.org" {
							no = append(no, Refusal{Recipient: i, Reason: "withdrawn", Status: "5.7.1"})
							continue
						}
						left = append(left, i)
					}
					if len(left) == 0 {
						return nil, no, nil
					}
					copies, _, _ = plain{}.Prepare(t.Context(), m, left)
					return copies, no, nil
				}}}, s)
			r.accept(letter("gone@example.org", "in@example.org"))
			r.accept(letter("other@example.org"))
			r.waitEmpty()
			r.wait("outcomes", func() bool { return len(r.states()) == 3 })
			require.Equal(t, "denied 0 5.7.1;", r.states()["gone@example.org"])
			require.Equal(t, "delivered 250 2.0.0;", r.states()["in@example.org"])
			require.Equal(t, "delivered 250 2.0.0;", r.states()["other@example.org"])
			require.Len(t, s.Messages(), 2)
			for _, m := range s.Messages() {
				require.NotContains(t, m.To, "gone@example.org")
			}
		})
	}
}
