package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"postern/queue/fulfil"
)

// job is one piece of work of the stream. It holds ids only.
type job struct {
	Case string `json:"case"`
	Do   string `json:"do"` // "opened", "mail", "trail", "remind", "send", "fulfil", "hook", "destroy", "stop"
	N    string `json:"n"`  // numbers of cases, index of mail, event, letter or task, or the reminder's kind
	Try  string `json:"try"`
}

// jobTime bounds one piece of work; it ends before the lease does.
const jobTime = 45 * time.Second

// Run works until ctx ends: new work, retries, reminders, and what a dead
// worker left. It returns nil on cancel.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.makeGroup(ctx); err != nil {
		return err
	}
	if err := q.PublishNotices(ctx); err != nil && ctx.Err() == nil {
		q.o.Log.Error("processing notice", "err", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { q.crew(ctx); return nil })
	g.Go(func() error { q.tick(ctx); return nil })
	g.Go(func() error { q.takeOver(ctx); return nil })
	return g.Wait()
}

// crew keeps as many workers as are wanted: more begin at once, those above the
// number end once they have done what they hold.
func (q *Queue) crew(ctx context.Context) {
	running, ended := map[int]bool{}, make(chan int)
	for ctx.Err() == nil {
		for i := range q.rules().Workers {
			if !running[i] {
				running[i] = true
				go func() { q.consume(ctx, i); ended <- i }()
			}
		}
		select {
		case <-ctx.Done():
		case <-q.crewed:
		case i := <-ended:
			delete(running, i)
		}
	}
	for len(running) > 0 {
		delete(running, <-ended)
	}
}

func (q *Queue) makeGroup(ctx context.Context) error {
	err := q.rdb.XGroupCreateMkStream(ctx, keyWork, group, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("make worker group: %w", err)
	}
	return nil
}

// consume reads new work; a blocked read ends after a tick, so that stopping
// takes no longer. While Redis is away it waits and tries again.
func (q *Queue) consume(ctx context.Context, i int) {
	name := q.o.Node + "-" + strconv.Itoa(i)
	for ctx.Err() == nil && i < q.rules().Workers {
		res, err := q.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: name, Streams: []string{keyWork, ">"}, Count: 8, Block: q.o.Tick,
		}).Result()
		if err != nil && !isNil(err) {
			if ctx.Err() != nil {
				return
			}
			q.o.Log.Warn("work can't be read", "err", err)
			if strings.HasPrefix(err.Error(), "NOGROUP") {
				_ = q.makeGroup(ctx)
			}
			pause(ctx, q.o.Tick)
			continue
		}
		for _, s := range res {
			q.work(ctx, s.Messages)
		}
	}
}

