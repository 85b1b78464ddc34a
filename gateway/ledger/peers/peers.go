package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/ledger"
)

// Redis keys and channels:
//
//	pn:nodes     hash, node id → JSON of Node; no end, a retired node is taken out
//	pn:to:<id>   channel of a node: questions to it, and what the asker says in between
//	pn:re:<id>   channel of one question: its answer
const (
	keyNodes  = "pn:nodes"
	toPrefix  = "pn:to:"
	answersOf = "pn:re:"
)

// ErrAway says that a node of the installation does not answer, so that what
// its ledger holds is not known.
var ErrAway = errors.New("not every relay node answers")

// Options of Peers. ID and Keys are needed, all else has a default.
type Options struct {
	ID   string   // of this node's data folder; never changed
	Name string   // for people; default ID
	Keys [][]byte // 32 octets each, the same on all nodes, newest first: seal what nodes tell each other

	// Counts tells which records keep a person's key (Outlast); nil: all.
	Counts func(ledger.Record) bool

	Patience time.Duration // for one page of a node that was seen lately; default 5 s
	Seen     time.Duration // between two signs of life; default 15 s
	Page     int           // records in one message; default 400
	At       int           // questions answered at a time; default 4

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default: discarded
}

// Peers reads the ledgers of all nodes. It is safe for concurrent use.
type Peers struct {
	rdb    redis.UniversalClient
	own    *ledger.Ledger
	sealer sealer
	o      Options
	slots  chan struct{}

	mu    sync.Mutex
	under map[string]chan op // question id → what its asker says
}

// New joins a node's own ledger with those of the others.
func New(rdb redis.UniversalClient, own *ledger.Ledger, o Options) (*Peers, error) {
	if o.ID == "" {
		return nil, errors.New("peers: a node needs an id")
	}
	s, err := newSealer(o.Keys)
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		o.Name = o.ID
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Patience, 5*time.Second)
	def(&o.Seen, 15*time.Second)
	if o.Page <= 0 {
		o.Page = 400
	}
	if o.At <= 0 {
		o.At = 4
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Peers{rdb: rdb, own: own, sealer: s, o: o, slots: make(chan struct{}, o.At), under: map[string]chan op{}}, nil
}

// Node is one node of the installation.
type Node struct {
	ID   string    `json:"id"`
	Name string    `json:"name"`
	Seen time.Time `json:"seen"` // last sign of life, by its own clock
	Own  bool      `json:"own,omitempty"`
}

// Nodes lists all that ever ran with this Redis and were not retired, by name.
func (p *Peers) Nodes(ctx context.Context) ([]Node, error) {
	fields, err := p.rdb.HGetAll(ctx, keyNodes).Result()
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	var out []Node
	for id, text := range fields {
		n := Node{}
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			return nil, fmt.Errorf("list the nodes: entry of %s: %w", id, err)
		}
		n.ID, n.Own = id, id == p.o.ID
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Node) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	return out, nil
}

// ErrNode says that a node can't be retired.
var ErrNode = errors.New("no such node to retire")

// Retire takes a node out that will not run again, with what only its ledger
// knew: an operator's decision, recorded by the caller. A node that is seen is
// not taken; one that starts again comes back by itself. Errors wrap ErrNode.
func (p *Peers) Retire(ctx context.Context, id string) (Node, error) {
	nodes, err := p.Nodes(ctx)
	if err != nil {
		return Node{}, err
	}
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.ID == id })
	switch {
	case i < 0:
		return Node{}, fmt.Errorf("%w: %q is none of this installation", ErrNode, id)
	case nodes[i].Own || !p.Silent(nodes[i]):
		return Node{}, fmt.Errorf("%w: %s runs", ErrNode, nodes[i].Name)
	}
	return nodes[i], wrap(p.rdb.HDel(ctx, keyNodes, id).Err(), "retire node %s", nodes[i].Name)
}

// Silent tells whether a node missed several signs of life.
func (p *Peers) Silent(n Node) bool { return !n.Own && p.o.Now().Sub(n.Seen) > 4*p.o.Seen }

// Run answers the other nodes and shows that this one lives until ctx ends. A
// Redis that is away is waited for.
func (p *Peers) Run(ctx context.Context) error {
	var busy sync.WaitGroup
	defer busy.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	channel := toPrefix + p.o.ID
	ps := p.rdb.Subscribe(ctx, channel) // the client subscribes again where Redis was away
	defer ps.Close()
	inbox := ps.Channel()
	life := time.NewTicker(p.o.Seen)
	defer life.Stop()
	p.appear(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-life.C:
			p.appear(ctx)
		case raw, ok := <-inbox:
			if !ok {
				return nil
			}
			m, err := p.sealer.open(channel, raw.Payload)
			if err != nil {
				p.o.Log.Warn("a message between nodes is refused", "err", err)
				continue
			}
			p.take(ctx, m, &busy)
		}
	}
}

// appear tells the others that this node is there.
func (p *Peers) appear(ctx context.Context) {
	text, err := json.Marshal(Node{Name: p.o.Name, Seen: p.o.Now().UTC().Truncate(time.Second)})
	if err == nil {
		err = p.rdb.HSet(ctx, keyNodes, p.o.ID, text).Err()
	}
	if err != nil && ctx.Err() == nil {
		p.o.Log.Debug("this node can't show that it lives", "err", err)
	}
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
