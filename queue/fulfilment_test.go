package queue

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/consent"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// system is a company's system with a database of its own.
type system struct {
	mu    sync.Mutex
	name  string
	known map[string]string // address → what it holds
	seen  map[string]int    // idempotency key → times asked
	order []fulfil.Verb
	fail  error
	watch func(fulfil.Verb)

	answer *fulfil.Outcome // given to every request
}

func (s *system) Name() string { return s.name }

func (s *system) Do(_ context.Context, r fulfil.Request) (fulfil.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[r.Key]++
	if s.fail != nil {
		return fulfil.Outcome{}, s.fail
	}
	s.order = append(s.order, r.Verb)
	if s.answer != nil {
		return *s.answer, nil
	}
	if s.watch != nil {
		s.watch(r.Verb)
	}
	held, ok := s.known[r.Address]
	switch {
	case r.Verb == fulfil.Stop:
		return fulfil.Outcome{Status: fulfil.Done}, nil
	case !ok:
		return fulfil.Outcome{Status: fulfil.NotFound}, nil
	case r.Verb == fulfil.Export:
		raw, err := json.Marshal(map[string]string{"name": held})
		return fulfil.Outcome{Status: fulfil.Done, Data: raw, Count: 1}, err
	case r.Verb == fulfil.Erase && !r.DryRun:
		delete(s.known, r.Address)
		return fulfil.Outcome{Status: fulfil.Erased, Count: 1}, nil
	}
	return fulfil.Outcome{Status: fulfil.Done, Count: 1}, nil
}

func connected(t *testing.T, verbs ...fulfil.Verb) (*world, *system) {
	w := newWorld(t)
	s := &system{name: "crm", known: map[string]string{"alice@example.com": "secret record"}, seen: map[string]int{}}
	w.q.o.Connections = []Connection{{Controller: "shop", Verbs: verbs, Connector: s}}
	return w, s
}

func (w *world) waive(no string) {
	w.t.Helper()
	_, err := w.q.Move(ctx, no, Move{Action: ActIdentify, Actor: "operator:eve", Reason: "known-by-phone"})
	require.NoError(w.t, err)
}

func TestErasure(t *testing.T) {
	w, s := connected(t, fulfil.Erase, fulfil.Verify)
	no := w.open(classifier.Erasure)
	o := Order{Verb: fulfil.Erase, Actor: "operator:eve", Approve: no}

	_, err := w.q.Fulfil(ctx, no, o)
	require.ErrorIs(t, err, ErrOrder, "not before identity")
	o.DryRun = true
	_, err = w.q.Fulfil(ctx, no, o)
	require.NoError(t, err)
	w.drain()
	require.Len(t, s.known, 1, "a dry run deletes nothing")
	require.Equal(t, Received, w.show(no).State)
	o.DryRun = false

	w.waive(no)
	_, err = w.q.Fulfil(ctx, no, Order{Verb: fulfil.Erase, Actor: "operator:eve", Approve: "yes"})
	require.ErrorIs(t, err, ErrOrder, "the number has to be typed")
	_, err = w.q.Fulfil(ctx, no, Order{Verb: fulfil.Erase, Actor: "rule", Approve: no})
	require.ErrorIs(t, err, ErrOrder, "a person has to")
	require.NoError(t, w.q.LegalHold(ctx, no, true, "operator:eve", "a law suit"))
	_, err = w.q.Fulfil(ctx, no, o)
	require.ErrorIs(t, err, ErrOrder, "a legal hold blocks deletion")
	require.NoError(t, w.q.LegalHold(ctx, no, false, "operator:eve", "over"))

	w.set(func() { w.failBind = true })
	_, err = w.q.Fulfil(ctx, no, o)
	require.Error(t, err)
	w.drain()
	require.Len(t, s.known, 1, "nothing is deleted before the suppression is durable")
	w.set(func() { w.failBind = false })

	s.watch = func(v fulfil.Verb) {
		if v == fulfil.Erase {
			require.Contains(t, w.boundReasons(), consent.Erased)
		}
	}
	_, err = w.q.Fulfil(ctx, no, o)
	require.NoError(t, err)
	require.Equal(t, Waiting, w.show(no).State)
	_, err = w.q.Fulfil(ctx, no, o)
	require.Error(t, err, "a second click orders nothing")
	w.drain()
	require.Empty(t, s.known)
	require.Equal(t, []fulfil.Verb{fulfil.Erase, fulfil.Erase, fulfil.Verify}, s.order, "dry run, deletion, and a look whether it is gone")
	tasks, err := w.q.Tasks(ctx, no)
	require.NoError(t, err)
	require.Equal(t, fulfil.Erased, tasks[1].Status)
	require.Equal(t, fulfil.NotFound, tasks[2].Status)
	require.Equal(t, Opened, w.show(no).State)
	requireSealed(t, w.rdb)

	_, _, err = w.q.Reply(ctx, no, Draft{Step: reply.Erased, Effect: ActAnswer, Actor: "operator:eve", Values: reply.Values{"systems": "CRM", "kept": "nothing"}})
	require.NoError(t, err)
	w.later(time.Minute)
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: "operator:eve", Reason: "done"})
	require.NoError(t, err)
	w.drain()
	_, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	require.Len(t, w.proofs, len(events))
	for _, r := range w.proofs {
		for _, v := range append(slices.Collect(maps.Values(r.Data)), r.Reason, r.Ref, r.Actor) {
			require.NotContains(t, v, "@")
			require.NotContains(t, v, "secret")
		}
	}
}

