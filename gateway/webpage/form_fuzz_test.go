package webpage

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	urlencoded = "application/x-www-form-urlencoded"
	pairBody   = "List-Unsubscribe=One-Click"
	multiKind  = "multipart/form-data; boundary=b"
	multiBody  = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n"
)

// Whatever a stranger posts, a form is read whole or not at all, from the body
// alone.
func FuzzReadForm(f *testing.F) {
	f.Add(urlencoded, pairBody)
	f.Add(multiKind, multiBody)
	f.Add(multiKind, multiBody[:40])
	f.Add("multipart/form-data; boundary=", "----")
	f.Add("text/plain", pairBody)
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequest("POST", "/u/x?List-Unsubscribe=One-Click", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		v, err := ReadForm(httptest.NewRecorder(), r)
		if err != nil {
			require.ErrorIs(t, err, ErrForm)
			require.Nil(t, v)
			return
		}
		require.LessOrEqual(t, len(v), maxFields)
		if kind == "text/plain" || body == "" {
			require.False(t, Has(v, "List-Unsubscribe", "One-Click"))
		}
	})
}
