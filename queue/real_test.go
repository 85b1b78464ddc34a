package queue

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"postern/classifier"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/stream"
	"postern/queue/reply"
	"postern/testmail/env"
)

// workerEnv makes this test binary a worker process on the Redis it names.
const workerEnv = "POSTERN_TEST_QUEUE_WORKER"

func TestMain(m *testing.M) {
	if addr := os.Getenv(workerEnv); addr != "" {
		os.Exit(workerProcess(addr))
	}
	if what := os.Getenv(attacherEnv); what != "" {
		os.Exit(attacherProcess(what))
	}
	goleak.VerifyTestMain(m)
}

// counting rooms keep in Redis what was done how often, so that it survives
// the process that did it.
type counting struct{ rdb *redis.Client }

func (r counting) Suppress(ctx context.Context, s consent.Suppression) (string, error) {
	return s.ID, r.rdb.HIncrBy(ctx, "test:bound", s.ID, 1).Err()
}

func (r counting) Submit(ctx context.Context, m Outgoing) (string, error) {
	return "id", r.rdb.HIncrBy(ctx, "test:sent", m.Ref, 1).Err()
}

func (r counting) Append(ctx context.Context, records ...ledger.Record) error {
	for _, rec := range records {
		if err := r.rdb.HIncrBy(ctx, "test:proof", rec.ID, 1).Err(); err != nil {
			return err
		}
	}
	return nil
}

func countingQueue(t testing.TB, rdb *redis.Client, set *stream.Set, log *slog.Logger) *Queue {
	t.Helper()
	r := counting{rdb}
	q, err := New(rdb, Deps{Optout: r, Sender: r, Trail: r, Streams: func() *stream.Set { return set }},
		Options{VaultKey: []byte(strings.Repeat("v", 32)), Keyring: testKeyring(t), AckStream: map[string]string{"shop": "service"},
			AcksPerHour: 1 << 30, AcksPerSender: 1 << 30, Lease: 500 * time.Millisecond, Tick: 50 * time.Millisecond, Backoff: 10 * time.Millisecond, Log: log})
	require.NoError(t, err)
	return q
}

// workerProcess runs until it is killed.
func workerProcess(addr string) int {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	t := &testing.T{}
	q := countingQueue(t, rdb, testStreams(t), slog.New(slog.DiscardHandler))
	if err := q.Run(stop); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestWorkersKilled: two worker processes are killed at random while cases come
// in; each case is bound, each receipt left at most once, and every event is
// proven. CRASH_CASES sets how many, 400 otherwise.
func TestWorkersKilled(t *testing.T) {
	count := 400
	if n, err := strconv.Atoi(os.Getenv("CRASH_CASES")); err == nil {
		count = n
	}
	srv := env.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr})
	defer rdb.Close()
	q := countingQueue(t, rdb, testStreams(t), slog.New(slog.DiscardHandler))

	const killsEach = 60 // then the last two do what is left, however slow the machine
	stop, killed := make(chan struct{}), make(chan int, 2)
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	for range 2 {
		go func() {
			n := 0
			defer func() { killed <- n }()
			for {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), workerEnv+"="+srv.Addr)
				cmd.Stderr = os.Stderr
				if cmd.Start() != nil {
					return
				}
				var soon <-chan time.Time
				if n < killsEach {
					soon = time.After(time.Duration(150+rand.IntN(500)) * time.Millisecond)
				}
				select {
				case <-stop:
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
					return
				case <-soon:
				}
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				n++
			}
		}()
	}
	var numbers []string
	for i := range count {
		ref, err := q.Open(ctx, mailFrom(fmt.Sprintf("p%d@example.com", i), classifier.Objection, classifier.Access))
		require.NoError(t, err)
		numbers = append(numbers, ref.Number)
	}
	require.Eventually(t, func() bool {
		left, err := rdb.XLen(ctx, keyWork).Result()
		later, err2 := rdb.ZCard(ctx, keyLater).Result()
		return err == nil && err2 == nil && left+later == 0
	}, 4*time.Minute, 50*time.Millisecond)
	end()
	t.Logf("%d workers were killed", <-killed+<-killed)

	sent, bound, proof := rdb.HGetAll(ctx, "test:sent").Val(), rdb.HGetAll(ctx, "test:bound").Val(), rdb.HGetAll(ctx, "test:proof").Val()
	require.Zero(t, rdb.XLen(ctx, keyDead).Val())
	unsure := 0
	for _, no := range numbers {
		_, events, err := q.Show(ctx, no)
		require.NoError(t, err)
		got := map[Action]int{}
		for i, e := range events {
			got[e.Action]++
			require.Contains(t, proof, fmt.Sprintf("case:%s:%d", no, i))
		}
		require.Equal(t, 1, got[ActOpen])
		require.Equal(t, 1, got[ActSuppress])
		require.Equal(t, 1, got[ActReceipt]+got[ActUnsure], "decided once")
		require.Contains(t, bound, "case:"+no+":0:objected")
		times, _ := strconv.Atoi(sent["case:"+no+":ack:0"])
		require.LessOrEqual(t, times, 1, "never twice")
		require.False(t, times == 0 && got[ActReceipt] == 1, "never claimed without having left")
		unsure += got[ActUnsure]
	}
	t.Logf("%d of %d receipts are marked unsure", unsure, count)
}

