package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// AutomaticReport is what rules did by themselves in a span of time.
type AutomaticReport struct {
	Acts     map[string]int // "action:reason" → how often
	Reverted int            // opt-outs an operator took back
	Reopened int            // cases a rule had ended and something opened again
	Sample   []string       // numbers of cases to look at by hand; the same for the same span
	Judged   int            // cases of which an operator said whether the rules were right
	Wrong    int            // of those
}

// ErrorRate is the share of judged cases in which a rule was wrong; false
// where none was judged.
func (r AutomaticReport) ErrorRate() (float64, bool) {
	if r.Judged == 0 {
		return 0, false
	}
	return float64(r.Wrong) / float64(r.Judged), true
}

// deeds is what rules did in one case, and what became of it.
type deeds struct {
	version  int64          // of the case it was read at
	acts     map[string]int // "action:reason" → how often
	acted    bool
	reverted int
	reopened int
	judged   string // SampleRight, SampleWrong or ""
}

// deedBook remembers the deeds of each case until it changes, so that the
// month's account does not read every log anew. It is safe for concurrent use.
type deedBook struct {
	mu sync.Mutex
	of map[string]deeds
}

// tidy forgets cases that are gone, once they are many. The caller holds mu.
func (b *deedBook) tidy(x *Index) {
	x.names.RLock()
	defer x.names.RUnlock()
	if len(b.of) <= len(x.byNumber)+1000 {
		return
	}
	maps.DeleteFunc(b.of, func(no string, _ deeds) bool { return x.byNumber[no] == nil })
}

// AutomaticActs counts what rules did in cases received in the span, with a
// sample of at most size cases for a person to check: the base of an error rate.
func (q *Queue) AutomaticActs(ctx context.Context, from, to time.Time, size int) (AutomaticReport, error) {
	out := AutomaticReport{Acts: map[string]int{}}
	cases, err := q.receivedBetween(ctx, from, to)
	if err != nil {
		return out, err
	}
	for chunk := range slices.Chunk(cases, 500) {
		found, err := q.deedsOf(ctx, chunk)
		if err != nil {
			return out, err
		}
		for i, d := range found {
			for what, n := range d.acts {
				out.Acts[what] += n
			}
			out.Reverted += d.reverted
			out.Reopened += d.reopened
			if d.judged != "" {
				out.Judged++
			}
			if d.judged == SampleWrong {
				out.Wrong++
			}
			if d.acted {
				out.Sample = append(out.Sample, chunk[i].Number)
			}
		}
	}
	// By hash: nobody chooses, and who asks again sees the same.
	slices.SortFunc(out.Sample, func(a, b string) int { return strings.Compare(sha("sample\x00"+a), sha("sample\x00"+b)) })
	if len(out.Sample) > size {
		out.Sample = out.Sample[:size]
	}
	return out, nil
}

// deedsOf gives the deeds of cases in their order; those that changed since they
// were last asked for are read.
func (q *Queue) deedsOf(ctx context.Context, cases []*Case) ([]deeds, error) {
	out := make([]deeds, len(cases))
	var stale []int
	q.deeds.mu.Lock()
	for i, c := range cases {
		d, ok := q.deeds.of[c.Number]
		if out[i] = d; !ok || d.version != c.Version {
			stale = append(stale, i)
		}
	}
	q.deeds.mu.Unlock()
	if len(stale) == 0 {
		return out, nil
	}
	logs := make([]*redis.StringSliceCmd, len(stale))
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for j, i := range stale {
			logs[j] = p.LRange(ctx, keyLog(cases[i].Number), 0, -1)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what rules did: %w", err)
	}
	for j, i := range stale {
		if out[i], err = readDeeds(cases[i].Number, logs[j].Val()); err != nil {
			return nil, err
		}
		// A change since the snapshot is counted now, and read again by the next
		// call, for which the case has another version.
		out[i].version = cases[i].Version
	}
	q.deeds.mu.Lock()
	defer q.deeds.mu.Unlock()
	if q.deeds.of == nil {
		q.deeds.of = map[string]deeds{}
	}
	q.deeds.tidy(q.index)
	for _, i := range stale {
		q.deeds.of[cases[i].Number] = out[i]
	}
	return out, nil
}

// readDeeds reads a log of events; their notes stay sealed.
func readDeeds(number string, log []string) (deeds, error) {
	var d deeds
	closed := false
	for seq, line := range log {
		e, err := decodeEvent(nil, number, seq, line)
		if err != nil {
			return d, err
		}
		switch {
		case e.Actor == "rule" && (e.Action == ActSuppress || e.Action == ActHold || e.Action == ActClose || e.Action == ActDeny || e.Action == ActReceipt):
			if d.acts == nil {
				d.acts = map[string]int{}
			}
			d.acts[string(e.Action)+":"+e.Reason]++
			d.acted = true
			closed = closed || e.Action == ActClose
		case e.Action == ActRelease:
			d.reverted++
		case e.Action == ActReopen && closed:
			d.reopened++
		case e.Action == ActNote && (e.Reason == SampleRight || e.Reason == SampleWrong):
			d.judged = e.Reason // the last word counts
		}
	}
	return d, nil
}
