package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/testmail/env"
	"postern/testmail/load"
	"postern/testmail/smarthost"
)

// pool is how many recipients have consent; a run goes round them.
const pool = 5000

// work is one kind of load.
type work struct {
	name       string
	size       int
	sessions   int
	recipients int
	messages   int // through Postern and the floor; Postfix gets fewer
	relays     []string
}

var works = []work{
	{"4 KiB x20", 4 << 10, 20, 1, 30000, []string{"floor", "postfix", "postfix+opendkim", "postern", "postern+dkim"}},
	{"4 KiB x100", 4 << 10, 100, 1, 30000, []string{"floor", "postfix", "postern"}},
	{"50 KiB x20", 50 << 10, 20, 1, 8000, []string{"floor", "postfix", "postern", "postern+dkim"}},
	{"4 KiB x20, 50 recipients", 4 << 10, 20, 50, 1500, []string{"floor", "postfix", "postern", "postern+dkim", "postern transactional"}},
}

// relay is one contestant: where to send and which processes to watch.
type relay struct {
	name  string
	addr  string
	group int     // process group, 0 for the floor
	share float64 // of the messages it gets
}

// run is what one relay did with one work.
type run struct {
	rate     float64 // recipients per second, end to end
	p50, p99 time.Duration
	cpu      time.Duration // per message
	memory   int64         // most seen
	inside   time.Duration // p99 between source's 250 and the sink
}

func benchRelay(ctx context.Context, h *host, args []string) error {
	fs := flag.NewFlagSet("relay", flag.ExitOnError)
	rounds := fs.Int("rounds", 3, "interleaved rounds; medians are printed")
	scale := fs.Float64("scale", 1, "share of the messages, for a quick look")
	only := fs.String("only", "", "only the work of this name, or those whose name holds it")
	through := fs.String("through", "", "only the relay of this name, or those whose name holds it")
	binary := fs.String("binary", "", "the postern to measure; default: built from this tree")
	if err := fs.Parse(args); err != nil {
		return err
	}
	b := &bench{h: h, scale: *scale, binary: *binary}
	b.setUp()
	results := map[string]map[string][]run{}
	for round := range *rounds {
		for _, w := range works {
			if !chosen(*only, w.name, func(x string) bool { return slices.ContainsFunc(works, func(w work) bool { return w.name == x }) }) {
				continue
			}
			for _, name := range w.relays {
				if !chosen(*through, name, func(x string) bool { return b.relays[x].name != "" }) {
					continue
				}
				r, err := b.one(ctx, w, b.relays[name])
				if err != nil {
					return fmt.Errorf("%s through %s: %w", w.name, name, err)
				}
				h.Logf("round %d  %-26s %-22s %8.0f/s", round+1, w.name, name, r.rate)
				if results[w.name] == nil {
					results[w.name] = map[string][]run{}
				}
				results[w.name][name] = append(results[w.name][name], r)
			}
		}
	}
	b.print(results)
	return nil
}

// chosen tells whether a flag chooses name: as a whole where it is a name
// itself, else as a part.
func chosen(flag, name string, isName func(string) bool) bool {
	if isName(flag) {
		return name == flag
	}
	return strings.Contains(name, flag)
}

type bench struct {
	h       *host
	scale   float64
	binary  string
	sink    *smarthost.Server
	seen    counter
	relays  map[string]relay
	postern *installation
}

// counter counts what the sink gets in a run, per message and recipient.
type counter struct {
	recipients atomic.Int64
	mu         sync.Mutex
	sent       map[int]time.Time // when the source had its 250
	inside     []time.Duration
	times      map[int]int // copies of a message
}

func (c *counter) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recipients.Store(0)
	c.sent, c.times, c.inside = map[int]time.Time{}, map[int]int{}, nil
}

func (c *counter) arrived(m *smarthost.Message) {
	id := load.ID(m.Data)
	now := time.Now()
	c.mu.Lock()
	c.times[id] += len(m.To)
	if at, ok := c.sent[id]; ok {
		c.inside = append(c.inside, now.Sub(at))
	} else {
		c.inside = append(c.inside, 0)
	}
	c.mu.Unlock()
	c.recipients.Add(int64(len(m.To)))
}

func (c *counter) accepted(id int) {
	now := time.Now()
	c.mu.Lock()
	c.sent[id] = now
	c.mu.Unlock()
}

func (b *bench) setUp() {
	h := b.h
	// The sink offers what a Postfix does, BDAT too, which Postfix as a client
	// does not use.
	sink, err := smarthost.New(smarthost.Options{Discard: true, Offer: []string{"CHUNKING"}, OnMessage: b.seen.arrived})
	if err != nil {
		h.Fatalf("sink: %v", err)
	}
	h.Cleanup(func() { _ = sink.Close() })
	b.sink = sink
	next := "[127.0.0.1]:" + sink.Addr()[strings.LastIndexByte(sink.Addr(), ':')+1:]
	plain := env.Postfix(h, env.PostfixOptions{AsShipped: true, Main: map[string]string{"relayhost": next}})
	milter := openDKIM(h)
	signing := env.Postfix(h, env.PostfixOptions{AsShipped: true, Main: map[string]string{
		"relayhost": next, "smtpd_milters": "inet:" + milter, "milter_default_action": "tempfail",
	}})
	if b.binary == "" {
		b.binary = build(h)
	}
	b.postern = install(h, b.binary, sink.Addr(), nil)
	var addrs []string
	for i := range pool {
		addrs = append(addrs, recipient(i))
	}
	b.postern.consent(addrs)
	p := b.postern.proc.Pid()
	b.relays = map[string]relay{}
	for _, r := range []relay{
		{"floor", sink.Addr(), 0, 1},
		{"postfix", plain.Addr, plain.Pid(), 0.05},
		{"postfix+opendkim", signing.Addr, signing.Pid(), 0.04},
		{"postern", b.postern.News, p, 1},
		{"postern+dkim", b.postern.Signed, p, 0.4},
		{"postern transactional", b.postern.Orders, p, 1},
	} {
		b.relays[r.name] = r
	}
}

