package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Fate is what became of a recipient, at acceptance or at a delivery attempt.
type Fate string

const (
	FateAccepted  Fate = "accepted"  // spooled
	FateDenied    Fate = "denied"    // refused for good, by reason
	FateDeferred  Fate = "deferred"  // told to come back, or an attempt that will be repeated
	FateDelivered Fate = "delivered" // the next hop answered 250
	FateFailed    Fate = "failed"    // the next hop refused, or the time was over
)

// Reasons of a fate that no verdict gave.
const (
	ReasonNextHop Reason = "next-hop" // the smarthost said no, or not now
	ReasonExpired Reason = "expired"  // given up after the retry time
)

// Passed is one count of the traffic.
type Passed struct {
	Stream string // name; "" where the message was refused before it had one
	Fate   Fate
	Reason Reason // "" for accepted and delivered
	N      int
	Time   time.Time
}

// Grain is the width of the buckets that traffic is counted in.
type Grain string

const (
	TenMinutes Grain = "m" // kept 3 hours
	Hourly     Grain = "h" // kept 40 days
	Daily      Grain = "d" // days of UTC; kept 400 days
)

// grains are all of them with their width, and how long a bucket is kept.
var grains = []struct {
	grain Grain
	width time.Duration
	life  time.Duration
}{
	{TenMinutes, 10 * time.Minute, 3 * time.Hour},
	{Hourly, time.Hour, 40 * 24 * time.Hour},
	{Daily, 24 * time.Hour, 400 * 24 * time.Hour},
}

// Start is when the bucket of t begins.
func (g Grain) Start(t time.Time) time.Time {
	for _, x := range grains {
		if x.grain == g {
			return t.UTC().Truncate(x.width)
		}
	}
	return t.UTC()
}

// Width is how long a bucket lasts.
func (g Grain) Width() time.Duration {
	for _, x := range grains {
		if x.grain == g {
			return x.width
		}
	}
	return 0
}

// Tally is the traffic of one bucket, stream, fate and reason.
type Tally struct {
	At     time.Time `json:"at"` // start of the bucket, UTC
	Stream string    `json:"stream"`
	Fate   Fate      `json:"fate"`
	Reason Reason    `json:"reason,omitempty"`
	Count  int64     `json:"count"`
}

// trafficPrefix and grain and start of the bucket in Unix seconds: hash, field
// "stream|fate|reason" → count; lives as its grain says.
const trafficPrefix = "pg:traffic:"

// AllStreams asks Traffic for the sum over all streams, which has hashes of
// its own: the key of its bucket with ":all".
const AllStreams = "*"

func trafficKey(g Grain, start int64, all bool) string {
	key := trafficPrefix + string(g) + ":" + strconv.FormatInt(start, 10)
	if all {
		key += ":all"
	}
	return key
}

// tallyKey is a count in memory: no text is made on the path of a message.
type tallyKey struct {
	at     int64 // start of its ten minutes, Unix seconds
	stream string
	fate   Fate
	reason Reason
}

// maxTallies bounds what is kept in memory while Redis is away: ten minutes of
// some forty streams with every reason, for a day.
const maxTallies = 1 << 16

// Count adds to the traffic. It takes a lock for a map's update and nothing
// else; Redis hears of it every second.
func (r *Report) Count(p Passed) {
	k := tallyKey{p.Time.Unix() / 600 * 600, p.Stream, p.Fate, p.Reason}
	r.traffic.Lock()
	defer r.traffic.Unlock()
	r.addTally(k, int64(p.N))
}

func (r *Report) addTally(k tallyKey, n int64) {
	if _, ok := r.tallies[k]; !ok && len(r.tallies) >= maxTallies {
		return
	}
	r.tallies[k] += n
}

// countScript adds to the counts of one bucket.
//
//	KEYS[1]  the bucket
//	ARGV     seconds it is kept, then field and count of each
//
// It is no transaction of the client's: a server or proxy that refuses MULTI
// would leave replies on the connection that others get for their own.
var countScript = redis.NewScript(`
for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return redis.call('EXPIRE', KEYS[1], ARGV[1])
`)

