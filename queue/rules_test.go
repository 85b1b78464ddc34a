package queue

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// TestReload: what may change about cases changes while workers run, and a
// fault changes nothing.
func TestReload(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.q.Run(running) }()
	ref, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Access))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.state(ref.Number) == Received && w.count() == 1 }, 10*time.Second, 5*time.Millisecond)

	texts := t.TempDir()
	o := w.q.o
	slow := &meeting{began: make(chan string, 4), end: make(chan struct{})}
	o.Connections = []Connection{{Verbs: []fulfil.Verb{fulfil.Lookup}, Connector: slow}}
	o.Workers, o.SendHold, o.TextDir, o.ProofWithin = 3, time.Hour, texts, 48*time.Hour
	o.LinkBase = map[string]string{"shop": "https://new.shop.example.org/case/"}
	o.Holidays = map[string][]string{"shop": {"2026-12-24"}}
	require.NoError(t, os.WriteFile(filepath.Join(texts, "en.toml"), []byte("[text]\nnothing = \"We hold nothing of yours.\"\n"), 0o600))
	require.NoError(t, w.q.Reload(ctx, o))

	l, err := w.q.Preview(ctx, ref.Number, Draft{Step: reply.Nothing, Effect: ActAnswer, Actor: "operator:eve"})
	require.NoError(t, err)
	require.Contains(t, l.Text, "We hold nothing of yours.")
	_, l, err = w.q.Reply(ctx, ref.Number, Draft{Step: reply.Nothing, Effect: ActAnswer, Actor: "operator:eve"})
	require.NoError(t, err)
	require.Equal(t, w.clock.Now().Add(time.Hour), l.At, "the new hold")
	other, err := w.q.Open(ctx, mailFrom("bob@example.com", classifier.Access))
	require.NoError(t, err)
	c, _, err := w.q.Show(ctx, other.Number)
	require.NoError(t, err)
	require.Equal(t, "2026-12-28", c.Due.In(w.q.zone("shop")).Format(time.DateOnly), "24 December is a day off now, 25 and 26 are holidays, 27 is a Sunday")

	// Three are worked at together, which takes the third worker.
	var cases []string
	for range 4 {
		ref, err := w.q.Open(ctx, mailFrom("many@example.com", classifier.Access))
		require.NoError(t, err)
		cases = append(cases, ref.Number)
	}
	require.Eventually(t, w.idle, 10*time.Second, 5*time.Millisecond)
	for _, no := range cases[:3] {
		_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Lookup, Actor: eve})
		require.NoError(t, err)
		<-slow.began // whoever has this one reads no further: another takes the next
	}
	close(slow.end)

	// One does the work as well.
	o.Workers = 1
	require.NoError(t, w.q.Reload(ctx, o))
	_, err = w.q.Fulfil(ctx, cases[3], Order{Verb: fulfil.Lookup, Actor: eve})
	require.NoError(t, err)
	<-slow.began
	require.Eventually(t, w.idle, 10*time.Second, 5*time.Millisecond)

	bad := o
	bad.SendHold = time.Second
	require.NoError(t, os.WriteFile(filepath.Join(texts, "de.toml"), []byte("[text]\nnonsense\n"), 0o600))
	require.Error(t, w.q.Reload(ctx, bad))
	require.Equal(t, time.Hour, w.q.rules().SendHold, "with a fault all stays")
	require.Equal(t, w.q.o.Keyring, w.q.rules().Keyring)
	stop()
	require.NoError(t, <-done)
}

// meeting is a system that answers once all are there.
type meeting struct {
	began chan string
	end   chan struct{}
}

func (m *meeting) Name() string { return "meeting" }

func (m *meeting) Do(_ context.Context, r fulfil.Request) (fulfil.Outcome, error) {
	m.began <- r.Case
	<-m.end
	return fulfil.Outcome{Status: fulfil.Done}, nil
}

// idle tells whether the workers have nothing to do.
func (w *world) idle() bool {
	n, err := w.rdb.XLen(context.Background(), keyWork).Result()
	return err == nil && n == 0
}

func (w *world) state(no string) State {
	c, _, err := w.q.Show(context.Background(), no)
	require.NoError(w.t, err)
	return c.State
}

// count is how many mails left.
func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent)
}
