package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
	"postern/testmail/load"
	"postern/testmail/smarthost"
)

// fromEnv reads a number that `make crash` sets, or gives the default.
func fromEnv(t *testing.T, name string, def int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// arrivals notes when each copy of each message came to the sink.
type arrivals struct {
	mu   sync.Mutex
	at   map[int][]time.Time
	none []string // recipients that must get nothing, but did
}

func (a *arrivals) add(m *smarthost.Message) {
	id, now := load.ID(m.Data), time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if id >= 0 { // reports of our own have none
		a.at[id] = append(a.at[id], now)
	}
	for _, to := range m.To {
		if strings.HasPrefix(to, "no") {
			a.none = append(a.none, to)
		}
	}
}

func (a *arrivals) has(id int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.at[id]) > 0
}

// TestCrash kills the server at random moments under load and starts it again.
// Every message answered 250 is delivered at least once, none that was refused
// ever leaves, and a second copy is only sent where the server died before the
// first one's reply was on disk.
func TestCrash(t *testing.T) {
	t.Parallel()
	rounds := fromEnv(t, "CRASH_ROUNDS", 10)
	seed := uint64(fromEnv(t, "CRASH_SEED", int(time.Now().UnixNano()&0xffffff)))
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d (CRASH_SEED)", seed)

	got := &arrivals{at: map[int][]time.Time{}}
	sink, err := smarthost.New(smarthost.Options{Discard: true, OnMessage: got.add})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sink.Close() })
	s := newSite(t, func(c *siteConfig) { c.Smarthost = sink.Addr() })
	const persons = 50
	var list strings.Builder
	list.WriteString("address,action,time\n")
	for i := range persons {
		fmt.Fprintf(&list, "yes%d@example.net,given,2026-01-02T03:04:05Z\n", i)
	}
	s.importConsent(list.String())

	accepted := &tally{}
	var kills []time.Time
	for round := range rounds {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { // one in five has no consent
			_, _ = load.Source{
				Addr: s.SMTP, Messages: 1 << 20, Sessions: 8, Size: 2048, Recipients: 1,
				From: "news@example.org", First: round << 20, Accepted: accepted.addID, Recipient: mixed,
			}.Run(ctx)
		})
		pause := time.NewTimer(time.Duration(100+random.IntN(900)) * time.Millisecond)
		<-pause.C
		s.proc.Kill()
		kills = append(kills, time.Now())
		stop()
		wg.Wait()
		s.start()
	}
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
	env.Eventually(t, time.Minute, "the spool to be empty", func() bool { return strings.Contains(s.run("spool", "list"), "empty") })

	got.mu.Lock()
	defer got.mu.Unlock()
	require.Empty(t, got.none, "mail without consent left")
	twice, unexplained := 0, 0
	for _, at := range got.at {
		if len(at) > 1 {
			twice++
			if !diedAfter(kills, at[0]) {
				unexplained++
			}
		}
	}
	unanswered := 0
	for id := range got.at {
		if accepted.n[id] == 0 {
			unanswered++ // spooled, but the server died before its 250 was read
		}
	}
	t.Logf("%d kills, %d answered 250, all delivered; %d delivered whose 250 was cut off; %d delivered twice, %d of them unexplained; refused mail delivered: none",
		rounds, accepted.len(), unanswered, twice, unexplained)
	require.Zero(t, unexplained, "a second copy without a death between final dot and record")
}

// mixed gives every fifth message a recipient without consent.
func mixed(n, _ int) string {
	if n%5 == 0 {
		return fmt.Sprintf("no%d@example.net", n%50)
	}
	return fmt.Sprintf("yes%d@example.net", n%50)
}

// diedAfter tells whether the server was killed within two seconds after a
// copy arrived: then its record may have died with it.
func diedAfter(kills []time.Time, at time.Time) bool {
	for _, k := range kills {
		if d := k.Sub(at); d > -50*time.Millisecond && d < 2*time.Second {
			return true
		}
	}
	return false
}
