package console

import (
	"context"
	"sync"
	"time"

	"postern/gateway/ledger"
)

// verifyJob checks the whole ledger of this node in the background: it takes
// as long as there are records, and nobody should have to keep a page open.
type verifyJob struct {
	check func(context.Context) (ledger.Report, error)
	now   func() time.Time
	wake  chan struct{}

	mu    sync.Mutex
	state verifyState
}

// verifyState is how far it is.
type verifyState struct {
	Running bool
	Begun   time.Time
	Ended   time.Time // of the last one that ended; zero: none since the start
	Took    time.Duration
	Report  ledger.Report
	Failed  bool // it could not be checked at all; why is in the log
}

func newVerifyJob(check func(context.Context) (ledger.Report, error), now func() time.Time) *verifyJob {
	return &verifyJob{check: check, now: now, wake: make(chan struct{}, 1)}
}

// begin starts a check unless one runs.
func (j *verifyJob) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state.Running {
		return
	}
	j.state.Running, j.state.Begun = true, j.now()
	j.wake <- struct{}{} // holds one: Running lets no second one in
}

func (j *verifyJob) look() verifyState {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state
}

// run makes the checks that are begun, one after the other, until ctx ends.
func (j *verifyJob) run(ctx context.Context, failed func(error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-j.wake:
		}
		report, err := j.check(ctx)
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		j.mu.Lock()
		j.state.Running, j.state.Ended, j.state.Report, j.state.Failed = false, j.now(), report, err != nil
		j.state.Took = j.state.Ended.Sub(j.state.Begun)
		j.mu.Unlock()
	}
}
