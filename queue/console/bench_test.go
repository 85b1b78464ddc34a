package console

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue/console/auth"
)

// BenchmarkPages opens pages over 100,000 cases (CONSOLE_CASES for another
// number), a change between any two, and reports the 95th percentile in ms and
// the bytes on the wire.
func BenchmarkPages(b *testing.B) {
	w := newOutbound(b).proofs()
	require.NoError(b, w.rdb.ConfigSet(b.Context(), "appendfsync", "no").Err())
	count := 100_000
	if n, err := strconv.Atoi(os.Getenv("CONSOLE_CASES")); err == nil {
		count = n
	}
	began := time.Now()
	var group sync.WaitGroup
	var mu sync.Mutex
	for range 16 {
		group.Go(func() {
			for {
				mu.Lock()
				if count == 0 {
					mu.Unlock()
					return
				}
				count--
				n := count
				in := w.mail(fmt.Sprintf("p%d@example.com", n), "Please tell me which personal data you hold about me, and where you have it from.", labels[n%len(labels)])
				mu.Unlock()
				in.Received = in.Received.AddDate(0, 0, -n%40)
				in.Result.Language = []string{"de", "en", "fr", "el"}[n%4]
				if _, err := w.q.Open(b.Context(), in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.Logf("filled in %s", time.Since(began).Round(time.Second))
	v := w.signedIn("anna", auth.Operator)
	began = time.Now()
	v.get("/cases")
	b.Logf("first page, with the whole index read: %s", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	v.get("/proof/automatic")
	b.Logf("first account of the rules, with the month's logs read: %s", time.Since(began).Round(time.Millisecond))
	w.known("last@example.com")
	no := w.open(w.mail("last@example.com", "Please delete my data.", classifier.Erasure))
	person := v.person("last@example.com")
	token := tokenField.FindStringSubmatch(v.get("/account"))[1]

	for _, page := range []struct {
		name, path string
		form       url.Values
	}{
		{"today", "/", nil}, {"list", "/cases", nil}, {"filtered", "/cases?right=portability&lang=el", nil}, {"deep", "/cases?page=1500", nil},
		{"case", "/cases/" + no, nil},
		{"person", person, nil}, {"proof", "/proof", nil}, {"automatic", "/proof/automatic", nil}, {"reports", "/proof/reports", nil}, {"sending", "/sending", nil},
		{"last-page", "/cases?page=100000", nil}, {"aside", "/aside", nil}, {"search", "/cases/search", url.Values{"q": {"p77@example.com"}, "token": {token}}},
	} {
		b.Run(page.name, func(b *testing.B) {
			var took []time.Duration
			weight := 0
			for b.Loop() {
				b.StopTimer()
				w.open(w.mail("change@example.com", "Which data do you hold?", classifier.Access))
				b.StartTimer()
				began := time.Now()
				method := http.MethodGet
				if page.form != nil {
					method = http.MethodPost
				}
				resp, text := v.do(method, page.path, page.form)
				took = append(took, time.Since(began))
				require.Equal(b, http.StatusOK, resp.StatusCode)
				weight = len(pack([]byte(text)))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(float64(weight), "bytes-gzip")
		})
	}
}
