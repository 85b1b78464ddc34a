package unsubscribe

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/node"
	"postern/gateway/stream"
)

// rooms is the handler over the real consent registry.
type rooms struct {
	*rig
	real *consent.Registry
	mail *mailer
	ring *address.Keyring
}

// newRooms has the stream "newsletter" unless it is given others.
func newRooms(t *testing.T, streams ...stream.Stream) *rooms {
	t.Helper()
	if len(streams) == 0 {
		streams = []stream.Stream{{Name: "newsletter", Number: 1, Kind: stream.Marketing, Controller: "shop", Purpose: "newsletter", ListID: "news.example.com", Title: "Weekly letter", Mode: stream.Enforce}}
	}
	mr := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })
	o := node.Options()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("state", o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	ring, err := address.NewKeyring(address.Key{ID: "1", Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	x := &rooms{ring: ring, mail: &mailer{}}
	base := newRig(t)
	now := func() time.Time { return base.now }
	x.real, err = consent.New(rdb, ring, db, nil, consent.Options{Now: now})
	require.NoError(t, err)
	// Whoever mails has claimed the store with its keys first.
	require.NoError(t, x.real.AdmitKeys(t.Context()))
	set, err := stream.NewSet([]stream.Controller{{
		ID: "shop", Name: "Example Shop", Postal: "1 Example Street, 10000 Exampletown", Contact: "privacy@example.com",
		PrivacyURL: "https://www.example.com/privacy", Language: "en",
	}}, streams)
	require.NoError(t, err)
	base.Handler, err = NewHandler(x.real, func() *stream.Set { return set }, base.codec, Options{
		Now: now, Mailer: x.mail, PublicURL: "https://mail.example.com", EvenTime: time.Millisecond,
	})
	require.NoError(t, err)
	x.rig = base
	return x
}

// status asks as the relay would.
func (x *rooms) status(t *testing.T, a address.Address) (consent.Status, consent.Reason) {
	t.Helper()
	got, err := x.real.Lookup(t.Context(), "shop", "newsletter", 1, []address.Address{a})
	require.NoError(t, err)
	return got[0].Status, got[0].Suppressed
}

// The whole way with the real registry: sign-up, mail, button, mailable;
// one-click twice, undo, again; and each step binds the relay's own question.
func TestWholeWayWithRegistry(t *testing.T) {
	x := newRooms(t)
	who := address.MustParse("someone@example.org")
	require.Equal(t, http.StatusOK, x.post("/s/newsletter", signUpBody(t, x.rig, "/s/newsletter", who.Plain())).Code)
	status, _ := x.status(t, who)
	require.Equal(t, consent.StatusPending, status)
	require.Len(t, x.mail.sent, 1)
	path := strings.TrimPrefix(x.mail.sent[0].Link, "https://mail.example.com")
	shown := x.do("GET", path, "")
	require.Equal(t, http.StatusOK, shown.Code)
	require.Contains(t, shown.Body.String(), "I want to get “Weekly letter” from Example Shop")
	status, _ = x.status(t, who)
	require.Equal(t, consent.StatusPending, status, "GET confirms nothing")
	for range 2 {
		require.Equal(t, http.StatusOK, x.post(path, "act=confirm").Code)
	}
	status, _ = x.status(t, who)
	require.Equal(t, consent.StatusActive, status)

	x.now = x.now.Add(time.Hour)
	link := "/u/" + x.codec.Seal(x.ring.Identify("shop", who).ID, 1, x.now)
	var body string
	for range 3 {
		w := x.post(link, pairBody)
		require.Equal(t, http.StatusOK, w.Code)
		body = w.Body.String()
	}
	_, suppressed := x.status(t, who)
	require.Equal(t, consent.Unsubscribed, suppressed)
	require.Equal(t, http.StatusOK, x.post(formOf(t, body, "undo"), "act=undo").Code)
	_, suppressed = x.status(t, who)
	require.Empty(t, suppressed, "one undo takes back what three clicks did")
	x.now = x.now.Add(time.Minute)
	require.Equal(t, http.StatusOK, x.post(link, pairBody).Code)
	_, suppressed = x.status(t, who)
	require.Equal(t, consent.Unsubscribed, suppressed)

	require.Contains(t, x.do("GET", strings.Replace(link, "/u/", "/p/", 1), "").Body.String(), `name="list" value="newsletter">`)
}

// UNS-4: HTTP/1.1 and HTTP/2 as mailbox providers speak them, through the
// listener with its limits.
func TestUNS4_BothProtocols(t *testing.T) {
	g := newRig(t)
	srv := httptest.NewUnstartedServer(g)
	limits := Server(g, "")
	srv.Config.ReadHeaderTimeout, srv.Config.MaxHeaderBytes, srv.Config.HTTP2 = limits.ReadHeaderTimeout, limits.MaxHeaderBytes, limits.HTTP2
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	multi, multiType := multipartBody("List-Unsubscribe", "One-Click")
	for _, two := range []bool{false, true} {
		client := srv.Client()
		tr := client.Transport.(*http.Transport).Clone()
		tr.ForceAttemptHTTP2 = two
		if !two {
			tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
		}
		client = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		for kind, body := range map[string]string{urlencoded: pairBody, multiType: multi} {
			resp, err := client.Post(srv.URL+"/u/"+g.token(1), kind, strings.NewReader(body))
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, two, resp.ProtoMajor == 2)
		}
		tr.CloseIdleConnections()
	}
	require.Len(t, g.reg.standing(), 1)
}

// A client that hangs up after its POST has said what it wants: it is done.
func TestOptOutOutlivesItsClient(t *testing.T) {
	g := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "/u/"+g.token(1), strings.NewReader(pairBody))
	r.Header.Set("Content-Type", urlencoded)
	g.ServeHTTP(httptest.NewRecorder(), r)
	require.Len(t, g.reg.standing(), 1)
}

// Many scanners at once get their pages and change nothing; the person's own
// click among them is carried out.
func TestUNS5_ScannerFlood(t *testing.T) {
	g := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := Server(g, "")
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 50}}
	base := "http://" + l.Addr().String()
	answers := make(chan int, 50*20)
	for range 50 {
		go func() {
			for i := range 20 {
				method := []string{"GET", "HEAD", "OPTIONS", "POST"}[i%4]
				req, _ := http.NewRequest(method, base+"/u/"+g.token(uint16(i%3+1)), nil)
				resp, err := client.Do(req)
				if err != nil {
					answers <- 0
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				answers <- resp.StatusCode
			}
		}()
	}
	resp, err := client.Post(base+"/u/"+g.token(5), urlencoded, strings.NewReader(pairBody))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	for range 50 * 20 {
		require.Contains(t, []int{200, 204}, <-answers)
	}
	require.Len(t, g.reg.standing(), 1)
	require.EqualValues(t, 5, g.reg.standing()[0].Stream)
	client.CloseIdleConnections()
	require.NoError(t, srv.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
}

func BenchmarkPage(b *testing.B) {
	g := newRig(b)
	path := "/u/" + g.token(1)
	b.ReportAllocs()
	for b.Loop() {
		g.do("GET", path, "")
	}
}
