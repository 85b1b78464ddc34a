package unsubscribe

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a stranger posts, a form is read whole or not at all, and only the
// exact pair makes it a one-click.
func FuzzReadForm(f *testing.F) {
	multi, kind := multipartBody("List-Unsubscribe", "One-Click", "x", "y")
	f.Add(urlencoded, pairBody)
	f.Add(kind, multi)
	f.Add(kind, multi[:40])
	f.Add("multipart/form-data; boundary=", "----")
	f.Add("text/plain", pairBody)
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequest("POST", "/u/x?List-Unsubscribe=One-Click", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		v, err := readForm(httptest.NewRecorder(), r)
		if err != nil {
			require.ErrorIs(t, err, errForm)
			require.Nil(t, v)
			return
		}
		require.LessOrEqual(t, len(v), maxFields)
		if isOneClick(v) {
			require.Contains(t, v["List-Unsubscribe"], "One-Click")
		}
	})
}
