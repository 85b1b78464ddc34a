package console

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/gateway/ledger"
	"postern/queue/console/api"
	"postern/queue/console/auth"
)

// An administrator makes a token, sees it once, and ends it.
func TestTokensPage(t *testing.T) {
	w := newWorld(t)
	w.c.d.Tokens = api.NewTokens(w.rdb, w, w.Now)
	b := w.signedIn("anna", auth.Admin)
	require.Contains(t, b.get("/tokens"), "There is no token.")
	resp, _ := b.post("/tokens", url.Values{"name": {"crm"}, "days": {"30"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode, "no scope")
	resp, page := b.post("/tokens", url.Values{"name": {"crm"}, "days": {"30"}, "scope": {"consent:read"}})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	text := regexp.MustCompile(`postern_[0-9a-f]{10}_[0-9a-f]{40}`).FindString(page)
	got, err := api.NewTokens(w.rdb, w, w.Now).Find(t.Context(), text)
	require.NoError(t, err)
	require.Equal(t, "operator:anna", got.By)
	again := b.get("/tokens")
	require.Contains(t, again, "crm")
	require.NotContains(t, again, text)
	require.Contains(t, b.done("/tokens/"+got.ID+"/end", nil), "The token is ended.")
	require.NotContains(t, b.get("/tokens"), "crm")
	require.Len(t, w.recorded(ledger.KindConfig, "token-created"), 1)
	require.Len(t, w.recorded(ledger.KindConfig, "token-revoked"), 1)
}
