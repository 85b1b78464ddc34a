package unsubscribe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/stream"
)

// handler answers data subjects.
type handler struct {
	*renderer
	reg     Registry
	streams func() *stream.Set
	codec   *Codec
	opts    Options
	count   *prometheus.CounterVec

	perClient, perAddress, total *limiter
}

// NewHandler makes the pages. streams is asked for each request, so that a
// reload of the configuration shows at once. Set limits and timeouts of the
// listener with Server.
func NewHandler(reg Registry, streams func() *stream.Set, codec *Codec, opts Options) (http.Handler, error) {
	if reg == nil || streams == nil || codec == nil {
		return nil, errors.New("unsubscribe pages: registry, streams and token keys are needed")
	}
	opts = opts.withDefaults()
	if opts.Mailer != nil && !strings.HasPrefix(opts.PublicURL, "https://") && !strings.HasPrefix(opts.PublicURL, "http://") {
		return nil, errors.New("unsubscribe pages: sign-up needs the public URL for its links")
	}
	rd, err := newRenderer(opts.BasePath)
	if err != nil {
		return nil, fmt.Errorf("unsubscribe pages: %w", err)
	}
	h := &handler{renderer: rd, reg: reg, streams: streams, codec: codec, opts: opts}
	h.perClient = newLimiter(time.Hour, opts.PerClient)
	h.perAddress = newLimiter(24*time.Hour, opts.PerAddress)
	h.total = newLimiter(time.Hour, opts.Total)
	h.count = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_unsubscribe_requests_total",
		Help: "Requests at the public pages. page: unsubscribe, undo, preferences, signup, confirm, fresh, other; result: shown, acted, broken, away, refused.",
	}, []string{"page", "result"})
	if opts.Metrics != nil {
		if err := opts.Metrics.Register(h.count); err != nil {
			return nil, fmt.Errorf("unsubscribe metrics: %w", err)
		}
	}
	return h.guard(h.routes()), nil
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
	mux.HandleFunc("GET /static/{file}", h.static)
	mux.HandleFunc("GET /robots.txt", robots)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.nothing(h.stranger(w, r, "/"), http.StatusNotFound)
	})
	return mux
}

// robots asks crawlers to leave the links alone; none of them can act anyway.
func robots(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("User-agent: *\nDisallow: /\n"))
}

// guard sets what every answer carries and keeps a fault in one request from
// ending the others. Links are secrets: they must not get into caches,
// referrers or search engines (look.md section 2).
func (h *handler) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		head.Set("Cache-Control", "no-store")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("X-Robots-Tag", "noindex, nofollow, noarchive")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		defer func() {
			if fault := recover(); fault != nil {
				h.opts.Log.Error("unsubscribe page fault", "kind", fmt.Sprintf("%T", fault))
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// words picks the language: what the person clicked, then the stream's, then
// the browser's, then the controller's (look.md section 2).
func (h *handler) words(r *http.Request, streamTag, controllerTag string) *catalogue {
	for _, c := range []*catalogue{
		h.texts.find(r.URL.Query().Get("lang")), h.texts.find(streamTag),
		h.texts.accept(r.Header.Get("Accept-Language")), h.texts.find(controllerTag),
	} {
		if c != nil {
			return c
		}
	}
	return h.texts.byTag[fallbackTag]
}

// stranger is an ask of which nothing is known. Where there is one controller
// only, it is named: that tells nothing about a person, and how to reach it.
func (h *handler) stranger(w http.ResponseWriter, r *http.Request, here string) *ask {
	a := &ask{w: w, r: r, here: h.opts.BasePath + here}
	tag := ""
	if all := h.streams().Controllers(); len(all) == 1 {
		a.who, tag = &all[0], all[0].Language
	}
	a.words = h.words(r, "", tag)
	return a
}

// about fills an ask from what a token names. It is false where the stream is
// no longer configured.
func (h *handler) about(w http.ResponseWriter, r *http.Request, number uint16, here string) (*ask, stream.Stream, bool) {
	a := &ask{w: w, r: r, here: h.opts.BasePath + here}
	set := h.streams()
	st, ok := set.ByNumber(number)
	c, known := set.Controller(st.Controller)
	if !ok || !known {
		a.words = h.words(r, "", "")
		return a, st, false
	}
	a.who = &c
	a.words = h.words(r, st.Language, c.Language)
	return a, st, true
}

// write renders and says when the template fails, which no request can cause.
func (h *handler) write(a *ask, pg page) {
	if err := h.render(a, pg); err != nil {
		h.opts.Log.Error("page could not be made", "error", err)
		http.Error(a.w, "error", http.StatusInternalServerError)
	}
}

// nothing answers requests that no page takes.
func (h *handler) nothing(a *ask, status int) {
	h.count.WithLabelValues("other", "refused").Inc()
	h.write(a, page{Status: status, Heading: h.say(a, "nothing_heading"), Lead: []string{h.say(a, "nothing_lead")}})
}

// broken answers a link that does not authenticate (UNS-5).
func (h *handler) broken(a *ask, name string) {
	h.count.WithLabelValues(name, "broken").Inc()
	pg := page{Status: http.StatusNotFound, Heading: h.say(a, "broken_heading"), Lead: []string{h.say(a, "broken_lead_plain")}}
	if h.opts.Mailer != nil {
		pg.Lead, pg.Forms = []string{h.say(a, "broken_lead")}, []form{h.freshForm(a)}
	}
	h.write(a, pg)
}

// away answers where nothing may be claimed: it was not stored for certain.
// The form repeats the act.
func (h *handler) away(a *ask, name string, again form) {
	h.count.WithLabelValues(name, "away").Inc()
	again.Button = h.say(a, "away_button")
	h.write(a, page{Status: http.StatusServiceUnavailable, Heading: h.say(a, "away_heading"), Lead: []string{h.say(a, "away_lead")}, Forms: []form{again}})
}

// allowed answers OPTIONS and methods without meaning here; true: go on.
func (h *handler) allowed(a *ask) bool {
	switch a.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return true
	case http.MethodOptions:
		a.w.Header().Set("Allow", allowedMethods)
		a.w.WriteHeader(http.StatusNoContent)
		return false
	}
	a.w.Header().Set("Allow", allowedMethods)
	h.nothing(a, http.StatusMethodNotAllowed)
	return false
}

const allowedMethods = "GET, HEAD, OPTIONS, POST"

// working is the context for a change: it outlives a client that hangs up, for
// an opt-out once read is carried out.
func (h *handler) working(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), h.opts.Timeout)
}

// pathWithLang keeps the chosen language over a POST.
func (a *ask) pathWithLang() string {
	if a.r.URL.Query().Get("lang") == "" {
		return a.here
	}
	return a.here + "?lang=" + a.words.tag
}

// tokenOf reads the token of a link; mail clients append dots and brackets.
func tokenOf(text string) string { return strings.TrimRight(text, ".,;:>)]\"'") }

// undoEnds is when an undo link of now stops working.
func (h *handler) undoEnds() time.Time { return h.opts.Now().Add(h.opts.UndoFor) }
