package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/throttle"
	"postern/queue/console/auth"
)

// call is one request with what is known for its answer.
type call struct {
	a     *API
	r     *http.Request
	token Token
	body  []byte
	key   string // of a repeatable request, "" where the client named none
}

func (c *call) ctx() context.Context { return c.r.Context() }
func (c *call) now() time.Time       { return c.a.o.Now() }
func (c *call) actor() string        { return c.token.Actor() }

// path is a named part of the path.
func (c *call) path(name string) string { return c.r.PathValue(name) }

// query is a parameter of the URL.
func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// answer is what a route gives: a status and a JSON body, or raw octets.
type answer struct {
	status int
	body   any    // as JSON; nil: none
	raw    []byte // in place of body
	media  string // of raw
	etag   string

	stream func(io.Writer) error // in place of body and raw: as it comes, however much it is
}

func ok(body any) (answer, error)      { return answer{status: http.StatusOK, body: body}, nil }
func created(body any) (answer, error) { return answer{status: http.StatusCreated, body: body}, nil }
func none() (answer, error)            { return answer{status: http.StatusNoContent}, nil }

const bodyLimit = 256 << 10

// failures is how many wrong tokens one client may show in a minute.
const failures = 30

// serve wraps a route: limits, token, scope, body, repeat, then the handler or
// the problem.
func (a *API) serve(rt *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		_ = http.NewResponseController(w).SetWriteDeadline(start.Add(2 * time.Minute)) // not every writer has one
		c := &call{a: a, r: r}
		status := a.respond(w, c, rt)
		a.count.WithLabelValues(rt.operation, strconv.Itoa(status/100)+"xx").Inc()
		a.took.WithLabelValues(rt.operation).Observe(time.Since(start).Seconds())
		a.o.Log.Debug("api", "operation", rt.operation, "status", status, "token", c.token.Name)
	})
}

func (a *API) respond(w http.ResponseWriter, c *call, rt *route) int {
	ans, err := a.enter(w, c, rt)
	if err != nil {
		p := problemOf(err)
		if p.Status >= 500 {
			a.o.Log.Error("api request failed", "operation", rt.operation, "err", err)
		}
		writeProblem(w, p)
		return p.Status
	}
	a.write(w, c, ans)
	return ans.status
}

func (a *API) enter(w http.ResponseWriter, c *call, rt *route) (answer, error) {
	if rt.scope != "" {
		if err := a.admit(c, rt.scope); err != nil {
			return answer{}, err
		}
	}
	if err := a.asked(c, rt); err != nil {
		return answer{}, err
	}
	limit := rt.limit
	if limit == 0 {
		limit = bodyLimit
	}
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(w, c.r.Body, limit)); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return answer{}, err
		}
		return answer{}, problem("request", "the body did not arrive whole")
	}
	if key := c.r.Header.Get("Idempotency-Key"); key != "" && rt.method == http.MethodPost {
		return a.once(w, c, rt, key)
	}
	return rt.do(c)
}

// asked refuses a URL with a parameter that the document does not list: a filter
// that is misspelt would give everything.
func (a *API) asked(c *call, rt *route) error {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return problem("request", "the URL's query can't be read")
	}
	for name := range q {
		if !slices.Contains(a.queries[rt.operation], name) {
			return bad("query", "holds a parameter that is not known here")
		}
	}
	return nil
}

// flag is a parameter that is "true", "false" or not there.
func (c *call) flag(name string) (is, given bool, err error) {
	switch c.query(name) {
	case "":
		return false, false, nil
	case "true":
		return true, true, nil
	case "false":
		return false, true, nil
	}
	return false, false, bad(name, "is neither true nor false")
}

// admit finds the token and counts the request.
func (a *API) admit(c *call, need Scope) error {
	scheme, text, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	t, err := Token{}, ErrNone
	if strings.EqualFold(scheme, "Bearer") {
		t, err = a.d.Tokens.Find(c.ctx(), strings.TrimSpace(text))
	}
	if errors.Is(err, ErrNone) {
		within, err := a.d.Limits.Take(c.ctx(), throttle.Limit{Name: "api-wrong", Most: failures, Window: time.Minute}, auth.ClientOf(c.r.RemoteAddr))
		switch {
		case err != nil:
			return err
		case !within:
			return tooMany()
		}
		return problem("unauthorized", "")
	}
	if err != nil {
		return err
	}
	c.token = t
	within, err := a.d.Limits.Take(c.ctx(), throttle.Limit{Name: "api", Most: a.o.PerMinute, Window: time.Minute}, t.ID)
	switch {
	case err != nil:
		return err
	case !within:
		return tooMany()
	case !t.Has(need):
		return problem("forbidden", "scope "+string(need)+" is needed")
	}
	return nil
}

