package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"postern/gateway/ledger"
	"postern/gateway/stream"
	"postern/queue"
	"postern/queue/console/auth"
)

// Deps are the rooms the console shows and calls.
type Deps struct {
	Cases   *queue.Queue
	Users   *auth.Store
	OIDC    *auth.OIDC  // signs users in at an identity provider; nil: no such button
	Trail   queue.Trail // takes a record of each look at personal data
	Tokens  Tokens      // of the API; nil: no page for them
	Streams func() *stream.Set

	// Original fetches the bytes of a mail from the mailbox it was read from;
	// nil: the console shows the stored text alone.
	Original func(context.Context, queue.Incoming) ([]byte, error)
	// Prover shows records of the ledger with their proofs; nil: no proof pages.
	Prover queue.Prover
	// Alarms tells what is wrong with this node now; nil: nothing known.
	Alarms func(context.Context) []Alarm
	// Modes, Traffic and Spool are what Sending shows; nil: no such page.
	Modes   Modes
	Traffic Traffic
	Spool   Spool
	// Persons and Records are what People shows; nil: no such page, and no
	// send record.
	Persons Persons
	Records Records
	// Log, Verify and Processing are what Proof shows; nil: no such page, no
	// check, no entries. Verify checks the whole ledger of this node.
	Log        Log
	Verify     func(context.Context) (ledger.Report, error)
	Processing func() []Processing
	// Rules and Texts are what Settings shows and edits; nil: no such pages.
	// SignUps are the built-in wordings of sign-ups by language.
	Rules   Rules
	Texts   Texts
	SignUps map[string]string
}

// Alarm is something wrong that an operator has to see first. Key names its
// text in the catalogues' table alarm; Values fill it.
type Alarm struct {
	Key    string
	Values map[string]string
}

// Options of a Console. The zero value works.
type Options struct {
	URL        string // where operators reach it, as "https://postern.example.org"; default: any plain http
	TrustProxy bool   // the client's address is the last of X-Forwarded-For

	CorrectionTexts bool // corrections of labels are handed out with the words of the mail

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default: discarded

	Metrics prometheus.Registerer // takes postern_console_*; default: none
}

// Console serves the operators' pages. It is safe for concurrent use.
type Console struct {
	d       Deps
	o       Options
	secure  bool // cookies only over https
	texts   *texts
	pages   map[string]*pageSet // by language
	static  map[string]*asset
	origins *http.CrossOriginProtection
	csrfKey []byte
	live    *hub

	countsMu sync.Mutex
	counts   map[string]counts // of the rail, by user and roles
	index    *queue.Index
	verify   *verifyJob
	looks    looks
	logins   *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// New parses all texts and templates. csrfKey, 32 bytes that all nodes share,
// signs form tokens.
func New(d Deps, csrfKey []byte, o Options) (*Console, error) {
	switch {
	case d.Cases == nil || d.Users == nil || d.Trail == nil || d.Streams == nil:
		return nil, errors.New("console: Cases, Users, Trail and Streams are needed")
	case len(csrfKey) < 32:
		return nil, errors.New("console: the key of form tokens is too short")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Console{d: d, o: o, secure: strings.HasPrefix(o.URL, "https://"), csrfKey: csrfKey, counts: map[string]counts{}, origins: http.NewCrossOriginProtection()}
	var err error
	if c.texts, err = loadTexts(textFiles); err != nil {
		return nil, err
	}
	if c.static, err = loadStatic(); err != nil {
		return nil, err
	}
	c.pages = map[string]*pageSet{}
	for _, w := range c.texts.list {
		c.pages[w.tag] = &pageSet{c: c, words: w}
	}
	if err := c.register(); err != nil {
		return nil, err
	}
	c.live, c.index, c.verify = newHub(c), d.Cases.Index(), newVerifyJob(d.Verify, o.Now)
	return c, nil
}

// Run feeds open pages with changes, and makes the checks of the ledger that
// are asked for, until ctx ends.
func (c *Console) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.live.run(ctx) })
	g.Go(func() error {
		return c.verify.run(ctx, func(err error) { c.o.Log.Error("ledger could not be checked", "err", err) })
	})
	return g.Wait()
}

// SetupCode gives a one-time code for the set-up page where there is no
// account yet, else "".
func (c *Console) SetupCode(ctx context.Context) (string, error) {
	empty, err := c.d.Users.Empty(ctx)
	if err != nil || !empty {
		return "", err
	}
	return c.d.Users.NewSetupCode(ctx)
}

// Handler serves every route of the table.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	for i := range routes {
		mux.Handle(routes[i].method+" "+routes[i].path, c.serve(&routes[i]))
	}
	mux.Handle("/", c.serve(&route{need: auth.Public(), serve: (*Console).notFound}))
	return mux
}
