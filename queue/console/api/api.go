package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/gateway/stream"
	"postern/gateway/throttle"
	"postern/gateway/unsubscribe"
	"postern/queue"
	"postern/queue/vault"
)

// Modes steps streams along the ladder; *gateway.Engine is one.
type Modes interface {
	Mode(name string) stream.Mode
	ChangeMode(ctx context.Context, name string, m stream.Mode, actor string) error
}

// SignUps begins a double opt-in; *unsubscribe.Inviter is one.
type SignUps interface {
	Invite(ctx context.Context, inv unsubscribe.Invitation) (string, error)
}

// Deps are the rooms the API shows and calls; all are needed.
type Deps struct {
	Redis   redis.UniversalClient
	Tokens  *Tokens
	Cases   *queue.Queue
	Index   *queue.Index
	Consent *consent.Registry
	SignUps SignUps
	Spool   *spool.Store
	Ledger  *ledger.Ledger
	Modes   Modes
	Report  *gateway.Report
	Streams func() *stream.Set
	Keyring *address.Keyring
	Limits  *throttle.Limiter
	Hooks   *Subscriptions

	// Faults tells what is wrong with this node now, in words for operators.
	Faults func(ctx context.Context) []string
}

// Options of an API. The zero value works but for Key.
type Options struct {
	Key       []byte   // 32 bytes outside Redis: seals kept answers and secrets of subscriptions
	OldKeys   [][]byte // former ones; they only open
	PerMinute int      // requests of one token in a minute; default 600
	Version   string   // of the program, for the status

	Now     func() time.Time      // default time.Now
	Log     *slog.Logger          // default: discarded
	Metrics prometheus.Registerer // default: none
}

// API serves /api/v1. It is safe for concurrent use.
type API struct {
	d        Deps
	o        Options
	seals    *vault.Keys
	document []byte
	queries  map[string][]string // operation → parameters its URL may have
	count    *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// New checks what it was given and reads the document.
func New(d Deps, o Options) (*API, error) {
	if d.Redis == nil || d.Tokens == nil || d.Cases == nil || d.Index == nil || d.Consent == nil || d.SignUps == nil || d.Spool == nil ||
		d.Ledger == nil || d.Modes == nil || d.Report == nil || d.Streams == nil || d.Keyring == nil || d.Limits == nil || d.Hooks == nil || d.Faults == nil {
		return nil, errors.New("api: every room is needed")
	}
	if o.PerMinute <= 0 {
		o.PerMinute = 600
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{d: d, o: o}
	var err error
	if a.seals, err = vault.New(append([][]byte{o.Key}, o.OldKeys...)...); err != nil {
		return nil, err
	}
	if a.document, err = document(); err != nil {
		return nil, err
	}
	if a.queries, err = queryNames(a.document); err != nil {
		return nil, err
	}
	return a, a.register()
}

// register makes postern_api_*. Labels: operation is that of the route table,
// status the class of the answer as "2xx".
func (a *API) register() error {
	a.count = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_api_requests_total",
		Help: "Requests at the API by operation and class of the answer."}, []string{"operation", "status"})
	a.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "postern_api_request_seconds",
		Help: "Time to the answer of the API by operation.", Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}}, []string{"operation"})
	if a.o.Metrics == nil {
		return nil
	}
	return errors.Join(a.o.Metrics.Register(a.count), a.o.Metrics.Register(a.took))
}

// Base is the path all routes stand under.
const Base = "/api/v1"

// Handler serves every route of the table; mount it at Base + "/".
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for i := range routes {
		mux.Handle(routes[i].method+" "+Base+routes[i].path, a.serve(&routes[i]))
	}
	mux.HandleFunc(Base+"/", func(w http.ResponseWriter, r *http.Request) {
		a.count.WithLabelValues("unknown", "4xx").Inc()
		var allow []string
		for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			other := r.Clone(r.Context())
			other.Method = m
			if _, pattern := mux.Handler(other); pattern != Base+"/" {
				w.Header().Add("Allow", m)
				allow = append(allow, m)
			}
		}
		if len(allow) > 0 {
			writeProblem(w, problem("method", ""))
			return
		}
		writeProblem(w, problem("missing", ""))
	})
	return mux
}