// TestRealRedis runs every script on a real server, which dies in between.
func TestRealRedis(t *testing.T) {
	srv := env.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr})
	defer rdb.Close()
	w := newWorldOn(t, rdb)
	no := w.open(classifier.Access, classifier.WithdrawConsent)
	aside := mailFrom("carol@example.com", classifier.Access)
	require.NoError(t, w.q.SetAside(ctx, Aside{Why: "spam", Mail: aside}))
	srv.Kill()
	in := mailFrom("bob@example.com", classifier.Objection)
	_, err := w.q.Open(ctx, in)
	require.Error(t, err, "nothing is promised that is not stored")
	require.NotContains(t, err.Error(), "example.com")
	srv.Start()
	require.Eventually(t, func() bool { _, err = w.q.Open(ctx, in); return err == nil }, 10*time.Second, 20*time.Millisecond)

	_, _, err = w.q.Reply(ctx, no, Draft{Step: reply.Nothing, Effect: ActAnswer, Actor: "operator:eve"})
	require.NoError(t, err)
	w.later(time.Minute)
	require.Equal(t, Answered, w.show(no).State)
	list, err := w.q.Asides(ctx, 0, 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	ref, err := w.q.Promote(ctx, list[0].ID)
	require.NoError(t, err)
	again := aside
	again.UID, again.ContentHash = 9999, sha("other bytes")
	got, err := w.q.Open(ctx, again)
	require.NoError(t, err)
	require.Equal(t, Ref{ref.Number, false}, got)
	w.clock.Set(w.show(ref.Number).Due.Add(time.Hour))
	w.drain()
	requireSealed(t, w.rdb)
	require.NotEmpty(t, w.notices)
	all, err := w.q.List(ctx, Filter{})
	require.NoError(t, err)
	require.Len(t, all, 3)
}

// TestWaitAOF: where the server can tell that a write is on disk, Open waits
// for it, and fails if it is not.
func TestWaitAOF(t *testing.T) {
	mr := miniredis.RunT(t)
	onDisk := 1
	require.NoError(t, mr.Server().Register("WAITAOF", func(c *server.Peer, _ string, args []string) {
		c.WriteLen(2)
		if args[0] == "0" {
			c.WriteInt(0)
		} else {
			c.WriteInt(onDisk)
		}
		c.WriteInt(0)
	}))
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr()})
	defer rdb.Close()
	w := newWorldOn(t, rdb)
	require.True(t, w.q.waitAOF)
	_, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Access))
	require.NoError(t, err)
	require.NoError(t, rdb.ScriptFlush(ctx).Err())
	_, err = w.q.Open(ctx, mailFrom("alice@example.com", classifier.Access))
	require.NoError(t, err, "a server that forgot its scripts is given them again")
	onDisk = 0
	_, err = w.q.Open(ctx, mailFrom("alice@example.com", classifier.Access))
	require.ErrorContains(t, err, "not on disk")
}
