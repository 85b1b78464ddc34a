package delivery

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/node"
	"postern/gateway/spool"
	"postern/testmail/smarthost"
)

// Environment of the crash test: rounds and seed for the long run, folder and
// next hop for the child that is killed.
const (
	envRounds = "CRASH_ROUNDS"
	envSeed   = "CRASH_SEED"
	envDir    = "CRASH_DIR"
	envHop    = "CRASH_HOP"
	envRound  = "CRASH_ROUND"
)

// journal is the child's trail: a key per delivered message, in the batch that
// tells of it. It fails now and then, so that some messages are refused.
type journal struct{}

func (journal) Stage(b *pebble.Batch, recs ...ledger.Record) error {
	for _, r := range recs {
		if r.Action == "allow" && rand.IntN(40) == 0 {
			return errors.New("no room in the ledger")
		}
		if r.Action == "delivered" {
			if err := b.Set(append([]byte{node.SpaceLedger}, r.Message...), nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func (journal) Notify() {}

// crashStore is the node's store with small tables, so that flushes and
// compactions are under way when the process is killed.
func crashStore(dir string) (*pebble.DB, error) {
	o := node.Options()
	o.MemTableSize = 128 << 10
	o.L0CompactionThreshold = 2
	return pebble.Open(filepath.Join(dir, "state"), o)
}

// crashChild accepts and delivers until it is killed. It tells each accepted
// (A) and refused (R) message on standard output once that is certain.
func crashChild() error {
	dir, round := os.Getenv(envDir), os.Getenv(envRound)
	db, err := crashStore(dir)
	if err != nil {
		return err
	}
	store, err := spool.New(db, dir, journal{}, spool.Options{Memory: 256 << 10, Pace: 5 * time.Millisecond})
	if err != nil {
		return err
	}
	o := Options{Smarthosts: []Smarthost{{Address: os.Getenv(envHop), MaxConns: 6}}}
	short(&o)
	d, err := New(store, plain{}, o)
	if err != nil {
		return err
	}
	go d.Run(context.Background())
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", round, w, i)
				m := crashMessage(id)
				err := store.Accept(context.Background(), m, ledger.Record{Action: "allow"})
				mu.Lock()
				fmt.Printf("%c %s\n", map[bool]byte{true: 'A', false: 'R'}[err == nil], id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return nil
}

// crashMessage has a body that proves itself.
func crashMessage(id string) *spool.Message {
	lines := 1 + rand.IntN(1000)
	if rand.IntN(50) == 0 {
		lines *= 50 // up to 900 kB: stored in pieces
	}
	body := bytes.Repeat([]byte("0123456789abcdef\r\n"), lines)
	return &spool.Message{
		ReversePath: address.MustParse("news@shop.example"), MessageID: id, Body: body,
		Header:     fmt.Appendf(nil, "X-Id: %s\r\nX-Sum: %x\r\n", id, sha256.Sum256(body)),
		Recipients: []spool.Recipient{{Address: address.MustParse("someone@example.org")}},
	}
}

// arrivals is what the next hop saw of one message.
type arrivals struct {
	times []time.Time
	sound bool
}

// TestCrash kills a relaying process at random moments and holds it to SMTP's
// promise: what was accepted arrives, what was refused does not, and nothing
// arrives again whose delivery was on record.
func TestCrash(t *testing.T) {
	if os.Getenv(envDir) != "" {
		t.Fatal(crashChild()) // this process is the child
	}
	rounds := 10
	if s := os.Getenv(envRounds); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(envSeed); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("seed %d: set %s to repeat it", seed, envSeed)
	random := rand.New(rand.NewPCG(seed, 1))

	var mu sync.Mutex
	seen := map[string]*arrivals{}
	calls := 0
	hop := hop(t, smarthost.Options{Discard: true, OnMessage: func(m *smarthost.Message) {
		id, sum := field(m.Data, "X-Id: "), field(m.Data, "X-Sum: ")
		_, body, _ := bytes.Cut(m.Data, []byte("\r\n\r\n"))
		mu.Lock()
		defer mu.Unlock()
		if seen[id] == nil {
			seen[id] = &arrivals{sound: true}
		}
		seen[id].times = append(seen[id].times, time.Now())
		seen[id].sound = seen[id].sound && fmt.Sprintf("%x", sha256.Sum256(body)) == sum
	}, Script: func(e smarthost.Event) (a smarthost.Answer) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; e.Verb == "RCPT" && calls%17 == 0 {
			a.Reply = "451 4.3.0 not now"
		}
		return a
	}})

	dir := t.TempDir()
	accepted, refused := map[string]bool{}, map[string]bool{}
	recorded := map[string]int{} // arrivals when it was found on record
	var kills []time.Time
	for round := range rounds {
		lines, killed := crashRound(t, dir, hop.Addr(), round, time.Duration(100+random.IntN(400))*time.Millisecond)
		kills = append(kills, killed)
		for _, l := range lines {
			switch kind, id, _ := strings.Cut(l, " "); kind {
			case "A":
				accepted[id] = true
			case "R":
				refused[id] = true
			}
		}
		mu.Lock() // what a connection still carried has arrived by now: the next child delivers on new ones
		for id := range deliveredOnRecord(t, dir) {
			if _, ok := recorded[id]; !ok && seen[id] != nil {
				recorded[id] = len(seen[id].times)
			}
		}
		mu.Unlock()
	}
	drain(t, dir, hop.Addr())

	mu.Lock()
	defer mu.Unlock()
	twice, late := 0, time.Duration(0)
	for id, a := range seen {
		require.True(t, a.sound, "message %s arrived changed", id)
		require.False(t, refused[id], "message %s was refused and left", id)
		if n, ok := recorded[id]; ok {
			require.LessOrEqual(t, len(a.times), n, "message %s was on record as delivered and left again", id)
		}
		if len(a.times) > 1 {
			twice++
			late = max(late, beforeKill(a.times[0], kills))
		}
	}
	for id := range accepted {
		require.NotNil(t, seen[id], "message %s was accepted and lost", id)
	}
	t.Logf("%d kills, %d accepted, %d refused, %d arrived, %d of them twice (first up to %v before the kill)",
		rounds, len(accepted), len(refused), len(seen), twice, late.Round(time.Millisecond))
}

// beforeKill is how long before the next kill t was.
func beforeKill(t time.Time, kills []time.Time) time.Duration {
	for _, k := range kills {
		if d := k.Sub(t); d >= 0 {
			return d
		}
	}
	return 0
}

func field(data []byte, name string) string {
	_, rest, _ := bytes.Cut(data, []byte(name))
	v, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(v)
}

// crashRound runs a child and kills it after a while; it returns what it said.
func crashRound(t *testing.T, dir, hop string, round int, life time.Duration) ([]string, time.Time) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), envDir+"="+dir, envHop+"="+hop, envRound+"="+strconv.Itoa(round))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var lines []string
	r := bufio.NewReader(out)
	var kill *time.Timer
	var killed time.Time
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break // a line without its end was cut off: nothing is known of that message
		}
		if kill == nil {
			kill = time.AfterFunc(life, func() { killed = time.Now(); cmd.Process.Kill() })
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	require.Error(t, cmd.Wait())
	require.NotNil(t, kill, "the child said nothing: %v", lines)
	require.False(t, kill.Stop(), "the child ended by itself: %v", lines)
	return lines, killed
}

func deliveredOnRecord(t *testing.T, dir string) map[string]bool {
	t.Helper()
	db, err := crashStore(dir)
	require.NoError(t, err)
	defer db.Close()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{node.SpaceLedger}, UpperBound: []byte{node.SpaceLedger + 1}})
	require.NoError(t, err)
	defer it.Close()
	out := map[string]bool{}
	for ok := it.First(); ok; ok = it.Next() {
		out[string(it.Key()[1:])] = true
	}
	require.NoError(t, it.Error())
	return out
}

// drain delivers all that is left, in this process.
func drain(t *testing.T, dir, hop string) {
	t.Helper()
	db, err := crashStore(dir)
	require.NoError(t, err)
	defer db.Close()
	store, err := spool.New(db, dir, nil, spool.Options{})
	require.NoError(t, err)
	defer store.Close()
	require.Zero(t, store.Stats().Damaged)
	o := Options{Smarthosts: []Smarthost{{Address: hop}}}
	short(&o)
	d, err := New(store, plain{}, o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	require.Eventually(t, func() bool { return store.Stats().Messages == 0 }, time.Minute, 5*time.Millisecond, "what waited is delivered")
	require.Zero(t, store.Stats().Damaged)
	cancel()
	require.NoError(t, <-done)
}
