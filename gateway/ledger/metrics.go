package ledger

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// register registers postern_ledger_*. What can't be read shows as 0, which
// rings the same alarm as an anchor that is missing.
func (l *Ledger) register() error {
	if l.opts.Metrics == nil {
		return nil
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	for _, c := range []prometheus.Collector{
		gauge("postern_ledger_records", "Records under the last signed checkpoint.", func() float64 { return float64(l.Checkpoint().Size) }),
		gauge("postern_ledger_anchor_timestamp_seconds", "When the last daily checkpoint was handed out as an anchor, Unix time; 0 before the first.", func() float64 {
			at, err := l.AnchoredAt()
			if err != nil || at.IsZero() {
				return 0
			}
			return float64(at.Unix())
		}),
		gauge("postern_ledger_staged_records", "Records that are durable but not in the tree yet: the sequencer's lag.", func() float64 {
			n, err := l.backlog()
			if err != nil {
				return 0
			}
			return float64(n)
		}),
		gauge("postern_ledger_anchors_waiting", "Days whose anchor could not be handed out yet.", func() float64 {
			days, err := l.Unanchored()
			if err != nil {
				return 0
			}
			return float64(len(days))
		}),
	} {
		if err := l.opts.Metrics.Register(c); err != nil {
			return fmt.Errorf("register ledger metrics: %w", err)
		}
	}
	return nil
}

// backlog counts what the sequencer has not moved yet: the numbers in the outbox
// run without gaps but for what it took already.
func (l *Ledger) backlog() (uint64, error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix(tabOutbox), UpperBound: after(prefix(tabOutbox))})
	if err != nil {
		return 0, fmt.Errorf("read outbox: %w", err)
	}
	defer it.Close()
	if !it.First() {
		return 0, it.Error()
	}
	first := numberOf(it.Key())
	it.Last()
	return numberOf(it.Key()) - first + 1, it.Error()
}
