package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"postern/gateway/stream"
	"postern/gateway/webpage"
	"postern/queue/reply"
	"postern/queue/vault"
)

// ErrUnknown says that there is no such case.
var ErrUnknown = errors.New("no such case")

// Queue holds the cases of all controllers. It is safe for concurrent use; any
// number of processes may share one Redis.
type Queue struct {
	rdb     redis.UniversalClient
	d       Deps
	o       Options
	vault   *vault.Keys
	files   *vault.Files // nil: no vault folder
	staff   *webpage.Texts
	metrics *metrics
	index   *Index // shared by the rooms of this process
	deeds   deedBook
	waitAOF bool
	scripts sync.Map // hashes the server was given

	inForce atomic.Pointer[rules]
	crewed  chan struct{} // the number of workers wanted may have changed
}

// New checks keys and texts and finds out whether the server can confirm that
// a write is on disk (WAITAOF, Redis 7.2). It does not write.
func New(rdb redis.UniversalClient, d Deps, o Options) (*Queue, error) {
	o = o.withDefaults()
	switch {
	case d.Optout == nil || d.Sender == nil || d.Trail == nil || d.Streams == nil:
		return nil, errors.New("queue: Optout, Sender, Trail and Streams are needed")
	case o.Keyring == nil:
		return nil, errors.New("queue: a keyring for subject ids is needed")
	}
	keys, err := vault.New(append([][]byte{o.VaultKey}, o.OldVaultKeys...)...)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q := &Queue{rdb: rdb, d: d, o: o, vault: keys, crewed: make(chan struct{}, 1)}
	if q.staff, err = reply.StaffTexts(); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	r, err := q.rulesOf(&q.o)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q.inForce.Store(r)
	if o.VaultDir != "" {
		if q.files, err = vault.NewFiles(o.VaultDir); err != nil {
			return nil, fmt.Errorf("queue: %w", err)
		}
	}
	q.index, q.metrics = q.NewIndex(), newMetrics(q)
	if o.Metrics != nil {
		if err := o.Metrics.Register(q.metrics); err != nil {
			return nil, fmt.Errorf("queue: register metrics: %w", err)
		}
	}
	if single, ok := rdb.(*redis.Client); ok && !o.Volatile {
		err := single.Do(context.Background(), "WAITAOF", 0, 0, 0).Err()
		q.waitAOF = err == nil
		if err != nil && !strings.Contains(strings.ToLower(err.Error()), "unknown command") && !strings.HasPrefix(err.Error(), "NOPERM") {
			return nil, fmt.Errorf("queue: ask Redis for WAITAOF: %w", err)
		}
	}
	return q, nil
}

// controller finds the controller of a case; where the configuration lost it,
// the id alone, so that no case is lost with it.
func (q *Queue) controller(id string) stream.Controller {
	if c, ok := q.d.Streams().Controller(id); ok {
		return c
	}
	return stream.Controller{ID: id, Name: id}
}

// ownDomains are the mail domains of all controllers: never a data subject's.
func (q *Queue) ownDomains() []string {
	var out []string
	for _, c := range q.d.Streams().Controllers() {
		out = append(out, c.Domains...)
	}
	return out
}
