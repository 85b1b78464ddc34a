package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
)

func TestProcessorPassesOn(t *testing.T) {
	w := newWorld(t)
	w.q.o.Processors = map[string]Processor{"shop": {To: "privacy@customer.example.net"}}
	no := w.open(classifier.Access, classifier.Objection)
	c := w.show(no)
	require.Equal(t, "EU-FORWARD", c.Rule)
	require.Equal(t, "2026-11-26", c.Due.Format(time.DateOnly), "two working days")
	require.Contains(t, c.Flags, FlagProcessor)
	require.Empty(t, w.sent, "no answer of our own")
	require.Len(t, w.bound, 1, "an objection binds here all the same")
	d, err := w.q.ForwardDraft(ctx, no, "operator:eve")
	require.NoError(t, err)
	_, _, err = w.q.Reply(ctx, no, d)
	require.NoError(t, err)
	w.later(time.Minute)
	m := w.sent["case:"+no+":out:0"]
	require.Equal(t, "privacy@customer.example.net", m.To.Plain())
	require.Contains(t, decodeQP(t, m.Body), "My secret words")
	require.Equal(t, Forwarded, w.show(no).State)

	w.q.o.Processors = map[string]Processor{"shop": {To: "privacy@customer.example.net", OnObjection: "forward"}}
	w.set(func() { clear(w.bound) })
	w.open(classifier.Objection)
	require.Empty(t, w.bound)

	require.Error(t, checkProcessors(map[string]Processor{"x": {To: "nobody"}}))
	require.Error(t, checkProcessors(map[string]Processor{"x": {To: "a@example.org", OnObjection: "ignore"}}))
	w.q.o.Processors = nil
	_, err = w.q.ForwardDraft(ctx, no, "operator:eve")
	require.ErrorIs(t, err, ErrDraft)
}
