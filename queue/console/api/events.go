package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/node"
	"postern/queue"
)

// Outbox tells receivers of consent events. It stands between the registry and
// the ledger: what is recorded of a consent or a suppression is put into the
// same batch as an event to tell, so that none is lost and none is told that
// did not happen. Run hands the events to the queue, which tells them until
// they are taken.
type Outbox struct {
	consent.Trail
	db   *pebble.DB
	wake chan struct{}
	log  *slog.Logger

	quiet atomic.Bool // nobody asked for consent events: none is kept
}

// NewOutbox stands before trail, in the node's store.
func NewOutbox(trail consent.Trail, db *pebble.DB, log *slog.Logger) *Outbox {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Outbox{Trail: trail, db: db, wake: make(chan struct{}, 1), log: log}
}

var _ consent.Trail = (*Outbox)(nil)

// waiting is an event in the outbox: closed words and ids.
type waiting struct {
	ID   string          `json:"id"`
	Kind string          `json:"kind"`
	Data queue.HookEvent `json:"data"`
}

func outboxKey(id string) []byte { return append([]byte{node.SpaceEvents}, id...) }

// Stage adds the records to b, and an event for each that tells of consent. The
// same record staged twice is one event.
func (o *Outbox) Stage(b *pebble.Batch, recs ...ledger.Record) error {
	for _, r := range recs {
		if o.quiet.Load() {
			break
		}
		if r.Kind != ledger.KindConsent && r.Kind != ledger.KindSuppression || r.ID == "" {
			continue
		}
		data := map[string]string{"subject": r.Subject.String(), "ref": r.Ref}
		for _, k := range []string{"purpose", "scope"} {
			if v := r.Data[k]; v != "" {
				data[k] = v
			}
		}
		if r.Stream != 0 {
			data["stream"] = strconv.Itoa(int(r.Stream))
		}
		raw, err := json.Marshal(waiting{r.ID, string(r.Kind) + "." + r.Action, queue.HookEvent{
			Controller: r.Controller, Time: r.Time, Actor: r.Actor, Action: r.Action, Reason: r.Reason, Data: data,
		}})
		if err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		if err := b.Set(outboxKey(r.ID), raw, nil); err != nil {
			return fmt.Errorf("stage event: %w", err)
		}
	}
	return o.Trail.Stage(b, recs...)
}

// Notify tells that a batch with staged records has committed.
func (o *Outbox) Notify() {
	o.Trail.Notify()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Publisher sets the telling of an event going; *queue.Queue is one.
type Publisher interface {
	Publish(ctx context.Context, id, kind string, e queue.HookEvent) error
	Wants(ctx context.Context, family string) (bool, error)
}

// Run hands events on until ctx ends. While Redis is away they wait.
func (o *Outbox) Run(ctx context.Context, to Publisher) error {
	again := time.NewTicker(2 * time.Second)
	defer again.Stop()
	for {
		o.listen(ctx, to)
		if err := o.flush(ctx, to); err != nil && ctx.Err() == nil {
			o.log.Warn("consent events wait, their telling can't be set going", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
		case <-again.C:
		}
	}
}

// listen looks whether anybody wants consent events. In doubt they are kept.
func (o *Outbox) listen(ctx context.Context, to Publisher) {
	consents, err := to.Wants(ctx, string(ledger.KindConsent))
	suppressions, err2 := to.Wants(ctx, string(ledger.KindSuppression))
	o.quiet.Store(err == nil && err2 == nil && !consents && !suppressions)
}

// Attend keeps events from now on: somebody subscribed.
func (o *Outbox) Attend() { o.quiet.Store(false) }

func (o *Outbox) flush(ctx context.Context, to Publisher) error {
	it, err := o.db.NewIter(&pebble.IterOptions{LowerBound: []byte{node.SpaceEvents}, UpperBound: []byte{node.SpaceEvents + 1}})
	if err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	defer it.Close()
	for it.First(); it.Valid() && ctx.Err() == nil; it.Next() {
		var w waiting
		if err := json.Unmarshal(it.Value(), &w); err != nil {
			o.log.Error("an event in the outbox can't be read and is dropped", "err", err)
		} else if err := to.Publish(ctx, w.ID, w.Kind, w.Data); err != nil {
			return err
		}
		if err := o.db.Delete(bytes.Clone(it.Key()), pebble.NoSync); err != nil {
			return fmt.Errorf("clear outbox: %w", err)
		}
	}
	return it.Error()
}
