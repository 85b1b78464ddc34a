package peers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// Query yields the records that f chooses of every node, this node's first,
// each node's in the order of its own log. Indexes are those of each node's
// tree. ErrStop and errors of yield end it as with a single ledger. Errors
// wrap ErrAway where a node does not answer; what was yielded before is then
// not the whole.
func (p *Peers) Query(ctx context.Context, f ledger.Filter, yield func(ledger.Entry) error) error {
	enough := false
	err := p.own.Query(ctx, f, func(e ledger.Entry) error {
		err := yield(e)
		enough = errors.Is(err, ledger.ErrStop)
		return err
	})
	if err != nil || enough {
		return err
	}
	err = p.others(ctx, message{Op: opQuery, Filter: &f}, func(m message) error {
		for _, e := range m.Entries {
			if err := yield(e); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, ledger.ErrStop) {
		return nil
	}
	return err
}

// Prove gathers what f chooses with its proofs, one proof for each node that
// has records of it. Errors wrap ErrAway, and ledger.ErrNoRecord where no node
// has any.
func (p *Peers) Prove(ctx context.Context, f ledger.Filter) ([]ledger.Proof, error) {
	var out []ledger.Proof
	own, err := p.own.Prove(ctx, f)
	if err == nil {
		out = append(out, own)
	} else if !errors.Is(err, ledger.ErrNoRecord) {
		return nil, err
	}
	err = p.others(ctx, message{Op: opProve, Filter: &f}, func(m message) error {
		if m.Proof == nil {
			return nil
		}
		if last := len(out) - 1; m.Seq > 1 {
			out[last].Records = append(out[last].Records, m.Proof.Records...)
			return nil
		}
		out = append(out, *m.Proof)
		return nil
	})
	if err == nil && len(out) == 0 {
		err = ledger.ErrNoRecord
	}
	return out, err
}

// Outlast tells which of the persons have, on another node, a record from
// before on that counts (Options.Counts): whose key has to stay. Errors wrap
// ErrAway.
func (p *Peers) Outlast(ctx context.Context, before time.Time, persons []address.SubjectID) (map[address.SubjectID]bool, error) {
	kept := map[address.SubjectID]bool{}
	err := p.others(ctx, message{Op: opOutlast, Lapse: &outlast{persons, before}}, func(m message) error {
		for _, s := range m.Persons {
			kept[s] = true
		}
		return nil
	})
	return kept, err
}

// others asks every other node, one after the other, and gives each page to
// take. Every one is asked although one is away, so that the error names all.
func (p *Peers) others(ctx context.Context, question message, take func(message) error) error {
	nodes, err := p.Nodes(ctx)
	if err != nil {
		return err
	}
	var away []error
	for _, n := range nodes {
		if n.Own {
			continue
		}
		err := p.ask(ctx, n, question, take)
		if errors.Is(err, ErrAway) {
			away = append(away, err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(away...)
}

// ask asks one node.
func (p *Peers) ask(ctx context.Context, n Node, question message, take func(message) error) (err error) {
	question.ID, question.Asker = rand.Text(), p.o.ID
	channel, to := answersOf+question.ID, toPrefix+n.ID
	ps := p.rdb.Subscribe(ctx, channel)
	defer func() { err = errors.Join(err, ps.Close()) }()
	if _, err := ps.ReceiveTimeout(ctx, p.o.Patience); err != nil { // from here on nothing is missed
		return fmt.Errorf("ask node %s: %w", n.Name, err)
	}
	if err := p.publish(ctx, to, question); err != nil {
		return err
	}
	patience := p.o.Patience
	if p.Silent(n) {
		patience /= 5 // it may live with a clock of its own; hardly
	}
	for seq := 1; ; seq++ {
		m, err := p.receive(ctx, ps, channel, patience)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("ask node %s: %w", n.Name, ctx.Err())
		case err != nil:
			return fmt.Errorf("%w: %s was last seen %s (%w)", ErrAway, n.Name, n.Seen.Format(time.DateTime+" MST"), err)
		case m.Op == opFail:
			return fmt.Errorf("node %s: %s", n.Name, m.Error)
		case m.Seq != seq:
			return fmt.Errorf("%w: a part of what %s says was lost", ErrAway, n.Name)
		}
		if err := take(m); err != nil {
			if m.Op == opPage {
				err = errors.Join(err, p.publish(ctx, to, message{Op: opStop, ID: question.ID}))
			}
			return err
		}
		if m.Op == opEnd {
			return nil
		}
		if err := p.publish(ctx, to, message{Op: opNext, ID: question.ID}); err != nil {
			return err
		}
		patience = p.o.Patience
	}
}

func (p *Peers) receive(ctx context.Context, ps *redis.PubSub, channel string, patience time.Duration) (message, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	raw, err := ps.ReceiveMessage(ctx)
	if err != nil {
		return message{}, err
	}
	return p.sealer.open(channel, raw.Payload)
}
