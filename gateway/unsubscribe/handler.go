package unsubscribe

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/stream"
	"postern/gateway/throttle"
	"postern/gateway/webpage"
)

// handler answers data subjects.
type handler struct {
	*webpage.Renderer
	texts   *webpage.Texts
	reg     Registry
	streams func() *stream.Set
	codec   *Codec
	opts    Options
	count   *prometheus.CounterVec

	limits  throttle.Taker
	inviter *Inviter // nil without a mailer
}

// NewHandler makes the pages. streams is asked for each request, so that a
// reload of the configuration shows at once. Set limits and timeouts of the
// listener with Server.
func NewHandler(reg Registry, streams func() *stream.Set, codec *Codec, opts Options) (http.Handler, error) {
	if reg == nil || streams == nil || codec == nil {
		return nil, errors.New("unsubscribe pages: registry, streams and token keys are needed")
	}
	opts = opts.withDefaults()
	texts, err := webpage.LoadTexts(textFiles, "text/*.toml")
	if err != nil {
		return nil, fmt.Errorf("unsubscribe pages: %w", err)
	}
	rd, err := webpage.NewRenderer(opts.BasePath, texts)
	if err != nil {
		return nil, fmt.Errorf("unsubscribe pages: %w", err)
	}
	h := &handler{Renderer: rd, texts: texts, reg: reg, streams: streams, codec: codec, opts: opts}
	if opts.Mailer != nil {
		if h.inviter, err = NewInviter(reg, codec, opts); err != nil {
			return nil, fmt.Errorf("unsubscribe pages: %w", err)
		}
	}
	h.limits = opts.counters()
	h.count = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_unsubscribe_requests_total",
		Help: "Requests at the public pages. page: unsubscribe, undo, preferences, signup, confirm, fresh, other; result: shown, acted, broken, away, refused.",
	}, []string{"page", "result"})
	if opts.Metrics != nil {
		if err := opts.Metrics.Register(h.count); err != nil {
			return nil, fmt.Errorf("unsubscribe metrics: %w", err)
		}
	}
	return webpage.Guard(h.routes(), opts.Log), nil
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/u/{token}", h.unsubscribe)
	mux.HandleFunc("/u/{token}/{$}", h.unsubscribe)
	mux.HandleFunc("/undo/{link}", h.undo)
	mux.HandleFunc("/p/{token}", h.preferences)
	mux.HandleFunc("/p/{token}/{$}", h.preferences)
	if h.opts.Mailer != nil {
		mux.HandleFunc("/s/{stream}", h.signUp)
		mux.HandleFunc("/c/{link}", h.confirm)
		mux.HandleFunc("/fresh", h.fresh)
	}
	mux.HandleFunc("GET /static/{file}", h.Static)
	mux.HandleFunc("GET /robots.txt", webpage.Robots)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.nothing(h.stranger(w, r, "/"), http.StatusNotFound)
	})
	return mux
}

// stranger is an ask of which nothing is known. Where there is one controller
// only, or the host is one's own, it is named: that tells nothing about a
// person, and how to reach it.
func (h *handler) stranger(w http.ResponseWriter, r *http.Request, here string) *webpage.Ask {
	return h.Ask(w, r, h.streams().Speaking(r.Host), here, "")
}

// about fills an ask from what a token names. It is false where the stream is
// no longer configured.
func (h *handler) about(w http.ResponseWriter, r *http.Request, number uint16, here string) (*webpage.Ask, stream.Stream, bool) {
	set := h.streams()
	st, ok := set.ByNumber(number)
	c, known := set.Controller(st.Controller)
	if !ok || !known {
		return h.Ask(w, r, nil, here, ""), st, false
	}
	return h.Ask(w, r, &c, here, st.Language), st, true
}

// write renders and says when the template fails, which no request can cause.
func (h *handler) write(a *webpage.Ask, pg webpage.Page) {
	if err := h.Render(a, pg); err != nil {
		h.opts.Log.Error("page could not be made", "error", err)
		http.Error(a.W, "error", http.StatusInternalServerError)
	}
}

// nothing answers requests that no page takes.
func (h *handler) nothing(a *webpage.Ask, status int) {
	h.count.WithLabelValues("other", "refused").Inc()
	h.write(a, webpage.Page{Status: status, Heading: a.Say("nothing_heading"), Lead: []string{a.Say("nothing_lead")}})
}

// broken answers a link that does not authenticate (UNS-5).
func (h *handler) broken(a *webpage.Ask, name string) {
	h.count.WithLabelValues(name, "broken").Inc()
	pg := webpage.Page{Status: http.StatusNotFound, Heading: a.Say("broken_heading"), Lead: []string{a.Say("broken_lead_plain")}}
	if h.opts.Mailer != nil {
		pg.Lead, pg.Forms = []string{a.Say("broken_lead")}, []webpage.Form{h.freshForm(a)}
	}
	h.write(a, pg)
}

// away answers where nothing may be claimed: it was not stored for certain.
// The form repeats the act.
func (h *handler) away(a *webpage.Ask, name string, again webpage.Form) {
	h.count.WithLabelValues(name, "away").Inc()
	again.Button = a.Say("away_button")
	h.write(a, webpage.Page{Status: http.StatusServiceUnavailable, Heading: a.Say("away_heading"), Lead: []string{a.Say("away_lead")}, Forms: []webpage.Form{again}})
}

// allowed answers OPTIONS and methods without meaning here; true: go on.
func (h *handler) allowed(a *webpage.Ask) bool {
	switch a.R.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return true
	case http.MethodOptions:
		a.W.Header().Set("Allow", allowedMethods)
		a.W.WriteHeader(http.StatusNoContent)
		return false
	}
	a.W.Header().Set("Allow", allowedMethods)
	h.nothing(a, http.StatusMethodNotAllowed)
	return false
}

//go:embed text/*.toml
var textFiles embed.FS

const allowedMethods = "GET, HEAD, OPTIONS, POST"

// working is the context for a change: it outlives a client that hangs up, for
// an opt-out once read is carried out.
func (h *handler) working(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), h.opts.Timeout)
}

// tokenOf reads the token of a link; mail clients append dots and brackets.
func tokenOf(text string) string { return strings.TrimRight(text, ".,;:>)]\"'") }

// undoEnds is when an undo link of now stops working.
func (h *handler) undoEnds() time.Time { return h.opts.Now().Add(h.opts.UndoFor) }
