package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/redis/go-redis/v9"
)

// Would is one recipient that enforcing would have refused (design D2).
type Would struct {
	Stream string
	Reason Reason
	Client string    // name in the config
	Sender string    // From domain: a domain of the company's own, or ""
	Day    time.Time // UTC
}

// Reporter counts what enforcing would have stopped, and what became of every
// recipient. It must not block.
type Reporter interface {
	Would(Would)
	Count(Passed)
}

// Row is one line of "postern report would-block".
type Row struct {
	Day    string `json:"day"` // 2026-11-24
	Stream string `json:"stream"`
	Reason Reason `json:"reason"`
	Client string `json:"client"`
	Sender string `json:"sender"`
	Count  int64  `json:"count"`
}

// Keys of the gateway in Redis.
const (
	reportPrefix = "pg:would:"   // + day: hash, field "stream|reason|client|sender" → count; lives reportLife
	modesKey     = "pg:modes"    // hash, stream name → mode and when it was set (modekeep.go); no end
	observedKey  = "pg:observed" // hash, stream name → since when, in Unix seconds; no end
	reportLife   = 100 * 24 * time.Hour
	reportFields = 10000 // distinct lines kept in memory between two flushes
)

// Report counts in memory and adds to Redis every second, shared by all
// nodes. Counts are advice: those of the last second are lost with the process.
type Report struct {
	rdb  redis.UniversalClient
	db   *pebble.DB // keeps the modes beside Redis; nil: nothing does
	log  *slog.Logger
	mu   sync.Mutex
	rows map[string]map[string]int64 // day → field → count
	size int

	traffic   sync.Mutex
	tallies   map[tallyKey]int64
	flushing  sync.Mutex                  // one Flush at a time
	unwritten map[bucket]map[string]int64 // under flushing: what Redis did not take yet
}

var (
	_ Reporter  = (*Report)(nil)
	_ ModeStore = (*Report)(nil)
)

// NewReport keeps its counts, and the modes operators set, in rdb. log may be nil.
func NewReport(rdb redis.UniversalClient, log *slog.Logger) *Report {
	return NewNodeReport(rdb, nil, log)
}

// NewNodeReport is NewReport of a node whose store db remembers the modes, so
// that a Redis that fell back brings back no former one.
func NewNodeReport(rdb redis.UniversalClient, db *pebble.DB, log *slog.Logger) *Report {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Report{rdb: rdb, db: db, log: log, rows: map[string]map[string]int64{},
		tallies: map[tallyKey]int64{}, unwritten: map[bucket]map[string]int64{}}
}

// Would counts one.
func (r *Report) Would(w Would) {
	field := strings.Join([]string{fieldSafe(w.Stream), string(w.Reason), fieldSafe(w.Client), fieldSafe(w.Sender)}, "|")
	day := w.Day.UTC().Format(time.DateOnly)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(day, field, 1)
}

func (r *Report) add(day, field string, n int64) {
	fields := r.rows[day]
	if fields == nil {
		fields = map[string]int64{}
		r.rows[day] = fields
	}
	if _, ok := fields[field]; !ok {
		if r.size >= reportFields {
			return // Redis is away for long, or senders are made up: bounded memory goes first
		}
		r.size++
	}
	fields[field] += n
}

func fieldSafe(s string) string { return strings.ReplaceAll(s, "|", "_") }

// Run writes the counts to Redis every second until ctx ends, then once more.
func (r *Report) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := r.Flush(last); err != nil {
				r.log.Warn("last counts of traffic lost", "err", err)
			}
			return nil
		case <-tick.C:
			if err := r.Flush(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("counts of traffic not written", "err", err)
			}
		}
	}
}

// Flush writes the counts now. What can't be written is kept for the next time.
func (r *Report) Flush(ctx context.Context) error {
	r.flushing.Lock()
	defer r.flushing.Unlock()
	return errors.Join(r.flushTraffic(ctx), r.flushWould(ctx))
}

func (r *Report) flushWould(ctx context.Context) error {
	r.mu.Lock()
	rows := r.rows
	r.rows, r.size = map[string]map[string]int64{}, 0
	r.mu.Unlock()
	for day, fields := range rows {
		_, err := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for f, n := range fields {
				p.HIncrBy(ctx, reportPrefix+day, f, n)
			}
			p.Expire(ctx, reportPrefix+day, reportLife)
			return nil
		})
		if err != nil {
			r.keep(rows)
			return fmt.Errorf("write would-block counts: %w", err)
		}
		delete(rows, day)
	}
	return nil
}

func (r *Report) keep(rows map[string]map[string]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for day, fields := range rows {
		for f, n := range fields {
			r.add(day, f, n)
		}
	}
}

// WouldBlock lists the counts of the days from since to until, both included,
// most first within a day.
func (r *Report) WouldBlock(ctx context.Context, since, until time.Time) ([]Row, error) {
	var out []Row
	since = since.UTC().Truncate(24 * time.Hour)
	for d := since; !d.After(until.UTC()); d = d.AddDate(0, 0, 1) {
		day := d.Format(time.DateOnly)
		fields, err := r.rdb.HGetAll(ctx, reportPrefix+day).Result()
		if err != nil {
			return nil, fmt.Errorf("read would-block counts of %s: %w", day, err)
		}
		rows := make([]Row, 0, len(fields))
		for f, v := range fields {
			parts := strings.Split(f, "|")
			n, err := strconv.ParseInt(v, 10, 64)
			if len(parts) != 4 || err != nil {
				continue
			}
			rows = append(rows, Row{Day: day, Stream: parts[0], Reason: Reason(parts[1]), Client: parts[2], Sender: parts[3], Count: n})
		}
		sort.Slice(rows, func(i, j int) bool {
			a, b := rows[i], rows[j]
			if a.Count != b.Count {
				return a.Count > b.Count
			}
			return a.Stream+string(a.Reason)+a.Client+a.Sender < b.Stream+string(b.Reason)+b.Client+b.Sender
		})
		out = append(out, rows...)
	}
	return out, nil
}

// Observed keeps since when a stream has been observed.
func (r *Report) Observed(ctx context.Context, name string, observing bool, now time.Time) (time.Time, error) {
	if !observing {
		if err := r.rdb.HDel(ctx, observedKey, name).Err(); err != nil {
			return time.Time{}, fmt.Errorf("forget observation: %w", err)
		}
		return time.Time{}, nil
	}
	if err := r.rdb.HSetNX(ctx, observedKey, name, now.Unix()).Err(); err != nil {
		return time.Time{}, fmt.Errorf("keep observation: %w", err)
	}
	since, err := r.rdb.HGet(ctx, observedKey, name).Int64()
	if err != nil {
		return time.Time{}, fmt.Errorf("read observation: %w", err)
	}
	return time.Unix(since, 0), nil
}
