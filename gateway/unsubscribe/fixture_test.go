package unsubscribe

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/stream"
)

// registry is a small consent registry with the promises of the real one: the
// same id is the same suppression while it stands.
type registry struct {
	mu      sync.Mutex
	now     func() time.Time
	down    error
	calls   int
	set     []consent.Suppression
	undone  map[string]bool
	undoErr error
	events  []consent.Event
	profile consent.Profile
	confirm error
}

func (r *registry) Record(_ context.Context, e consent.Event) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.down != nil {
		return "", r.down
	}
	if e.Action == consent.Confirmed && r.confirm != nil {
		return "", r.confirm
	}
	r.events = append(r.events, e)
	return address.SubjectID{4}.String() + "-abc", nil
}

func (r *registry) ProfileSubject(context.Context, string, address.SubjectID) (consent.Profile, error) {
	return r.profile, r.down
}

func (r *registry) Profile(context.Context, string, address.Address) (consent.Profile, error) {
	return r.profile, r.down
}

// mailer keeps what it was given.
type mailer struct {
	mu   sync.Mutex
	sent []Confirmation
}

func (m *mailer) Send(_ context.Context, c Confirmation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent = append(m.sent, c)
	return nil
}

func (r *registry) Suppress(_ context.Context, s consent.Suppression) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.down != nil {
		return "", r.down
	}
	id := s.Subject.String() + "-" + s.ID
	for _, old := range r.set {
		if strings.HasPrefix(old.ID, id) && !r.undone[old.ID] {
			return old.ID, nil
		}
	}
	s.ID = id + strings.Repeat("'", len(r.set))
	r.set = append(r.set, s)
	return s.ID, nil
}

func (r *registry) Undo(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.undoErr != nil {
		return r.undoErr
	}
	for _, s := range r.set {
		if s.ID == id {
			r.undone[id] = true
			return nil
		}
	}
	return consent.ErrNotFound
}

// standing lists what still binds.
func (r *registry) standing() (out []consent.Suppression) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.set {
		if !r.undone[s.ID] {
			out = append(out, s)
		}
	}
	return out
}

var errAway = errors.Join(consent.ErrStoreUnavailable)

// rig is the handler with everything around it.
type rig struct {
	http.Handler
	reg     *registry
	codec   *Codec
	subject address.SubjectID
	now     time.Time
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	set, err := stream.NewSet(
		[]stream.Controller{{
			ID: "shop", Name: "Example Shop", Postal: "1 Example Street, 10000 Exampletown", Contact: "privacy@example.com",
			PrivacyURL: "https://www.example.com/privacy", Language: "en",
		}},
		[]stream.Stream{
			{Name: "newsletter", Number: 1, Kind: stream.Marketing, Controller: "shop", Purpose: "newsletter", ListID: "news.example.com", Title: "Weekly letter", Mode: stream.Enforce},
			{Name: "offers", Number: 2, Kind: stream.Marketing, Controller: "shop", Purpose: "offers", ListID: "offers.example.com", Title: "Offers", Mode: stream.Enforce},
			{Name: "old", Number: 3, Kind: stream.Marketing, Controller: "shop", Purpose: "old", ListID: "old.example.com", Title: "Old letter", Mode: stream.Enforce, Retired: true},
			{Name: "rechnungen", Number: 4, Kind: stream.Transactional, Controller: "shop", Mode: stream.Enforce},
			{Name: "brief", Number: 5, Kind: stream.Marketing, Controller: "shop", Purpose: "brief", ListID: "brief.example.com", Title: "Monatsbrief", Mode: stream.Enforce, Language: "de"},
		})
	require.NoError(t, err)
	g := &rig{codec: newCodec(t, 1), subject: address.SubjectID{1, 2, 3}, now: when}
	g.reg = &registry{undone: map[string]bool{}, now: func() time.Time { return g.now }}
	opts := Options{Now: func() time.Time { return g.now }}
	for _, c := range change {
		c(&opts)
	}
	g.Handler, err = NewHandler(g.reg, func() *stream.Set { return set }, g.codec, opts)
	require.NoError(t, err)
	return g
}

func (g *rig) token(stream uint16) string { return g.codec.Seal(g.subject, stream, g.now) }

// do sends one request; head is pairs of field and value.
func (g *rig) do(method, path, body string, head ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

const urlencoded = "application/x-www-form-urlencoded"

func (g *rig) post(path, body string) *httptest.ResponseRecorder {
	return g.do(http.MethodPost, path, body, "Content-Type", urlencoded)
}

// formOf finds the action of the page's form whose act has that value.
func formOf(t testing.TB, body, want string) string {
	t.Helper()
	for _, part := range strings.Split(body, "<form ")[1:] {
		part, _, _ = strings.Cut(part, "</form>")
		if strings.Contains(part, `name="act" value="`+want+`"`) {
			_, rest, _ := strings.Cut(part, `action="`)
			action, _, ok := strings.Cut(rest, `"`)
			require.True(t, ok)
			return strings.ReplaceAll(action, "&amp;", "&")
		}
	}
	require.Fail(t, "no form with act="+want)
	return ""
}
