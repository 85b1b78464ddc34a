package console

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/gateway/ledger"
)

// viewCount is how often somebody looked at something.
type viewCount struct {
	Actor, What string
	Count       int
}

// looked are the counts of a month up to a moment, so that a page opens no
// record twice in an hour.
type looked struct {
	counts map[viewCount]int
	until  time.Time
	made   time.Time // when the first of them was counted
}

const (
	looksSettle = 5 * time.Minute // a record's time may be so much before it is found
	looksKept   = time.Hour       // then all are counted again: some may have been erased or pruned
	looksMonths = 24              // kept at most
)

// looks keeps counts by the beginning of their month.
type looks struct {
	mu  sync.Mutex
	all map[int64]looked
}

func (k *looks) get(m month, now time.Time) looked {
	k.mu.Lock()
	defer k.mu.Unlock()
	had, ok := k.all[m.From.Unix()]
	if age := now.Sub(had.made); !ok || age < 0 || age >= looksKept {
		return looked{until: m.From, made: now}
	}
	return had
}

func (k *looks) put(m month, l looked) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || len(k.all) >= looksMonths {
		k.all = map[int64]looked{}
	}
	k.all[m.From.Unix()] = l
}

// views counts who looked at what in a month, most first.
func (v *visit) views(m month) ([]viewCount, error) {
	had := v.c.looks.get(m, v.now())
	settled := v.now().Add(-looksSettle)
	if settled.After(m.To) {
		settled = m.To
	}
	old, fresh := maps.Clone(had.counts), map[viewCount]int{}
	if old == nil {
		old = map[viewCount]int{}
	}
	err := v.records(ledger.Filter{Kind: ledger.KindView, Since: had.until, Until: m.To}, func(e ledger.Entry) error {
		if e.Pruned {
			return nil
		}
		what := e.Action
		if what == "view" { // as rooms below write it: the kind stands in the reason
			what = e.Reason
		}
		if e.Erased {
			what = "erased"
		}
		into := fresh
		if e.Time.Before(settled) {
			into = old
		}
		into[viewCount{Actor: strings.TrimPrefix(e.Actor, "operator:"), What: what}]++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read who looked: %w", err)
	}
	if v.part == nil && settled.After(had.until) {
		v.c.looks.put(m, looked{counts: maps.Clone(old), until: settled, made: had.made})
	}
	for k, n := range fresh {
		old[k] += n
	}
	out := make([]viewCount, 0, len(old))
	for k, n := range old {
		k.Count = n
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b viewCount) int {
		return cmp.Or(cmp.Compare(a.Actor, b.Actor), cmp.Compare(b.Count, a.Count), cmp.Compare(a.What, b.What))
	})
	return out, nil
}
