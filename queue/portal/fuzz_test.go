package portal

import (
	"bytes"
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/queue"
)

// Whatever a stranger uploads, it is read within its limits or not at all, and
// names hold no folder.
func FuzzReadUpload(f *testing.F) {
	kind, body := form(f, upload{field: "act", data: "answer"}, upload{"files", "../a.txt", "text/plain", "x"})
	f.Add(kind, []byte(body))
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\\b/c\"\r\n\r\nx\r\n--b--\r\n"))
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\n\r\n--b--"))
	f.Add("text/plain", []byte("x"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r := httptest.NewRequest("POST", "/case/x?act=answer", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		v, files, err := readUpload(httptest.NewRecorder(), r)
		if err != nil {
			require.Nil(t, v)
			require.Nil(t, files)
			return
		}
		require.LessOrEqual(t, len(files), maxFileCount)
		for _, file := range files {
			require.NotContains(t, file.Name, "/")
			require.NotContains(t, file.Name, "\\")
			require.Contains(t, file.Type, "/")
			require.LessOrEqual(t, len(file.Data), len(body))
		}
	})
}

// FuzzTyped: whatever is typed into the request form, it is taken whole or not
// at all, and the answer tells nothing of who it was.
func FuzzTyped(f *testing.F) {
	f.Add("access", "subject", "alice@example.net", "words")
	f.Add("other", "agent", "a@example.net\r\nBcc: b@example.net", "</textarea>")
	f.Add("", "", "\"a b\"@example.net", "\x00")
	w := newWorld(f, func(o *Options, _ *queue.Options) { o.PerClient, o.Total = 1<<30, 1<<30 })
	last := &kept{Cases: w.q}
	var err error
	w.pages, err = NewHandler(last, reader(f), w.streams, Options{PerClient: 1 << 30, Total: 1 << 30, EvenTime: 1, Now: w.clock})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, right, who, mail, text string) {
		w.t, last.f = t, nil
		page := w.post("/request/shop", ask(right, who, mail, text))
		require.Contains(t, []int{200, 422}, page.Code)
		if last.f == nil {
			require.NotContains(t, page.Body.String(), "Your request has arrived.")
			return
		}
		require.Equal(t, strings.TrimSpace(text), last.f.Text)
		require.NotContains(t, last.f.Address.Plain(), "\n")
		require.NotContains(t, page.Body.String(), last.f.Address.Plain())
	})
}

// kept takes requests without making cases of them.
type kept struct {
	Cases
	f *queue.FormRequest
}

func (k *kept) OpenByForm(_ context.Context, f queue.FormRequest) (queue.Ref, error) {
	k.f = &f
	return queue.Ref{}, nil
}
