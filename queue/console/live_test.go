package console

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue"
	"postern/queue/console/auth"
)

// An open page hears how many cases changed since the change it shows, never
// which; a page of one case hears of that one alone.
func TestLive(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	no := w.open(w.mail("alice@example.com", "Which data?", classifier.Access))
	other := w.open(w.mail("bob@example.com", "Which data?", classifier.Access))
	s, _, err := w.c.index.Snapshot(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.c.Run(ctx) }()

	req, err := http.NewRequestWithContext(ctx, "GET", w.srv.URL+"/live?case="+no+"&since="+strconv.FormatInt(s.Tick, 10), nil)
	require.NoError(t, err)
	resp, err := b.client.Do(req)
	require.NoError(t, err)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	for _, n := range []string{other, no} {
		_, err = w.q.Move(t.Context(), n, queue.Move{Action: queue.ActNote, Actor: "operator:otto", Note: "seen"})
		require.NoError(t, err)
	}
	lines := bufio.NewScanner(resp.Body)
	var got []string
	for lines.Scan() {
		if line := lines.Text(); line != "" {
			got = append(got, line)
		}
		if strings.HasPrefix(lines.Text(), "data:") {
			break
		}
	}
	require.Equal(t, []string{"retry: 5000", "event: changes", "data: 1"}, got)
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, resp.Body.Close())
}
