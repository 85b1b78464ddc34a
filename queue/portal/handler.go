package portal

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/stream"
	"postern/gateway/throttle"
	"postern/gateway/webpage"
	"postern/queue"
	"postern/queue/reply"
)

//go:embed text/*.toml
var textFiles embed.FS

const (
	allowedMethods = "GET, HEAD, OPTIONS, POST"
	act            = "act" // the field by which our own forms are known
)

// handler answers people.
type handler struct {
	*webpage.Renderer
	tasks   *webpage.Renderer // pages for colleagues
	texts   *webpage.Texts
	cases   Cases
	reader  Reader
	streams func() *stream.Set
	o       Options
	count   *prometheus.CounterVec

	limits  throttle.Taker
	broken  *throttle.Local
	uploads chan struct{}
}

// NewHandler makes the pages. streams is asked for each request, so that a
// reload of the configuration shows at once.
func NewHandler(cases Cases, reader Reader, streams func() *stream.Set, o Options) (http.Handler, error) {
	if cases == nil || reader == nil || streams == nil {
		return nil, errors.New("pages of a case: cases, classifier and streams are needed")
	}
	h := &handler{cases: cases, reader: reader, streams: streams, o: o.withDefaults()}
	var err error
	if h.texts, err = webpage.LoadTexts(textFiles, "text/*.toml"); err != nil {
		return nil, fmt.Errorf("pages of a case: %w", err)
	}
	if h.Renderer, err = webpage.NewRenderer(h.o.BasePath, h.texts); err != nil {
		return nil, fmt.Errorf("pages of a case: %w", err)
	}
	tasks, err := reply.StaffTexts()
	if err != nil {
		return nil, fmt.Errorf("pages of a task: %w", err)
	}
	if h.tasks, err = webpage.NewRenderer(h.o.BasePath, tasks); err != nil {
		return nil, fmt.Errorf("pages of a task: %w", err)
	}
	h.broken, h.uploads = throttle.NewLocal(h.o.Now), make(chan struct{}, h.o.Uploads)
	h.limits = throttle.NewLocal(h.o.Now)
	if h.o.Limits != nil {
		h.limits = throttle.Chain{h.limits, h.o.Limits}
	}
	h.count = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_portal_requests_total",
		Help: "Requests at the pages of cases. page: challenge, status, find, download, task, request, notice, other; result: shown, acted, broken, away, refused.",
	}, []string{"page", "result"})
	if h.o.Metrics != nil {
		if err := h.o.Metrics.Register(h.count); err != nil {
			return nil, fmt.Errorf("metrics of the pages of a case: %w", err)
		}
	}
	return webpage.Guard(h.routes(), h.o.Log), nil
}

// Paths are those the pages are to be mounted at, for an http.ServeMux.
func Paths() []string {
	return []string{"/case", "/case/", "/request", "/request/", "/notice", "/notice/"}
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/case", h.find)
	mux.HandleFunc("/case/{$}", h.find)
	mux.HandleFunc("/case/{link}", h.link)
	mux.HandleFunc("/case/{link}/{$}", h.link)
	mux.HandleFunc("/request", h.pickRequest)
	mux.HandleFunc("/request/{$}", h.pickRequest)
	mux.HandleFunc("/request/{controller}", h.request)
	mux.HandleFunc("/notice", h.pickNotice)
	mux.HandleFunc("/notice/{$}", h.pickNotice)
	mux.HandleFunc("/notice/{controller}", h.notice)
	mux.HandleFunc("GET /static/{file}", h.Static)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.nothing(h.stranger(w, r, "/"), http.StatusNotFound)
	})
	return mux
}

// link serves /case/LINK: the page that the mailed link is for.
func (h *handler) link(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimRight(r.PathValue("link"), ".,;:>)]\"'") // mail clients append these
	a := h.stranger(w, r, r.URL.EscapedPath())
	if !h.allowed(a) {
		return
	}
	if h.broken.Spent(h.brokenLimit(), webpage.Client(r, h.o.TrustProxy)) {
		h.tooMany(a, "other")
		return
	}
	ctx, cancel := h.working(r)
	defer cancel()
	kind, err := h.cases.LinkKind(ctx, token)
	if err != nil {
		h.failed(a, "other", err, webpage.Form{})
		return
	}
	page := map[string]func(context.Context, *webpage.Ask, string){
		queue.LinkChallenge: h.challenge, queue.LinkStatus: h.status, queue.LinkDownload: h.download, queue.LinkTask: h.task,
	}[kind]
	if page == nil {
		h.over(a, "other")
		return
	}
	page(ctx, a, token)
}

// about asks again with what a link told: whose page it is and its language.
func (h *handler) about(a *webpage.Ask, controller, token, language string) *webpage.Ask {
	var who *stream.Controller
	if c, ok := h.streams().Controller(controller); ok {
		who = &c
	}
	return h.Ask(a.W, a.R, who, "/case/"+url.PathEscape(token), language)
}

