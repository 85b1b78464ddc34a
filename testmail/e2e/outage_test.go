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
// what was answered 250 is at the sink, what was not is not, nobody without
// consent got anything, and the server's own counters say the same.
func outage(t *testing.T, dataDir string, away func(*site), back func(*site), during func(t *testing.T, s *site, accepted int64)) {
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
	env.Eventually(t, 30*time.Second, "the spool to be empty", func() bool { return s.metric("postern_spool_messages") == 0 })
	copies := 0
	for _, at := range got.at {
		copies += len(at)
	}
	require.EqualValues(t, len(got.at), s.metric("postern_spool_accepted_total"), "what was stored has arrived, and nothing else")
	require.EqualValues(t, len(got.at), s.metric("postern_spool_finished_total"))
	require.EqualValues(t, len(got.at), s.metric(`postern_delivery_attempts_total{result="delivered"}`))
	require.Zero(t, s.metric("postern_spool_bytes"))
	require.Zero(t, s.metric("postern_spool_damaged_records"))
	t.Logf("accepted %d (%d while it was away), stored, arrived and counted as delivered %d different, %d copies; refused for want of room %v, look-ups failed %v",
		accepted.len(), taken, len(got.at), copies, s.metric("postern_spool_refused_total"), s.metric("postern_gateway_lookups_failed_total"))
	during(t, s, int64(taken))
}

func TestOutageRedisAway(t *testing.T) {
	t.Parallel()
	outage(t, "", func(s *site) { s.Redis.Kill() }, func(s *site) { s.Redis.Start() },
		func(t *testing.T, s *site, accepted int64) {
			require.LessOrEqual(t, accepted, int64(50), "marketing waits while consent can't be asked")
			require.Positive(t, s.metric("postern_gateway_lookups_failed_total"))
		})
}

func TestOutageSmarthostAway(t *testing.T) {
	t.Parallel()
	outage(t, "", func(s *site) { s.refusing.Store(true); s.Sink.Hangup() }, func(s *site) { s.refusing.Store(false) },
		func(t *testing.T, s *site, accepted int64) {
			require.Positive(t, accepted, "it goes on accepting into the spool")
			require.EqualValues(t, 1, s.metric("postern_delivery_smarthost_up"))
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
		func(t *testing.T, s *site, _ int64) {
			require.Positive(t, s.metric("postern_spool_refused_total"), "a full disk is 452")
		})
}
