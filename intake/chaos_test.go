package intake

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/stream"
	"postern/queue"
	"postern/testmail/env"
)

// below is what the queue calls: it accepts all.
type below struct{}

func (below) Suppress(_ context.Context, x consent.Suppression) (string, error) { return x.ID, nil }
func (below) Append(context.Context, ...ledger.Record) error                    { return nil }
func (below) Submit(context.Context, queue.Outgoing) (string, error)            { return "id", nil }

// realQueue is the case queue on a real Redis.
func realQueue(t testing.TB, rdb redis.UniversalClient) *queue.Queue {
	set, err := stream.NewSet(
		[]stream.Controller{{ID: "acme", Name: "Acme", Contact: "privacy@example.org", Country: "DE", Language: "en", TimeZone: "Europe/Berlin", Domains: []string{"example.org"}}},
		[]stream.Stream{{Name: "service", Number: 1, Kind: stream.Service, Controller: "acme", Mode: stream.Enforce}})
	require.NoError(t, err)
	ring, err := address.NewKeyring(address.Key{ID: "k", Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	q, err := queue.New(rdb, queue.Deps{Optout: below{}, Sender: below{}, Trail: below{}, Streams: func() *stream.Set { return set }},
		queue.Options{VaultKey: []byte(strings.Repeat("v", 32)), Keyring: ring, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return q
}

// recorder notes under which numbers each mail was stored.
type recorder struct {
	Cases
	mu      sync.Mutex
	numbers map[string]map[string]bool // content → case numbers
}

func (r *recorder) OpenAll(ctx context.Context, mails []queue.Incoming) ([]queue.Ref, error) {
	refs, err := r.Cases.OpenAll(ctx, mails)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, ref := range refs {
		content := mails[i].ContentHash
		if r.numbers[content] == nil {
			r.numbers[content] = map[string]bool{}
		}
		r.numbers[content][ref.Number] = true
	}
	return refs, err
}

// drop puts a mail into the maildir at once, as a delivery agent does.
func drop(t testing.TB, d *env.DovecotServer, name string, raw []byte) {
	tmp := filepath.Join(d.Dir, "mail", "tmp", name)
	require.NoError(t, os.WriteFile(tmp, raw, 0o644))
	require.NoError(t, os.Rename(tmp, filepath.Join(d.Dir, "mail", "new", name)))
}

// TestChaos kills Dovecot, Redis and pollers at random while mails arrive, and
// wants every mail in exactly one case. CRASH_ROUNDS sets the number of
// kills (make crash), 10 unless told; 25 mails arrive between two.
func TestChaos(t *testing.T) {
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("CRASH_ROUNDS")); err == nil {
		rounds = n
	}
	// Killed ten times a second, Dovecot keeps counting connections that are
	// gone; the limit is no part of what is tried here.
	d, rs := env.Dovecot(t, "mail_max_userip_connections = 0"), env.Redis(t)
	_ = dovecotClient(t, d)
	c := dovecotClient(t, d)
	_, err := c.Select("INBOX", nil).Wait() // makes the maildir
	require.NoError(t, err)
	_ = c.Close()
	rdb := redis.NewClient(&redis.Options{Addr: rs.Addr, MaxRetries: -1, DialTimeout: 200 * time.Millisecond})
	t.Cleanup(func() { _ = rdb.Close() })
	rec := &recorder{Cases: realQueue(t, rdb), numbers: map[string]map[string]bool{}}
	q := rec.Cases.(*queue.Queue)
	var stops []func()
	var pollers []*Poller
	start := func() {
		box := realBox(d)
		box.Folders, box.PollEvery = []string{"INBOX"}, 500*time.Millisecond
		p, err := New([]Mailbox{box}, Deps{Cases: rec, Aside: q, Optouts: q, Classifier: words{}, State: NewRedisState(rdb)},
			Options{BackoffMax: 100 * time.Millisecond, Lease: time.Second, Command: 5 * time.Second, Batch: 10})
		require.NoError(t, err)
		stops, pollers = append(stops, runPoller(t, p)), append(pollers, p)
	}
	start()
	start() // a second poller stands by
	sent := 0
	arrive := func(n int) {
		for range n {
			sent++
			drop(t, d, fmt.Sprintf("%d.M%dP1.host", 1795000000+sent, sent), letterFrom(fmt.Sprint("chaos", sent), "My data", fmt.Sprintf("Please erase my data, number %d.", sent)))
		}
	}
	for range rounds {
		arrive(12)
		<-time.After(time.Duration(rand.IntN(150)) * time.Millisecond) // the kill falls anywhere
		switch rand.IntN(4) {
		case 0:
			d.Kill()
			arrive(13)
			d.Start()
		case 1:
			rs.Kill()
			arrive(13)
			rs.Start()
		default:
			stops[0]()
			stops = stops[1:]
			arrive(13)
			start()
		}
	}
	stored := func() int { rec.mu.Lock(); defer rec.mu.Unlock(); return len(rec.numbers) }
	for deadline := time.Now().Add(time.Minute); stored() < sent && time.Now().Before(deadline); {
		<-time.After(20 * time.Millisecond)
	}
	if stored() < sent {
		for _, p := range pollers[len(pollers)-2:] {
			t.Logf("health: %+v", p.Health())
		}
		who, _ := exec.Command("doveadm", "-c", filepath.Join(d.Dir, "dovecot.conf"), "who", "-1").CombinedOutput()
		locks, _ := filepath.Glob(filepath.Join(d.Dir, "mail", "*.lock"))
		inner, _ := filepath.Glob(filepath.Join(d.Dir, "mail", ".*", "*.lock"))
		t.Logf("locks: %v %v", locks, inner)
		t.Logf("connections:\n%s\n%s", who, d.Output())
		at, err := NewRedisState(rdb).Load(context.Background(), "privacy", "INBOX")
		t.Fatalf("%d of %d mails stored, checkpoint %+v, %v", stored(), sent, at, err)
	}
	require.LessOrEqual(t, established(t, d.Addr), 4, "the pollers leave no connection behind")
	for content, numbers := range rec.numbers {
		require.Len(t, numbers, 1, "mail %s is in one case", content[:8])
	}
	cases, err := q.List(context.Background(), queue.Filter{Limit: sent * 2})
	require.NoError(t, err)
	require.Len(t, cases, sent, "as many cases as mails")
	env.Eventually(t, time.Minute, "all moved", func() bool {
		left, err := filepath.Glob(filepath.Join(d.Dir, "mail", "cur", "*"))
		return err == nil && len(left) == 0
	})
}

// established counts the open connections to a loopback address.
func established(t testing.TB, addr string) int {
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	table, err := os.ReadFile("/proc/net/tcp")
	require.NoError(t, err)
	count := 0
	for _, line := range strings.Split(string(table), "\n") {
		f := strings.Fields(line) // sl, local, remote, state
		if len(f) > 3 && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", n)) && f[3] == "01" {
			count++
		}
	}
	return count
}