func (w *world) boundReasons() []consent.Reason {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []consent.Reason
	for _, s := range w.bound {
		out = append(out, s.Reason)
	}
	return out
}

func TestExportIsSealed(t *testing.T) {
	for name, dir := range map[string]string{"in the record": "", "in the vault folder": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			w, _ := connected(t, fulfil.Export)
			if dir != "" {
				o := w.q.o
				o.VaultDir = dir
				q, err := New(w.rdb, w.q.d, o)
				require.NoError(t, err)
				w.q = q
			}
			no := w.open(classifier.Access)
			w.waive(no)
			_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: "operator:eve"})
			require.NoError(t, err)
			w.drain()
			data, err := w.q.TaskData(ctx, no, 0)
			require.NoError(t, err)
			require.JSONEq(t, `{"name":"secret record"}`, string(data))
			requireSealed(t, w.rdb)
			_, err = w.q.TaskData(ctx, no, 7)
			require.ErrorIs(t, err, ErrUnknown)
		})
	}
}

func TestFailingSystemKeepsCaseOpen(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	no := w.open(classifier.Erasure)
	w.waive(no)
	s.fail = errors.New("database away")
	_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Erase, Actor: "operator:eve", Approve: no})
	require.NoError(t, err)
	for range w.q.o.Attempts + 1 {
		w.later(2 * time.Hour)
	}
	require.Len(t, s.seen, 1, "every try has the same key")
	require.Equal(t, w.q.o.Attempts, s.seen[no+":0:erase"])
	c := w.show(no)
	require.Equal(t, Opened, c.State)
	require.Contains(t, c.Flags, FlagFailed)
	tasks, err := w.q.Tasks(ctx, no)
	require.NoError(t, err)
	require.Equal(t, fulfil.Failed, tasks[0].Status)

	require.NoError(t, w.q.Result(ctx, no, tasks[0].Key, fulfil.Outcome{Status: fulfil.Erased}, "operator:eve"), "done by hand")
	require.NotContains(t, w.show(no).Flags, FlagFailed)
	require.ErrorIs(t, w.q.Result(ctx, no, "unknown", fulfil.Outcome{Status: fulfil.Done}, "operator:eve"), ErrUnknown)
}

func TestTaskForAPerson(t *testing.T) {
	w := newWorld(t)
	w.q.o.Connections = []Connection{{Verbs: []fulfil.Verb{fulfil.Rectify}, Connector: fulfil.Task{Who: "sales"}}}
	no := w.open(classifier.Rectification)
	w.waive(no)
	tasks, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Rectify, Actor: "operator:eve", Facts: map[string]string{"name": "secret name"}})
	require.NoError(t, err)
	w.drain()
	require.Equal(t, Waiting, w.show(no).State)
	requireSealed(t, w.rdb)
	require.NoError(t, w.q.Result(ctx, no, tasks[0].Key, fulfil.Outcome{Status: fulfil.Done, Note: "secret note"}, "operator:bob"))
	require.Equal(t, Opened, w.show(no).State)
	requireSealed(t, w.rdb)
}

func TestStoppedTellsOtherChannels(t *testing.T) {
	w, s := connected(t, fulfil.Stop)
	no := w.open(classifier.Objection)
	w.drain()
	require.Equal(t, []fulfil.Verb{fulfil.Stop}, s.order)
	require.Equal(t, Received, w.show(no).State, "an operator looks all the same")
}
