package intake

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/intake/oauth"
	"postern/testmail/env"
)

// tokenServer hands out tokens and tells Dovecot whether one is good.
func tokenServer(t *testing.T) (srv *httptest.Server, good *atomic.Value, asked *atomic.Int64) {
	good, asked = &atomic.Value{}, &atomic.Int64{}
	good.Store("")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		tok := fmt.Sprintf("tok%d", asked.Add(1))
		good.Store(tok)
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600}`, tok)
	})
	mux.HandleFunc("/introspect", func(w http.ResponseWriter, r *http.Request) {
		ok := r.FormValue("token") == good.Load()
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"active":"%t","email":"privacy@example.org"}`, ok)
	})
	srv = httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv, good, asked
}

func TestOAuthOnDovecot(t *testing.T) {
	for _, mechanism := range []string{"xoauth2", "oauthbearer", ""} {
		t.Run("mechanism "+mechanism, func(t *testing.T) {
			srv, good, asked := tokenServer(t)
			conf := filepath.Join(t.TempDir(), "oauth2.conf")
			writeText(t, conf, fmt.Sprintf("introspection_url = %s/introspect\nintrospection_mode = post\nusername_attribute = email\nactive_attribute = active\nactive_value = true\n", srv.URL))
			d := env.Dovecot(t, "auth_failure_delay = 0", "auth_mechanisms = plain login xoauth2 oauthbearer", "passdb {", "  driver = oauth2", "  mechanisms = xoauth2 oauthbearer", "  args = "+conf, "}")
			src, err := oauth.New(oauth.Options{TokenURL: srv.URL + "/token", ClientID: "postern", RefreshToken: func() (string, error) { return "r", nil }, Client: srv.Client()})
			require.NoError(t, err)
			box := realBox(d)
			box.Password, box.OAuth, box.Mechanism, box.Folders = nil, src, mechanism, []string{"INBOX"}
			s := newStore()
			p, err := New([]Mailbox{box}, Deps{Cases: s, Aside: s, Optouts: s, Classifier: words{}, State: memoryState(t)}, Options{BackoffMax: 100 * time.Millisecond})
			require.NoError(t, err)
			runPoller(t, p)
			d.Deliver(letterFrom("1", "x", "Please erase my data."))
			eventually(t, "stored: "+p.Health()[0].Failing, func() bool { n, _, _ := s.counts(); return n == 1 })
			require.EqualValues(t, 1, asked.Load())

			good.Store("revoked") // as when an administrator ends all sessions
			d.Kill()
			d.Start()
			d.Deliver(letterFrom("2", "x", "Erase me, too."))
			eventually(t, "a refused token is replaced", func() bool { n, _, _ := s.counts(); return n == 2 })
			require.EqualValues(t, 2, asked.Load())
		})
	}
}