// stranger is an ask of which nothing is known. Where there is one controller
// only, or the host is one's own, it is named: that tells nothing about a
// person, and how to reach it.
func (h *handler) stranger(w http.ResponseWriter, r *http.Request, here string) *webpage.Ask {
	return h.Ask(w, r, h.streams().Speaking(r.Host), here, "")
}

// show renders one answer and counts it.
func (h *handler) show(a *webpage.Ask, name, result string, pg webpage.Page) {
	h.count.WithLabelValues(name, result).Inc()
	if err := h.Render(a, pg); err != nil {
		h.o.Log.Error("page could not be made", "error", err)
		http.Error(a.W, "error", http.StatusInternalServerError)
	}
}

// nothing answers requests that no page takes.
func (h *handler) nothing(a *webpage.Ask, status int) {
	h.show(a, "other", "refused", webpage.Page{Status: status, Heading: a.Say("nothing_heading"), Lead: []string{a.Say("nothing_lead")}})
}

// over answers every link that leads nowhere, whatever it was, in the same
// words: whose it was and what became of it is told to nobody.
func (h *handler) over(a *webpage.Ask, name string) {
	_, _ = h.broken.Take(a.R.Context(), h.brokenLimit(), webpage.Client(a.R, h.o.TrustProxy))
	a = h.stranger(a.W, a.R, a.R.URL.EscapedPath())
	h.show(a, name, "broken", webpage.Page{Status: http.StatusNotFound, Heading: a.Say("over_heading"), Lead: []string{a.Say("over_lead")}, Links: []webpage.Anchor{h.findLink(a)}})
}

func (h *handler) brokenLimit() throttle.Limit {
	return throttle.Limit{Name: "broken", Most: h.o.Broken, Window: time.Hour}
}

func (h *handler) findLink(a *webpage.Ask) webpage.Anchor {
	return webpage.Anchor{Text: a.Say("find_heading"), Href: h.o.BasePath + "/case" + a.LangQuery()}
}

// failed answers an error of the queue: links that lead nowhere alike, all else
// as not stored for certain. The form repeats the act, if there is one.
func (h *handler) failed(a *webpage.Ask, name string, err error, again webpage.Form) {
	if errors.Is(err, queue.ErrUnknown) {
		h.over(a, name)
		return
	}
	h.o.Log.Error("page of a case failed", "page", name, "error", err)
	pg := webpage.Page{Status: http.StatusServiceUnavailable, Heading: a.Say("away_heading"), Lead: []string{a.Say("away_lead")}}
	if again.Action != "" {
		again.Button, again.Heading, again.Lead = a.Say("away_button"), "", ""
		pg.Forms = []webpage.Form{again}
	}
	h.show(a, name, "away", pg)
}

func (h *handler) tooMany(a *webpage.Ask, name string) {
	a.W.Header().Set("Retry-After", "3600")
	h.show(a, name, "refused", webpage.Page{Status: http.StatusTooManyRequests, Heading: a.Say("many_heading"), Lead: []string{a.Say("many_lead")}})
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

// posted reads the page's own form; nil where the request is none: then the
// page is shown and nothing changes.
func (h *handler) posted(a *webpage.Ask) url.Values {
	if a.R.Method != http.MethodPost {
		return nil
	}
	v, err := webpage.ReadForm(a.W, a.R)
	if err != nil || v.Get(act) == "" {
		return nil
	}
	return v
}

// does names the act of a form.
func does(name string) []webpage.Pair { return []webpage.Pair{{Name: act, Value: name}} }

// working is the context for a change: it outlives a client that hangs up, for
// what a person said is carried out.
func (h *handler) working(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), h.o.Timeout)
}

// admitted tells whether a client may use a form that leads to mail now; if
// not it has answered.
func (h *handler) admitted(ctx context.Context, a *webpage.Ask, name string) bool {
	for _, l := range []struct {
		limit throttle.Limit
		who   string
	}{
		{throttle.Limit{Name: "ask-client", Most: h.o.PerClient, Window: time.Hour}, webpage.Client(a.R, h.o.TrustProxy)},
		{throttle.Limit{Name: "ask-total", Most: h.o.Total, Window: time.Hour}, name},
	} {
		ok, err := h.limits.Take(ctx, l.limit, l.who)
		if err != nil {
			h.failed(a, name, err, webpage.Form{})
			return false
		}
		if !ok {
			h.tooMany(a, name)
			return false
		}
	}
	return true
}

// spares tells whether a mailbox may get one more mail of these pages today.
func (h *handler) spares(ctx context.Context, wide string) (bool, error) {
	return h.limits.Take(ctx, throttle.Limit{Name: "ask-mailbox", Most: h.o.PerMailbox, Window: 24 * time.Hour}, wide)
}

// evenly waits so that answers take the same time whatever was found.
func (h *handler) evenly(a *webpage.Ask) func() {
	even := time.NewTimer(h.o.EvenTime)
	return func() {
		defer even.Stop()
		select {
		case <-even.C:
		case <-a.R.Context().Done():
		}
	}
}
