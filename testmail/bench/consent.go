package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/node"
	"postern/testmail/env"
	"postern/testmail/subjects"
)

// benchConsent fills a registry through its own import and asks it as the
// relay does: memory of Redis per subject, recipients per second and CPU time
// on both sides, with few and with many subjects in it.
func benchConsent(ctx context.Context, h *host, args []string) error {
	fs := flag.NewFlagSet("consent", flag.ExitOnError)
	many := fs.Int("subjects", 1_000_000, "subjects in the end")
	few := fs.Int("few", 100_000, "subjects at the first measurement")
	loaders := fs.Int("loaders", 2, "imports that run at once")
	took := fs.Duration("time", 15*time.Second, "how long each look-up rate is measured")
	if err := fs.Parse(args); err != nil {
		return err
	}
	b, err := openRegistry(ctx, h)
	if err != nil {
		return err
	}
	empty := b.memory(ctx)
	var rows []consentRow
	loaded := 0
	for _, n := range []int{min(*few, *many), *many} {
		start := time.Now()
		if err := b.load(ctx, loaded, n, *loaders); err != nil {
			return err
		}
		row := consentRow{subjects: n, rate: float64(n-loaded) / time.Since(start).Seconds()}
		loaded = n
		row.perSubject = float64(b.memory(ctx)-empty) / float64(n)
		for _, m := range []*measured{&row.batch, &row.single} {
			m.recipients = 50
			if m == &row.single {
				m.recipients = 1
			}
			if err := b.measure(ctx, m, n, *took); err != nil {
				return err
			}
		}
		rows = append(rows, row)
	}
	printConsent(rows)
	return nil
}

type consentRow struct {
	subjects      int
	rate          float64 // loaded per second
	perSubject    float64 // octets of Redis memory
	batch, single measured
}

// measured is one rate of look-ups.
type measured struct {
	recipients int     // of one message
	rate       float64 // recipients per second
	own, redis float64 // CPU µs of one message
}

func printConsent(rows []consentRow) {
	fmt.Println("| subjects | loaded/s | Redis octets a subject | recipients/s, 50 a message | CPU µs a message of 50, Postern + Redis | messages/s, 1 recipient | CPU µs a message of 1, Postern + Redis |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, r := range rows {
		fmt.Printf("| %d | %.0f | %.0f | %.0f | %.0f + %.0f (%.1f a recipient) | %.0f | %.0f + %.0f |\n", r.subjects, r.rate, r.perSubject,
			r.batch.rate, r.batch.own, r.batch.redis, (r.batch.own+r.batch.redis)/50, r.single.rate, r.single.own, r.single.redis)
	}
}

// consentBench is a registry over a Redis of its own.
type consentBench struct {
	*consent.Registry
	rdb *redis.Client
	pid int
}

func openRegistry(ctx context.Context, h *host) (*consentBench, error) {
	server := env.Redis(h)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true})
	h.Cleanup(func() { _ = rdb.Close() })
	db, err := node.Open(h.TempDir())
	if err != nil {
		return nil, err
	}
	h.Cleanup(func() { _ = db.Close() })
	ring, err := address.NewKeyring(address.Key{ID: "1", Secret: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		return nil, err
	}
	b := &consentBench{rdb: rdb, pid: server.Pid()}
	if b.Registry, err = consent.New(rdb, ring, db, nil, consent.Options{Timeout: 10 * time.Second, WriteTimeout: time.Minute}); err != nil {
		return nil, err
	}
	return b, b.Check(ctx)
}

// load imports the subjects from to to, as a CSV file is imported.
func (b *consentBench) load(ctx context.Context, from, to, loaders int) error {
	var done atomic.Int64
	start, end := time.Now(), time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	g, ctx := errgroup.WithContext(ctx)
	for i := range loaders {
		first, last := from+(to-from)*i/loaders, from+(to-from)*(i+1)/loaders
		g.Go(func() error {
			had := 0
			rep, err := b.Import(ctx, subjects.CSV(first, last, 0, end), consent.ImportOptions{
				Controller: "acme", Purpose: "newsletter", Name: "subjects.csv",
				Progress: func(r consent.Report) {
					n := done.Add(int64(r.Rows - had))
					if had = r.Rows; n%100_000 == 0 {
						fmt.Fprintf(os.Stderr, "\rloaded %d of %d, %.0f/s ", n, to-from, float64(n)/time.Since(start).Seconds())
					}
				},
			})
			if err == nil && rep.Active != last-first {
				err = fmt.Errorf("of %d subjects %d are active: %s", last-first, rep.Active, rep.Summary())
			}
			return err
		})
	}
	err := g.Wait()
	fmt.Fprintln(os.Stderr)
	return err
}

func (b *consentBench) memory(ctx context.Context) int64 {
	info, _ := b.rdb.Info(ctx, "memory").Result()
	for _, line := range strings.Split(info, "\r\n") {
		if text, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, _ := strconv.ParseInt(text, 10, 64)
			return n
		}
	}
	return 0
}

// measure asks about random subjects for a time and fills m.
func (b *consentBench) measure(ctx context.Context, m *measured, n int, took time.Duration) error {
	known := make([]address.Address, 200_000)
	for i := range known {
		known[i] = subjects.Address(rand.IntN(n))
	}
	var asked atomic.Int64
	start, own, theirs := time.Now(), ownCPU(), groupUsage(b.pid).cpu
	g, ctx := errgroup.WithContext(ctx)
	for range 16 {
		g.Go(func() error {
			who := make([]address.Address, m.recipients)
			for time.Since(start) < took {
				at := rand.IntN(len(known))
				for i := range who {
					who[i] = known[(at+i*7919)%len(known)]
				}
				answers, err := b.Lookup(ctx, "acme", "newsletter", 1, who)
				if err != nil {
					return err
				}
				for _, a := range answers {
					if a.Status != consent.StatusActive || a.Suppressed != "" {
						return fmt.Errorf("a subject that consented is %q, suppressed %q", a.Status, a.Suppressed)
					}
				}
				asked.Add(1)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	messages := float64(asked.Load())
	m.rate = messages * float64(m.recipients) / time.Since(start).Seconds()
	m.own = float64((ownCPU() - own).Microseconds()) / messages
	m.redis = float64((groupUsage(b.pid).cpu - theirs).Microseconds()) / messages
	return nil
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
