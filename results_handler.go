package main

import (
	"errors"
	"io"
	"net/http"

	"postern/queue"
	"postern/queue/fulfil"
)

// maxResult bounds a late outcome of a system, files included.
const maxResult = 48 << 20

// resultsHandler takes outcomes that the company's systems send by themselves
// after they had answered 202. It answers in status codes alone, so that who
// can't sign learns nothing.
func (n *node) resultsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxResult))
		if err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		err = n.queue.TakeResult(r.Context(), r.PathValue("connector"), r.Header, body)
		switch {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, queue.ErrForged):
			w.WriteHeader(http.StatusUnauthorized)
		case errors.Is(err, queue.ErrUnknown):
			w.WriteHeader(http.StatusNotFound)
		case errors.Is(err, fulfil.ErrAnswer):
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			n.log.Error("outcome of a system not taken", "connector", r.PathValue("connector"), "err", err)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}