func recipient(i int) string { return fmt.Sprintf("u%d@example.net", i%pool) }

// openDKIM starts a signing milter with a 2048-bit key.
func openDKIM(h *host) string {
	dir := h.TempDir()
	addr := env.FreeAddr(h)
	env.Run(h, "opendkim-genkey", "-b", "2048", "-d", "example.org", "-s", "bench", "-D", dir)
	conf := filepath.Join(dir, "opendkim.conf")
	text := fmt.Sprintf("Mode s\nDomain example.org\nSelector bench\nKeyFile %s/bench.private\nSocket inet:%s@127.0.0.1\nCanonicalization relaxed/relaxed\nRequireSafeKeys no\nInternalHosts 127.0.0.1\nSyslog no\n",
		dir, addr[strings.LastIndexByte(addr, ':')+1:])
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		h.Fatalf("opendkim: %v", err)
	}
	p := env.Start(h, "/usr/sbin/opendkim", "-f", "-x", conf)
	env.WaitPort(h, p, addr)
	return addr
}

// one sends a work through a relay and waits until the sink has all of it.
func (b *bench) one(ctx context.Context, w work, r relay) (run, error) {
	messages := max(w.sessions, int(float64(w.messages)*r.share*b.scale))
	if r.group == 0 {
		messages = w.messages
	}
	b.seen.reset()
	source := load.Source{
		Addr: r.addr, Messages: messages, Sessions: w.sessions, Size: w.size, Recipients: w.recipients,
		From: "news@example.org", Accepted: b.seen.accepted,
		Recipient: func(n, k int) string { return recipient(n*w.recipients + k) },
	}
	before := groupUsage(r.group)
	start := time.Now()
	peak := watchMemory(r.group)
	res, err := source.Run(ctx)
	if err != nil {
		return run{}, err
	}
	if res.Refused > 0 {
		return run{}, fmt.Errorf("%d of %d messages were refused", res.Refused, messages)
	}
	want := int64(messages * w.recipients)
	last, progress := b.seen.recipients.Load(), time.Now()
	for b.seen.recipients.Load() < want {
		if n := b.seen.recipients.Load(); n != last {
			last, progress = n, time.Now()
		}
		if time.Since(progress) > time.Minute || ctx.Err() != nil {
			return run{}, fmt.Errorf("%d of %d recipients arrived", b.seen.recipients.Load(), want)
		}
		time.Sleep(time.Millisecond)
	}
	elapsed := time.Since(start)
	memory := peak()
	out := run{
		rate: float64(want) / elapsed.Seconds(), p50: res.Quantile(0.5), p99: res.Quantile(0.99),
		memory: memory, cpu: (groupUsage(r.group).cpu - before.cpu) / time.Duration(messages),
	}
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	for id, n := range b.seen.times {
		if n != w.recipients {
			return run{}, fmt.Errorf("message %d arrived for %d recipients, %d were sent", id, n, w.recipients)
		}
	}
	slices.Sort(b.seen.inside)
	out.inside = b.seen.inside[int(0.99*float64(len(b.seen.inside)-1))]
	return out, nil
}

// watchMemory samples a process group until the returned function is called,
// which gives the most seen.
func watchMemory(group int) func() int64 {
	if group == 0 {
		return func() int64 { return 0 }
	}
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, groupUsage(group).memory)
			select {
			case <-stop:
				done <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-done
	}
}

// print writes medians and the ratios to the peers.
func (b *bench) print(results map[string]map[string][]run) {
	fmt.Printf("%-26s %-22s %10s %10s %10s %9s %9s %9s %8s %8s\n", "work", "relay", "recipients", "x postfix", "x +opendkim", "p50 250", "p99 250", "p99 spool", "cpu/msg", "memory")
	for _, w := range works {
		for _, name := range w.relays {
			runs := results[w.name][name]
			if len(runs) == 0 {
				continue
			}
			m := median(runs)
			fmt.Printf("%-26s %-22s %8.0f/s %10s %10s %9s %9s %9s %8s %6dMB\n", w.name, name, m.rate,
				ratio(m, results[w.name]["postfix"]), ratio(m, results[w.name]["postfix+opendkim"]),
				ms(m.p50), ms(m.p99), ms(m.inside), ms3(m.cpu), m.memory>>20)
		}
	}
	fmt.Printf("postern's peak memory over all of it: %d MB\n", peakMemory(b.postern.proc.Pid())>>20)
}

func median(runs []run) run {
	slices.SortFunc(runs, func(a, b run) int { return int(a.rate - b.rate) })
	return runs[len(runs)/2]
}

func ratio(m run, peer []run) string {
	if len(peer) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", m.rate/median(peer).rate)
}

func ms3(d time.Duration) string { return fmt.Sprintf("%.3fms", float64(d.Nanoseconds())/1e6) }

func ms(d time.Duration) string { return fmt.Sprintf("%.2fms", float64(d.Microseconds())/1000) }
