package console

import (
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/redis/go-redis/v9"

	"postern/gateway/ledger/peers"
	"postern/queue"
	"postern/queue/console/auth"
)

// failure is how an error is shown: one table, so that nothing internal gets
// out. The texts are failed.KEY and failed.KEY_lead of the catalogues.
type failure struct {
	status int
	key    string
}

func failureOf(err error) failure {
	var large *http.MaxBytesError
	var network net.Error
	switch {
	case errors.Is(err, errNotFound), errors.Is(err, queue.ErrUnknown):
		return failure{http.StatusNotFound, "missing"}
	case errors.Is(err, errNoOriginal):
		return noOriginal
	case errors.Is(err, errForbid):
		return failure{http.StatusForbidden, "forbidden"}
	case errors.Is(err, errToken):
		return failure{http.StatusForbidden, "stale"}
	case errors.Is(err, errForm), errors.Is(err, auth.ErrInput):
		return failure{http.StatusBadRequest, "form"}
	case errors.Is(err, peers.ErrAway):
		return failure{http.StatusServiceUnavailable, "away"}
	case errors.As(err, &large):
		return failure{http.StatusRequestEntityTooLarge, "large"}
	case errors.Is(err, queue.ErrMove), errors.Is(err, queue.ErrDraft), errors.Is(err, queue.ErrOrder):
		return failure{http.StatusConflict, "move"}
	case errors.Is(err, auth.ErrLimit):
		return failure{http.StatusTooManyRequests, "limit"}
	case errors.As(err, &network), errors.Is(err, redis.ErrClosed), errors.Is(err, redis.ErrPoolTimeout):
		return failure{http.StatusServiceUnavailable, "store"}
	}
	return failure{http.StatusInternalServerError, "fault"}
}

// fail answers with the page of an error. Whoever is not signed in is led to
// the log-in, and back to where they wanted to go.
func (v *visit) fail(err error) {
	if errors.Is(err, auth.ErrNone) {
		to := "/login"
		if v.r.Method == http.MethodGet && v.r.URL.Path != "/" && v.r.URL.Path != "/live" {
			to += "?to=" + url.QueryEscape(v.r.URL.Path)
		}
		if v.r.URL.Path == "/live" { // nothing to lead a script to
			http.Error(v.w, "signed out", http.StatusUnauthorized)
			return
		}
		http.Redirect(v.w, v.r, to, http.StatusSeeOther)
		return
	}
	if errors.Is(err, errHandle) {
		_ = v.redirect("/people", "person-over")
		return
	}
	f := failureOf(err)
	if f.status >= 500 {
		v.c.o.Log.Error("page failed", "path", v.r.Pattern, "err", err)
	}
	if f.status == http.StatusServiceUnavailable {
		v.w.Header().Set("Retry-After", "10")
	}
	v.status = f.status
	if err := v.page("failed", "failed."+f.key, map[string]any{"Key": f.key, "Posted": v.r.Method == http.MethodPost}); err != nil {
		http.Error(v.w, "The page can't be shown.", http.StatusInternalServerError)
	}
}

func (c *Console) notFound(*visit) error { return errNotFound }
