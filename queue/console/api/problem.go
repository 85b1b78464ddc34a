package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/redis/go-redis/v9"

	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/gateway/throttle"
	"postern/queue"
)

// Problem is an error as RFC 9457 writes it. It is an error itself.
type Problem struct {
	Type   string  `json:"type"` // "urn:postern:problem:" and a word
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail,omitempty"`
	Faults []Fault `json:"faults,omitempty"`

	retry int // seconds of Retry-After
}

// Fault is one thing wrong with a request.
type Fault struct {
	Field string `json:"field"`
	Text  string `json:"text"`
}

// Error is the title and the detail; neither holds what a client sent.
func (p *Problem) Error() string { return strings.TrimSuffix(p.Title+": "+p.Detail, ": ") }

// kinds of problems: word → status and title.
var kinds = map[string]struct {
	status int
	title  string
}{
	"request":      {http.StatusBadRequest, "The request can't be read"},
	"unauthorized": {http.StatusUnauthorized, "A valid bearer token is needed"},
	"forbidden":    {http.StatusForbidden, "The token does not have the scope"},
	"missing":      {http.StatusNotFound, "There is nothing here"},
	"method":       {http.StatusMethodNotAllowed, "The method is not allowed here"},
	"conflict":     {http.StatusConflict, "Not possible as things stand"},
	"at-work":      {http.StatusConflict, "The first request with this Idempotency-Key is still at work"},
	"changed":      {http.StatusPreconditionFailed, "What If-Match names has changed"},
	"large":        {http.StatusRequestEntityTooLarge, "The body is too large"},
	"media":        {http.StatusUnsupportedMediaType, "The body has to be application/json"},
	"invalid":      {http.StatusUnprocessableEntity, "The request is not complete or not lawful"},
	"reused":       {http.StatusUnprocessableEntity, "The Idempotency-Key was used for another request"},
	"limit":        {http.StatusTooManyRequests, "Too many requests"},
	"fault":        {http.StatusInternalServerError, "Something failed here"},
	"store":        {http.StatusServiceUnavailable, "The store does not answer; try again"},
}

func problem(word, detail string, faults ...Fault) *Problem {
	k := kinds[word]
	return &Problem{Type: "urn:postern:problem:" + word, Title: k.title, Status: k.status, Detail: detail, Faults: faults}
}

// bad is one wrong field.
func bad(field, format string, args ...any) *Problem {
	return problem("invalid", "", Fault{field, fmt.Sprintf(format, args...)})
}

// problemOf is the one table from errors of the rooms to problems. Their texts
// hold no address; what is not known here shows nothing.
func problemOf(err error) *Problem {
	var p *Problem
	var large *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &large):
		return problem("large", "")
	case errors.Is(err, consent.ErrStoreUnavailable), errors.Is(err, throttle.ErrUnavailable), errors.As(err, &network),
		errors.Is(err, redis.ErrClosed), errors.Is(err, redis.ErrPoolTimeout), strings.HasPrefix(err.Error(), "LOADING "), strings.HasPrefix(err.Error(), "MISCONF "):
		p = problem("store", "")
		p.retry = 10
		return p
	case errors.Is(err, queue.ErrUnknown), errors.Is(err, consent.ErrNotFound), errors.Is(err, ledger.ErrNoRecord), errors.Is(err, spool.ErrNotFound), errors.Is(err, ErrNone):
		return problem("missing", "")
	case errors.Is(err, queue.ErrMove), errors.Is(err, queue.ErrOrder):
		return problem("conflict", err.Error())
	case errors.Is(err, consent.ErrRefused), errors.Is(err, queue.ErrDraft), errors.Is(err, ErrInput):
		return problem("invalid", err.Error())
	}
	return problem("fault", "")
}

// writeProblem answers with a problem.
func writeProblem(w http.ResponseWriter, p *Problem) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="postern"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", fmt.Sprint(max(p.retry, 1)))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
