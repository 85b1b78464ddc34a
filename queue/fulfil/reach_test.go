package fulfil

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReach(t *testing.T) {
	var none Reach
	for _, a := range []string{
		"127.0.0.1", "::1", "0.0.0.0", "::", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "fe80::1", "fd00::1", "fec0::1", "100.64.0.1", "224.0.0.1", "ff02::1",
		"255.255.255.255", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "198.18.0.1", "fe80::1%eth0",
	} {
		require.False(t, none.Allows(netip.MustParseAddr(a)), a)
	}
	for _, a := range []string{"1.1.1.1", "9.9.9.9", "2606:4700::1111", "::ffff:1.1.1.1"} {
		require.True(t, none.Allows(netip.MustParseAddr(a)), a)
	}
	house := Reach{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}
	for a, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "fd00::1": true, "127.0.0.1": false} {
		require.Equal(t, want, house.Allows(netip.MustParseAddr(a)), a)
	}
}

// The address is looked at where the connection is made: neither a name that
// resolves to this house nor a redirect leads into it.
func TestReachOfTheClient(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	w, err := NewWebhook(WebhookOptions{Name: "sub", URL: "http://localhost:" + srv.URL[len("http://127.0.0.1:"):], Secrets: []string{secret}, Client: Reach{}.Client(time.Second)})
	require.NoError(t, err)
	require.ErrorIs(t, w.Tell(t.Context(), "id", "case.open", time.Now(), nil), ErrReach)
	require.Zero(t, asked)

	allowed := Reach{netip.MustParsePrefix("127.0.0.0/8")}.Client(time.Second)
	defer allowed.CloseIdleConnections()
	w, err = NewWebhook(WebhookOptions{Name: "sub", URL: srv.URL, Secrets: []string{secret}, Client: allowed})
	require.NoError(t, err)
	var code Answered
	require.ErrorAs(t, w.Tell(t.Context(), "id", "case.open", time.Now(), nil), &code)
	require.EqualValues(t, http.StatusTemporaryRedirect, code)
	require.Equal(t, 1, asked)
}
