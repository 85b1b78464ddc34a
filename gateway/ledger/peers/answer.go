package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// outlast asks whose records count.
type outlast struct {
	Persons []address.SubjectID `json:"persons"`
	Before  time.Time           `json:"before"`
}

// take handles one message to this node: a question begins in a goroutine of
// its own, all else goes to the one it belongs to.
func (p *Peers) take(ctx context.Context, m message, busy *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	said, running := p.under[m.ID]
	switch m.Op {
	case opNext, opStop:
		if running {
			select {
			case said <- m.Op:
			default: // a repetition
			}
		}
	case opQuery, opProve, opOutlast:
		if running {
			return
		}
		said = make(chan op, 1)
		p.under[m.ID] = said
		busy.Add(1)
		go func() {
			defer busy.Done()
			defer func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				delete(p.under, m.ID)
			}()
			p.answer(ctx, m, said)
		}()
	}
}

// answering is one question under way.
type answering struct {
	p    *Peers
	id   string
	said <-chan op
	seq  int
}

func (p *Peers) answer(ctx context.Context, m message, said <-chan op) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return
	}
	a := &answering{p: p, id: m.ID, said: said}
	err := a.run(ctx, m)
	if err == nil || errors.Is(err, errNobody) || ctx.Err() != nil {
		return
	}
	p.o.Log.Error("a question of another node could not be answered", "asker", m.Asker, "err", err)
	if err := a.send(ctx, message{Op: opFail, Error: err.Error()}); err != nil {
		p.o.Log.Debug("the other node can't be told", "asker", m.Asker, "err", err)
	}
}

// errNobody says that the asker takes no more.
var errNobody = errors.New("the asker is gone")

func (a *answering) run(ctx context.Context, m message) error {
	switch {
	case m.Op == opQuery && m.Filter != nil:
		return a.query(ctx, *m.Filter)
	case m.Op == opProve && m.Filter != nil:
		return a.prove(ctx, *m.Filter)
	case m.Op == opOutlast && m.Lapse != nil:
		kept, err := a.p.own.Outlast(ctx, ledger.Lapse{Before: m.Lapse.Before, Keeps: a.p.o.Counts}, m.Lapse.Persons)
		if err != nil {
			return err
		}
		return a.send(ctx, message{Op: opEnd, Persons: kept})
	}
	return fmt.Errorf("question %q is not understood: is it a node of another version?", m.Op)
}

func (a *answering) query(ctx context.Context, f ledger.Filter) error {
	page := make([]ledger.Entry, 0, a.p.o.Page)
	err := a.p.own.Query(ctx, f, func(e ledger.Entry) error {
		page = append(page, e)
		if len(page) < a.p.o.Page {
			return nil
		}
		err := a.page(ctx, message{Op: opPage, Entries: page})
		page = page[:0]
		return err
	})
	if err != nil {
		return err
	}
	return a.send(ctx, message{Op: opEnd, Entries: page})
}

// prove sends a proof in parts that share its checkpoint.
func (a *answering) prove(ctx context.Context, f ledger.Filter) error {
	proof, err := a.p.own.Prove(ctx, f)
	if errors.Is(err, ledger.ErrNoRecord) {
		return a.send(ctx, message{Op: opEnd})
	}
	if err != nil {
		return err
	}
	all := proof.Records
	for len(all) > a.p.o.Page {
		proof.Records = all[:a.p.o.Page]
		if err := a.page(ctx, message{Op: opPage, Proof: &proof}); err != nil {
			return err
		}
		all = all[a.p.o.Page:]
	}
	proof.Records = all
	return a.send(ctx, message{Op: opEnd, Proof: &proof})
}

// page sends one page and waits until the asker wants the next.
func (a *answering) page(ctx context.Context, m message) error {
	if err := a.send(ctx, m); err != nil {
		return err
	}
	t := time.NewTimer(2 * a.p.o.Patience)
	defer t.Stop()
	select {
	case said := <-a.said:
		if said == opStop {
			return errNobody
		}
		return nil
	case <-t.C:
		return errNobody
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *answering) send(ctx context.Context, m message) error {
	a.seq++
	m.ID, m.Seq = a.id, a.seq
	return a.p.publish(ctx, answersOf+a.id, m)
}

func (p *Peers) publish(ctx context.Context, channel string, m message) error {
	sealed, err := p.sealer.seal(channel, m)
	if err != nil {
		return err
	}
	return wrap(p.rdb.Publish(ctx, channel, sealed).Err(), "tell a node")
}
