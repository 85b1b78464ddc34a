package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"postern/gateway/consent"
)

// Verbs that touch a node's state reach the running server over a socket in
// its data folder, so that the folder has one owner (design D22). With no
// server running the verb opens the folder itself and answers itself: the same
// operations either way.

// operation is one entry of the control interface.
type operation struct {
	name  string
	serve http.HandlerFunc
}

// op makes an operation of a function from one JSON document to another.
func op[Req, Resp any](name string, run func(context.Context, Req) (Resp, error)) operation {
	return operation{name, func(w http.ResponseWriter, r *http.Request) {
		var req Req
		dec := json.NewDecoder(r.Body)
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil && !errors.Is(err, io.EOF) {
			answer(w, http.StatusBadRequest, controlError{"the request is not understood: is the server of another version?"})
			return
		}
		resp, err := run(r.Context(), req)
		if err != nil {
			answer(w, http.StatusUnprocessableEntity, controlError{err.Error()})
			return
		}
		answer(w, http.StatusOK, resp)
	}}
}

// upload makes an operation whose request is a stream of bytes, with its
// parameters as one JSON header.
func upload[Req, Resp any](name string, run func(context.Context, Req, io.Reader) (Resp, error)) operation {
	return operation{name, func(w http.ResponseWriter, r *http.Request) {
		var req Req
		if err := json.Unmarshal([]byte(r.Header.Get(paramHeader)), &req); err != nil {
			answer(w, http.StatusBadRequest, controlError{"the request is not understood: is the server of another version?"})
			return
		}
		resp, err := run(r.Context(), req, r.Body)
		if err != nil {
			answer(w, http.StatusUnprocessableEntity, controlError{err.Error()})
			return
		}
		answer(w, http.StatusOK, resp)
	}}
}

const paramHeader = "Postern-Parameters"

type controlError struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// controlHandler serves the operations, each at POST /<name>.
func controlHandler(ops []operation) http.Handler {
	mux := http.NewServeMux()
	for _, o := range ops {
		mux.HandleFunc("POST /"+o.name, o.serve)
	}
	return mux
}

// socketPath is the control socket of a data folder.
func socketPath(data string) string { return filepath.Join(data, "control.sock") }

// serveControl answers on the control socket until ctx ends.
func serveControl(ctx context.Context, data string, handler http.Handler, log *slog.Logger) error {
	path := socketPath(data)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", path) // in a folder of mode 0700
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return serveHTTP(ctx, &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}, l, log)
}

// serveHTTP runs srv on l until ctx ends, then lets requests in hand finish. All
// servers of the program run here, so that none complains past the log.
func serveHTTP(ctx context.Context, srv *http.Server, l net.Listener, log *slog.Logger) error {
	srv.ErrorLog = httpErrors(log)
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := srv.Shutdown(grace)
		if err != nil {
			err = srv.Close()
		}
		stopped <- err
	})
	err := srv.Serve(l)
	if stop() { // Serve failed by itself
		return err
	}
	return <-stopped
}

// caller sends one operation somewhere.
type caller func(ctx context.Context, name string, param string, body io.Reader) (int, []byte, error)

// overSocket asks the running server.
func overSocket(data string) caller {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socketPath(data))
		},
		DisableKeepAlives: true,
	}}
	return func(ctx context.Context, name, param string, body io.Reader) (int, []byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://postern/"+name, body)
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set(paramHeader, param)
		resp, err := client.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, b, err
	}
}

// inProcess asks a handler of this process.
func inProcess(h http.Handler) caller {
	return func(ctx context.Context, name, param string, body io.Reader) (int, []byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "/"+name, body)
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set(paramHeader, param)
		w := &reply{header: http.Header{}, status: http.StatusOK}
		h.ServeHTTP(w, req)
		return w.status, w.body.Bytes(), nil
	}
}

// reply keeps an answer that never goes over a wire.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *reply) Header() http.Header         { return r.header }
func (r *reply) WriteHeader(status int)      { r.status = status }
func (r *reply) Write(p []byte) (int, error) { return r.body.Write(p) }

// ask sends req to an operation and reads its answer.
func ask[Resp any](ctx context.Context, call caller, name string, req any) (Resp, error) {
	b, err := json.Marshal(req)
	if err != nil {
		var none Resp
		return none, err
	}
	return read[Resp](call(ctx, name, "", bytes.NewReader(b)))
}

// send streams body to an upload operation and reads its answer.
func send[Resp any](ctx context.Context, call caller, name string, req any, body io.Reader) (Resp, error) {
	b, err := json.Marshal(req)
	if err != nil {
		var none Resp
		return none, err
	}
	return read[Resp](call(ctx, name, string(b), body))
}

func read[Resp any](status int, body []byte, err error) (resp Resp, _ error) {
	if err != nil {
		return resp, err
	}
	if status != http.StatusOK {
		var e controlError
		if json.Unmarshal(body, &e) != nil || e.Error == "" {
			return resp, fmt.Errorf("the server does not know this operation: it is of another version")
		}
		return resp, errors.New(e.Error)
	}
	return resp, json.Unmarshal(body, &resp)
}

// withNode runs f with a caller for the node's operations: the server's where
// one runs, otherwise this process's own. Without a server, keys that the store
// does not know are refused here: an opt-out written under them would be seen
// by nobody (design D8).
func (c *cli) withNode(ctx context.Context, f func(caller) error) error {
	return c.onNode(ctx, func(n *node) error {
		err := n.consent.Check(ctx)
		if errors.Is(err, consent.ErrForeignKey) {
			return err
		}
		if err == nil {
			err = n.engine.LoadModes(ctx)
		}
		if err != nil { // Redis away: each operation says what it can't do
			n.log.Debug("the store could not be checked", "err", err)
		}
		return nil
	}, f)
}

// onNode is withNode with a check of the caller's own.
func (c *cli) onNode(ctx context.Context, check func(*node) error, f func(caller) error) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if conn, err := net.DialTimeout("unix", socketPath(cfg.Data), 2*time.Second); err == nil {
		_ = conn.Close()
		return f(overSocket(cfg.Data))
	}
	n, err := openNode(ctx, cfg, nodeOptions{log: newLogger(cfg.Log, c.stderr)})
	if err != nil {
		return err
	}
	if err = check(n); err == nil {
		err = f(inProcess(controlHandler(n.operations())))
	}
	return errors.Join(err, n.close())
}
