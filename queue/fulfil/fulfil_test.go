package fulfil

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

var request = Request{Key: "PC-7K3Q-X9MD:0:erase", Verb: Erase, Case: "PC-7K3Q-X9MD", Controller: "shop", Address: "alice@example.com"}

// system is a company's system that answers with code and text.
func system(t *testing.T, handler func(*http.Request, []byte) (int, string)) *Webhook {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		code, text := handler(r, body)
		rw.WriteHeader(code)
		_, _ = io.WriteString(rw, text)
	}))
	t.Cleanup(srv.Close)
	w, err := NewWebhook(WebhookOptions{Name: "crm", URL: srv.URL + "/hook?key=hidden", Secrets: []string{secret}, Limit: 1000})
	require.NoError(t, err)
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

func TestWebhookSigned(t *testing.T) {
	var w *Webhook
	w = system(t, func(r *http.Request, body []byte) (int, string) {
		require.True(t, w.Authentic(r.Header, body, time.Minute))
		require.False(t, w.Authentic(r.Header, append(body, ' '), time.Minute), "every byte is signed")
		require.Equal(t, request.Key, r.Header.Get("webhook-id"))
		var m message
		require.NoError(t, json.Unmarshal(body, &m))
		require.Equal(t, "case.erase", m.Type)
		require.Equal(t, request, m.Data)
		return 200, `{"status":"kept","law":"HGB 257","until":"2036-12-31","count":3}`
	})
	o, err := w.Do(context.Background(), request)
	require.NoError(t, err)
	require.Equal(t, Outcome{Status: Kept, Law: "HGB 257", Until: "2036-12-31", Count: 3}, o)
	require.True(t, o.Final())
}

// TestSignatureVector is computed with the format's own description: base64 of
// HMAC-SHA-256 over "id.timestamp.body".
func TestSignatureVector(t *testing.T) {
	w, err := NewWebhook(WebhookOptions{Name: "x", URL: "https://example.org/", Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}})
	require.NoError(t, err)
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", w.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)))
}

func TestWebhookAnswers(t *testing.T) {
	cases := []struct {
		name      string
		code      int
		text      string
		want      Status
		bad, hard bool
	}{
		{"erased", 200, `{"status":"erased"}`, Erased, false, false},
		{"later", 202, "", Accepted, false, false},
		{"unknown status", 200, `{"status":"gone fishing"}`, "", true, false},
		{"kept for no law", 200, `{"status":"kept"}`, "", true, false},
		{"no JSON", 200, "thank you", "", true, false},
		{"too long", 200, `{"status":"done","note":"` + strings.Repeat("x", 2000) + `"}`, "", true, true},
		{"refused", 403, "", "", true, true},
		{"too many", 429, "", "", true, false},
		{"broken", 500, "", "", true, false},
		{"redirect is not followed", 302, "", "", true, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := system(t, func(*http.Request, []byte) (int, string) { return c.code, c.text })
			o, err := w.Do(context.Background(), request)
			if !c.bad {
				require.NoError(t, err)
				require.Equal(t, c.want, o.Status)
				return
			}
			require.Error(t, err)
			require.Equal(t, c.hard, Permanent(err))
			require.NotContains(t, err.Error(), "alice")
			require.NotContains(t, err.Error(), "hidden")
		})
	}
}

func TestWebhookAway(t *testing.T) {
	w, err := NewWebhook(WebhookOptions{Name: "crm", URL: "http://127.0.0.1:1/?key=hidden", Secrets: []string{secret}})
	require.NoError(t, err)
	_, err = w.Do(context.Background(), request)
	require.Error(t, err)
	require.False(t, Permanent(err))
	require.NotContains(t, err.Error(), "hidden")
}

func TestStaleMessageIsRefused(t *testing.T) {
	w, err := NewWebhook(WebhookOptions{Name: "x", URL: "https://example.org/", Secrets: []string{secret}, Now: func() time.Time { return time.Unix(2000, 0) }})
	require.NoError(t, err)
	h := http.Header{}
	h.Set("Webhook-Id", "1")
	h.Set("Webhook-Timestamp", "1000")
	h.Set("Webhook-Signature", w.sign("1", "1000", nil))
	require.False(t, w.Authentic(h, nil, 5*time.Minute))
	require.True(t, w.Authentic(h, nil, time.Hour))
}

func TestWebhookOptions(t *testing.T) {
	for _, o := range []WebhookOptions{{URL: "http://example.org/", Secrets: []string{secret}}, {URL: "http://127.example.org/", Secrets: []string{secret}}, {URL: "https://example.org/"}, {URL: "https://example.org/", Secrets: []string{"short"}}, {Secrets: []string{secret}}} {
		_, err := NewWebhook(o)
		require.Error(t, err)
	}
}

func TestCommand(t *testing.T) {
	run := func(script string) (Outcome, error) {
		c, err := NewCommand("archive", []string{"/bin/sh", "-c", script}, 300*time.Millisecond)
		require.NoError(t, err)
		return c.Do(context.Background(), request)
	}
	o, err := run(`grep -q '"verb":"erase"' && echo '{"status":"erased","count":2}'`)
	require.NoError(t, err)
	require.Equal(t, Outcome{Status: Erased, Count: 2}, o)
	_, err = run("exit 75")
	require.Error(t, err)
	require.False(t, Permanent(err))
	_, err = run("exit 1")
	require.True(t, Permanent(err))
	_, err = run("echo nonsense")
	require.ErrorIs(t, err, ErrAnswer)
	_, err = run("sleep 5")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, Permanent(err))
	_, err = NewCommand("x", nil, 0)
	require.Error(t, err)
}