// tick rings the clocks and starts the daily deletion runs.
func (q *Queue) tick(ctx context.Context) {
	t := time.NewTicker(q.o.Tick)
	defer t.Stop()
	orphansOf := "" // the day the folder was last looked through
	for {
		if _, err := q.Ring(ctx); err != nil && ctx.Err() == nil {
			q.o.Log.Warn("clocks can't be read", "err", err)
		}
		if err := q.sweepDaily(ctx); err != nil && ctx.Err() == nil {
			q.o.Log.Error("deletion run failed", "err", err)
		}
		if day := q.o.Now().UTC().Format(time.DateOnly); day != orphansOf {
			orphansOf = day
			if _, err := q.SweepOrphans(ctx); err != nil && ctx.Err() == nil {
				q.o.Log.Error("the vault folder was not swept", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// takeOver does what workers hold that have been silent for the lease. It has
// a goroutine of its own, so that slow work never holds up the clocks.
func (q *Queue) takeOver(ctx context.Context) {
	t := time.NewTicker(q.o.Tick)
	defer t.Stop()
	start := "0-0"
	for {
		msgs, next, err := q.rdb.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: keyWork, Group: group, Consumer: q.o.Node + "-claim", MinIdle: q.o.Lease, Start: start, Count: 32,
		}).Result()
		if err == nil {
			start = next
			q.work(ctx, msgs)
		} else if ctx.Err() == nil {
			q.o.Log.Warn("work of others can't be taken over", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// forgetWorkers drops the names of workers that have been gone for a day and
// hold nothing.
func (q *Queue) forgetWorkers(ctx context.Context) error {
	list, err := q.rdb.XInfoConsumers(ctx, keyWork, group).Result()
	if err != nil {
		return fmt.Errorf("list workers: %w", err)
	}
	for _, c := range list {
		if c.Pending == 0 && c.Idle > 24*time.Hour {
			if err := q.rdb.XGroupDelConsumer(ctx, keyWork, group, c.Name).Err(); err != nil {
				return fmt.Errorf("forget worker: %w", err)
			}
		}
	}
	return nil
}

// Ring moves reminders and retries that are due now into the work stream and
// tells how many. Run does this every tick.
func (q *Queue) Ring(ctx context.Context) (int, error) {
	total := 0
	for {
		n, err := ringScript.Run(ctx, q.rdb, []string{keyRemind, keyLater, keyWork}, millis(q.o.Now()), 200).Int()
		if err != nil {
			return total, fmt.Errorf("ring clocks: %w", err)
		}
		if total += n; n < 200 {
			return total, nil
		}
	}
}

// work does a batch. What is left when ctx ends goes back into the stream
// without costing a try.
func (q *Queue) work(ctx context.Context, msgs []redis.XMessage) {
	for _, m := range msgs {
		j := job{text(m.Values["case"]), text(m.Values["do"]), text(m.Values["n"]), text(m.Values["try"])}
		if ctx.Err() != nil {
			each, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobTime)
			q.end(each, m.ID, j, "back", q.o.Now(), "")
			cancel()
			continue
		}
		// Work in hand is finished although the process is asked to stop.
		each, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobTime)
		q.finish(each, m.ID, j, q.do(each, j))
		cancel()
	}
}

// do performs one job; all of them may be repeated.
func (q *Queue) do(ctx context.Context, j job) error {
	switch j.Do {
	case "mail":
		index, err := strconv.Atoi(j.N)
		if err != nil {
			return errors.Join(errPermanent, err)
		}
		return q.handleMail(ctx, j.Case, index)
	case "opened":
		return q.resume(ctx, strings.Fields(j.N))
	case "trail":
		return q.prove(ctx, j.Case, j.N)
	case "remind":
		return q.remind(ctx, j.Case, j.N)
	case "send":
		return q.send(ctx, j.Case, j.N)
	case "fulfil":
		return q.fulfil(ctx, j.Case, j.N)
	case "hook":
		return q.hook(ctx, j.Case, j.N)
	case "destroy":
		return q.destroyOriginal(ctx, j.Case, j.N)
	case "stop":
		return q.stop(ctx, j.Case)
	}
	return fmt.Errorf("%w: unknown work %q", errPermanent, j.Do)
}

// errPermanent marks work that no retry can mend.
var errPermanent = errors.New("can't be done")

// errBinding marks an opt-out that could not be bound: such work is never given
// up, for a person who said no would be mailed.
var errBinding = errors.New("opt-out not bound")

// finish acknowledges a job, or sets it up for another try, or gives it up
// where an operator sees it.
func (q *Queue) finish(ctx context.Context, id string, j job, err error) {
	verb, at, why := "done", q.o.Now(), ""
	try, _ := strconv.Atoi(j.Try)
	switch {
	case err == nil || errors.Is(err, ErrUnknown):
	case errors.Is(err, errBinding):
		verb, at = "later", at.Add(min(q.o.Backoff<<min(try, 20), time.Minute))
		q.o.Log.Error("an opt-out is not bound yet, it is tried for ever", "case", j.Case, "try", try+1, "err", err)
		if try+1 == q.o.Attempts {
			controller, _ := q.rdb.HGet(ctx, keyCase(j.Case), "controller").Result() // for whom to tell; "" tells the hook alone
			q.tell(ctx, Notice{Kind: "alert", Case: j.Case, Controller: controller, Reason: "opt-out-not-bound"})
		}
	case errors.Is(err, errPermanent) || fulfil.Permanent(err) || try+1 >= q.o.Attempts:
		verb, why = "dead", "gave-up"
		q.o.Log.Error("work given up, see the dead letters", "case", j.Case, "do", j.Do, "tries", try+1, "err", err)
		controller, _ := q.rdb.HGet(ctx, keyCase(j.Case), "controller").Result() // for whom to tell; "" tells the hook alone
		if j.Do != "hook" {                                                      // word of a hook that can't be told would go the same way
			q.tell(ctx, Notice{Kind: "dead", Case: j.Case, Controller: controller, Reason: j.Do})
		}
		q.troubled(ctx, j)
	default:
		verb = "later"
		at = at.Add(min(q.o.Backoff<<min(try, 20), time.Hour))
		q.o.Log.Warn("work failed, to be tried again", "case", j.Case, "do", j.Do, "try", try+1, "err", err)
	}
	j.Try = strconv.Itoa(try + 1)
	q.end(ctx, id, j, verb, at, why)
}

// troubled marks the case of work that was given up, so that an operator sees
// it there too.
func (q *Queue) troubled(ctx context.Context, j job) {
	if j.Case == "" || j.Do == "trail" || j.Do == "hook" { // a mark would be an event to prove in its turn
		return
	}
	_, _, err := q.change(ctx, j.Case, "", func(c *Case, ch *changing) error {
		c.addFlag(FlagTrouble)
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActAlert, Reason: "gave-up", Data: map[string]string{"do": j.Do, "n": j.N}})
		return nil
	})
	if err == nil && j.Do == "fulfil" {
		err = q.gaveUp(ctx, j)
	}
	if err != nil && !errors.Is(err, ErrUnknown) {
		q.o.Log.Error("trouble could not be marked in its case", "case", j.Case, "err", err)
	}
}

// end takes an entry out of the stream and puts the job where verb says.
func (q *Queue) end(ctx context.Context, id string, j job, verb string, at time.Time, why string) {
	q.metrics.work.WithLabelValues(kindOf(j.Do), verb).Inc()
	raw, err := json.Marshal(j)
	if err == nil {
		err = doneScript.Run(ctx, q.rdb, []string{keyWork, keyLater, keyDead}, group, id, verb, string(raw), millis(at), why).Err()
	}
	if err != nil {
		q.o.Log.Warn("work not acknowledged, it will be repeated", "case", j.Case, "do", j.Do, "err", err)
	}
}

// kindOf keeps the metric's label a closed set, whatever the stream holds.
func kindOf(do string) string {
	switch do {
	case "opened", "mail", "trail", "remind", "send", "fulfil", "hook", "destroy", "stop":
		return do
	}
	return "unknown"
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
