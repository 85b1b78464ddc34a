package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
	"postern/testmail/load"
	"postern/testmail/smarthost"
)

// outage runs marketing load while something is away for a while
// (OUTAGE_SECONDS, 3 by default), and checks the books afterwards:
// what was answered 250 is at the sink, what was not is not, and nobody
// without consent got anything.
func outage(t *testing.T, dataDir string, away func(*site), back func(*site), during func(t *testing.T, accepted int64)) {
	got := &arrivals{at: map[int][]time.Time{}}
	var refusing atomic.Bool
	sink, err := smarthost.New(smarthost.Options{Discard: true, OnMessage: got.add, Script: func(smarthost.Event) smarthost.Answer {
		return smarthost.Answer{Drop: refusing.Load()}
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sink.Close() })
	s := newSite(t, func(c *siteConfig) {
		c.Smarthost = sink.Addr()
		if dataDir != "" {
			c.Dir = dataDir
		}
	})
	s.Sink = sink
	s.refusing = &refusing
	list := "address,action,time\n"
	for i := range 50 {
		list += "yes" + itoa(i) + "@example.net,given,2026-01-02T03:04:05Z\n"
	}
	s.importConsent(list)

	accepted := &tally{}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for first := 0; ctx.Err() == nil; first += 1 << 20 {
			_, _ = load.Source{Addr: s.SMTP, Messages: 1 << 20, Sessions: 6, Size: 4096, Recipients: 1,
				From: "news@example.org", First: first, Accepted: accepted.addID, Recipient: mixed}.Run(ctx)
		}
	}()
	env.Eventually(t, 30*time.Second, "mail to flow", func() bool { return accepted.len() > 100 })
	before := accepted.len()
	away(s)
	span := time.NewTimer(time.Duration(fromEnv(t, "OUTAGE_SECONDS", 3)) * time.Second)
	<-span.C
	taken := accepted.len() - before
	back(s)
	resumed := accepted.len()
	env.Eventually(t, time.Minute, "mail to flow again", func() bool { return accepted.len() > resumed+100 })
	stop()
	<-done
	env.Eventually(t, 2*time.Minute, "every accepted message to be at the sink", func() bool {
		accepted.mu.Lock()
		defer accepted.mu.Unlock()
		for id := range accepted.n {
			if !got.has(id) {
				return false
			}
		}
		return true
	})
	got.mu.Lock()
	defer got.mu.Unlock()
	require.Empty(t, got.none, "mail without consent left")
	extra := 0
	for id := range got.at {
		if accepted.n[id] == 0 {
			extra++ // its 250 was cut off when the load stopped
		}
	}
	require.LessOrEqual(t, extra, 6, "at most one message a session can be delivered without its 250 having been read")
	t.Logf("accepted %d (%d while it was away), delivered %d different", accepted.len(), taken, len(got.at))
	during(t, int64(taken))
}

func TestOutageRedisAway(t *testing.T) {
	t.Parallel()
	outage(t, "", func(s *site) { s.Redis.Kill() }, func(s *site) { s.Redis.Start() },
		func(t *testing.T, accepted int64) {
			require.LessOrEqual(t, accepted, int64(50), "marketing waits while consent can't be asked")
		})
}

func TestOutageSmarthostAway(t *testing.T) {
	t.Parallel()
	outage(t, "", func(s *site) { s.refusing.Store(true); s.Sink.Hangup() }, func(s *site) { s.refusing.Store(false) },
		func(t *testing.T, accepted int64) {
			require.Positive(t, accepted, "it goes on accepting into the spool")
		})
}

func TestOutageDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// A file system of its own that can really be full; needs root, as Postfix does.
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=640m,mode=700", "tmpfs", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	fill := filepath.Join(dir, "fill")
	outage(t, dir, func(s *site) {
		f, err := os.Create(fill)
		require.NoError(t, err)
		defer f.Close()
		chunk := make([]byte, 1<<20)
		for err == nil {
			_, err = f.Write(chunk)
		}
	}, func(*site) { require.NoError(t, os.Remove(fill)) },
		func(*testing.T, int64) {})
}