// flushTraffic adds what was counted to the buckets of every grain. A bucket
// is one script: it is written whole or tried again whole.
func (r *Report) flushTraffic(ctx context.Context) error {
	r.traffic.Lock()
	tallies := r.tallies
	r.tallies = map[tallyKey]int64{}
	r.traffic.Unlock()
	for _, k := range r.pending(tallies) {
		g := grains[k.grain]
		args := []any{int64((g.life + g.width) / time.Second)}
		for field, n := range r.unwritten[k] {
			args = append(args, field, n)
		}
		if err := countScript.Run(ctx, r.rdb, []string{trafficKey(g.grain, k.at, k.all)}, args...).Err(); err != nil {
			return fmt.Errorf("write traffic counts: %w", err)
		}
		delete(r.unwritten, k)
	}
	return nil
}

// bucket is one hash that still has to be written.
type bucket struct {
	grain int // index of grains
	at    int64
	all   bool // the sum over all streams
}

// pending spreads tallies over the buckets not written yet, which only the
// flusher touches, and lists them, oldest first.
func (r *Report) pending(tallies map[tallyKey]int64) (out []bucket) {
	for k, n := range tallies {
		what := "|" + string(k.fate) + "|" + string(k.reason)
		for i, g := range grains {
			at := time.Unix(k.at, 0).UTC().Truncate(g.width).Unix()
			r.addUnwritten(bucket{i, at, false}, fieldSafe(k.stream)+what, n)
			r.addUnwritten(bucket{i, at, true}, AllStreams+what, n)
		}
	}
	for b := range r.unwritten {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b bucket) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.grain, b.grain)) })
	return out
}

func (r *Report) addUnwritten(b bucket, field string, n int64) {
	if r.unwritten[b] == nil {
		r.unwritten[b] = map[string]int64{}
	}
	r.unwritten[b][field] += n
}

// Traffic gives the last n buckets of a grain up to until, summed over all
// nodes, oldest first; stream "" gives each,
// AllStreams their sum. Buckets without traffic give
// nothing. Its cost is that of n hashes of some dozen fields, however much
// mail they count.
func (r *Report) Traffic(ctx context.Context, g Grain, until time.Time, n int, stream string) ([]Tally, error) {
	last, width := g.Start(until), g.Width()
	if width == 0 || n <= 0 {
		return nil, fmt.Errorf("traffic: grain %q is not known", g)
	}
	starts := make([]time.Time, n)
	cmds := make([]*redis.MapStringStringCmd, n)
	_, err := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range n {
			starts[i] = last.Add(-time.Duration(n-1-i) * width)
			cmds[i] = p.HGetAll(ctx, trafficKey(g, starts[i].Unix(), stream == AllStreams))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read traffic: %w", err)
	}
	var out []Tally
	for i, cmd := range cmds {
		from := len(out)
		for field, text := range cmd.Val() {
			name, rest, ok := strings.Cut(field, "|")
			fate, reason, ok2 := strings.Cut(rest, "|")
			count, err := strconv.ParseInt(text, 10, 64)
			if !ok || !ok2 || err != nil || stream != "" && name != stream {
				continue
			}
			out = append(out, Tally{starts[i], name, Fate(fate), Reason(reason), count})
		}
		slices.SortFunc(out[from:], func(a, b Tally) int {
			return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Fate, b.Fate), cmp.Compare(a.Reason, b.Reason))
		})
	}
	return out, nil
}

// ObservedSince tells since when streams have been observed, as far as known.
func (r *Report) ObservedSince(ctx context.Context) (map[string]time.Time, error) {
	all, err := r.rdb.HGetAll(ctx, observedKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read observations: %w", err)
	}
	out := map[string]time.Time{}
	for name, text := range all {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			out[name] = time.Unix(n, 0).UTC()
		}
	}
	return out, nil
}

// countAll tells the reporter what became of every recipient of a message.
func (e *Engine) countAll(name string, recipients int, out Outcome, whole *Denial) {
	if e.opts.Report == nil {
		return
	}
	now := e.opts.Now()
	if whole != nil {
		e.countDenial(name, whole, recipients, now)
		return
	}
	accepted := 0
	for _, err := range out.Recipients {
		if den, ok := err.(*Denial); ok && den != nil {
			e.countDenial(name, den, 1, now)
		} else {
			accepted++
		}
	}
	if accepted > 0 {
		e.opts.Report.Count(Passed{Stream: name, Fate: FateAccepted, N: accepted, Time: now})
	}
}

func (e *Engine) countDenial(name string, d *Denial, n int, now time.Time) {
	if e.opts.Report == nil || n == 0 {
		return
	}
	fate := FateDenied
	if d.Defer {
		fate = FateDeferred
	}
	e.opts.Report.Count(Passed{Stream: name, Fate: fate, Reason: d.Reason, N: n, Time: now})
}
