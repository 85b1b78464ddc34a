package fulfil

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Webhook asks a system by a signed POST in the Standard Webhooks format:
// webhook-id, webhook-timestamp and webhook-signature over "id.timestamp.body".
type Webhook struct {
	name    string
	url     string
	secrets [][]byte
	client  *http.Client
	now     func() time.Time
	limit   int64
}

// WebhookOptions of a Webhook; URL and Secrets are needed.
type WebhookOptions struct {
	Name    string           // of the system, as in the configuration
	URL     string           // https, or http on a loopback address
	Secrets []string         // "whsec_" and base64 of 24 to 64 bytes; all sign, so that one can be changed
	Timeout time.Duration    // of one request; default 20 s
	Limit   int64            // octets of an answer; default 32 MiB
	Now     func() time.Time // default time.Now
	Client  *http.Client     // default one that follows no redirect
}

// NewWebhook checks the options.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("connector %q: the URL has to be https, or http on this machine", o.Name)
	}
	w := &Webhook{name: o.Name, url: o.URL, client: o.Client, now: o.Now, limit: o.Limit}
	for _, s := range o.Secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil || len(key) < 24 || len(key) > 64 {
			return nil, fmt.Errorf("connector %q: a secret is whsec_ and base64 of 24 to 64 bytes", o.Name)
		}
		w.secrets = append(w.secrets, key)
	}
	if len(w.secrets) == 0 {
		return nil, fmt.Errorf("connector %q: a secret is needed", o.Name)
	}
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	if w.client == nil {
		w.client = &http.Client{Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if w.now == nil {
		w.now = time.Now
	}
	if w.limit <= 0 {
		w.limit = 32 << 20
	}
	return w, nil
}

// loopback tells whether a host is this machine. Of names only localhost is: one
// that begins with "127." is anybody's.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Name is the system's name.
func (w *Webhook) Name() string { return w.name }

// message is the body: Standard Webhooks' type, timestamp and data.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      Request   `json:"data"`
}

// Do sends the request. 200 with an Outcome as JSON ends it, 202 says that the
// outcome comes later. 400, 401, 403, 404, 405, 410, 413 and 422 are permanent;
// all else is worth another try under the same webhook-id.
func (w *Webhook) Do(ctx context.Context, r Request) (Outcome, error) {
	now := w.now().UTC()
	code, answer, err := w.post(ctx, r.Key, now, message{"case." + string(r.Verb), now, r})
	if err != nil {
		return Outcome{}, fmt.Errorf("connector %s: request %s: %w", w.name, r.Key, err)
	}
	if int64(len(answer)) > w.limit {
		return Outcome{}, permanent{fmt.Errorf("connector %s: answer to %s: %w: over %d octets", w.name, r.Key, ErrAnswer, w.limit)}
	}
	return w.read(r, code, answer)
}

// Tell brings an event to a receiver that has nothing to answer: any 2xx takes
// it, all else is worth another try under the same id, save 410, which says
// that the receiver is gone. at is when the event was.
func (w *Webhook) Tell(ctx context.Context, id, kind string, at time.Time, data any) error {
	code, _, err := w.post(ctx, id, w.now().UTC(), struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      any       `json:"data"`
	}{kind, at.UTC(), data})
	switch {
	case err != nil:
		return fmt.Errorf("hook %s: event %s: %w", w.name, id, err)
	case code == http.StatusGone:
		return permanent{fmt.Errorf("hook %s is gone: event %s: %w", w.name, id, Answered(code))}
	case code/100 != 2:
		return fmt.Errorf("hook %s: event %s: %w", w.name, id, Answered(code))
	}
	return nil
}

// Answered is an HTTP status by which a receiver did not take an event.
type Answered int

// Error is the status alone.
func (a Answered) Error() string { return fmt.Sprintf("the receiver answered with %d", int(a)) }

// post sends one signed message; the answer is cut one octet over the limit.
func (w *Webhook) post(ctx context.Context, id string, now time.Time, m any) (int, []byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return 0, nil, fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("the request can't be made")
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "postern")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", w.sign(id, stamp, body))
	res, err := w.client.Do(req)
	if err != nil {
		var where *url.Error // its text holds the whole URL, which may carry a secret
		if errors.As(err, &where) {
			err = where.Err
		}
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, w.limit+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer: %w", err)
	}
	return res.StatusCode, answer, nil
}

func (w *Webhook) read(r Request, code int, answer []byte) (Outcome, error) {
	switch code {
	case http.StatusOK, http.StatusCreated:
		o, err := readOutcome(answer)
		if err != nil {
			return o, fmt.Errorf("connector %s: answer to %s: %w", w.name, r.Key, err)
		}
		return o, nil
	case http.StatusAccepted:
		return Outcome{Status: Accepted}, nil
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return Outcome{}, permanent{fmt.Errorf("connector %s: request %s was refused with %d", w.name, r.Key, code)}
	}
	return Outcome{}, fmt.Errorf("connector %s: request %s was answered with %d", w.name, r.Key, code)
}

// sign gives one "v1,base64" per secret, space separated.
func (w *Webhook) sign(id, stamp string, body []byte) string {
	var out []string
	for _, s := range w.secrets {
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(mac(s, id, stamp, body)))
	}
	return strings.Join(out, " ")
}

func mac(secret []byte, id, stamp string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(id + "." + stamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Authentic checks the signature of a message in the same format that a system
// sends to us with a late outcome; tolerance bounds the age both ways.
func (w *Webhook) Authentic(h http.Header, body []byte, tolerance time.Duration) bool {
	stamp := h.Get("Webhook-Timestamp")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return false
	}
	if age := w.now().Sub(time.Unix(at, 0)); age > tolerance || age < -tolerance {
		return false
	}
	for _, part := range strings.Fields(h.Get("Webhook-Signature")) {
		version, text, _ := strings.Cut(part, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		if version != "v1" || err != nil {
			continue
		}
		for _, s := range w.secrets {
			if hmac.Equal(got, mac(s, h.Get("Webhook-Id"), stamp, body)) {
				return true
			}
		}
	}
	return false
}