func tooMany() *Problem {
	p := problem("limit", "")
	p.retry = 60
	return p
}

func (a *API) write(w http.ResponseWriter, c *call, ans answer) {
	h := w.Header()
	if ans.etag != "" {
		h.Set("ETag", ans.etag)
		if c.r.Method == http.MethodGet && c.r.Header.Get("If-None-Match") == ans.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if ans.stream != nil {
		a.pour(w, c, ans)
		return
	}
	raw, media := ans.raw, ans.media
	if ans.body != nil {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(ans.body); err != nil {
			a.o.Log.Error("api answer can't be written", "err", err)
			writeProblem(w, problem("fault", ""))
			return
		}
		raw, media = b.Bytes(), "application/json"
	}
	if raw != nil {
		h.Set("Content-Type", media)
	}
	w.WriteHeader(ans.status)
	_, _ = w.Write(raw)
}

// pour writes a stream. If it fails on the way the connection is cut, so that
// nobody takes a part for the whole; if it fails at once there is a problem to
// tell.
func (a *API) pour(w http.ResponseWriter, c *call, ans answer) {
	out := &pouring{w: w, status: ans.status, media: ans.media}
	buffered := bufio.NewWriterSize(out, 64<<10)
	err := ans.stream(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	switch {
	case err == nil && !out.begun:
		w.Header().Set("Content-Type", ans.media)
		w.WriteHeader(ans.status)
	case err == nil:
	case !out.begun:
		a.o.Log.Error("api request failed", "err", err)
		writeProblem(w, problemOf(err))
	default:
		if c.ctx().Err() == nil {
			a.o.Log.Error("api answer broke off", "err", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// pouring sends the head with the first octets, and gives each write its time.
type pouring struct {
	w      http.ResponseWriter
	status int
	media  string
	begun  bool
}

func (p *pouring) Write(b []byte) (int, error) {
	_ = http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(time.Minute)) // not every writer has one
	if !p.begun {
		p.begun = true
		p.w.Header().Set("Content-Type", p.media)
		p.w.WriteHeader(p.status)
	}
	return p.w.Write(b)
}

// read decodes the body into v: one JSON document of known fields.
func (c *call) read(v any) error {
	media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return problem("media", "")
	}
	dec := json.NewDecoder(bytes.NewReader(c.body))
	dec.DisallowUnknownFields()
	err = dec.Decode(v)
	if err == nil && dec.More() {
		return problem("request", "the body holds more than one document")
	}
	if err == nil {
		return nil
	}
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return bad(kind.Field, "is no %s", kind.Type.Kind())
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		// The name is what the client sent: it is not repeated.
		return problem("request", "the body holds a field that is not known here")
	}
	return problem("request", "the body is no JSON")
}

// person reads an address; what was sent is never repeated.
func person(field, text string) (address.Address, error) {
	a, err := address.Parse(strings.TrimSpace(text))
	if err != nil {
		return a, bad(field, "is no mail address")
	}
	return a, nil
}

// controller is the one named, or the only one there is.
func (c *call) controller(id string) (string, error) {
	set := c.a.d.Streams()
	if all := set.Controllers(); id == "" && len(all) == 1 {
		return all[0].ID, nil
	}
	if _, known := set.Controller(id); !known {
		return "", bad("controller", "is not configured")
	}
	return id, nil
}

// limit is how many entries of a list are wanted.
func (c *call) limit() (int, error) {
	text := c.query("limit")
	if text == "" {
		return 100, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1000 {
		return 0, bad("limit", "is no number from 1 to 1000")
	}
	return n, nil
}

func (c *call) day(name string, or time.Time) (time.Time, error) {
	text := c.query(name)
	if text == "" {
		return or, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return or, bad(name, "is no date, as 2026-11-24")
}
