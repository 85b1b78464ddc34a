package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"postern/gateway/ledger"
	"postern/gateway/stream"
)

// ModeStore keeps the modes that operators set, shared by all nodes. They win
// over the file (design D2).
type ModeStore interface {
	Modes(ctx context.Context) (map[string]stream.Mode, error)
	SetMode(ctx context.Context, name string, m stream.Mode) error
	// Observed tells since when a stream has been observed: now, where it was
	// not known to be. With observing false it forgets.
	Observed(ctx context.Context, name string, observing bool, now time.Time) (time.Time, error)
}

// rules are the streams and the modes set over them; immutable.
type rules struct {
	set   *stream.Set
	modes map[string]stream.Mode
}

// mode is the mode that holds for a stream now.
func (r *rules) mode(st stream.Stream) stream.Mode {
	if m, ok := r.modes[st.Name]; ok {
		return m
	}
	return st.Mode
}

// builtinStream is the service stream of a company's own bounces (design D1).
// Its number is 0, which no configured stream has.
func builtinStream() stream.Stream {
	return stream.Stream{Name: "bounces", Kind: stream.Service, Mode: stream.Enforce}
}

// byNumber finds the stream of a spooled message.
func (r *rules) byNumber(n uint16) (stream.Stream, bool) {
	if n == 0 {
		return builtinStream(), true
	}
	return r.set.ByNumber(n)
}

// change swaps the rules for edited ones.
func (e *Engine) change(edit func(*rules)) {
	for {
		old := e.rules.Load()
		next := &rules{set: old.set, modes: maps.Clone(old.modes)}
		if next.modes == nil {
			next.modes = map[string]stream.Mode{}
		}
		edit(next)
		if e.rules.CompareAndSwap(old, next) {
			return
		}
	}
}

// SetStreams takes a new table of streams, as after SIGHUP. Messages already
// judged keep the table they were judged by; spooled ones meet the new one.
// An error leaves the old table in place; it also tells of numbers that came to
// mean something else, as tokens and waiting messages carry them.
func (e *Engine) SetStreams(set *stream.Set) error {
	if err := errors.Join(e.checkStreams(set), sameNumbers(e.Streams(), set)); err != nil {
		return err
	}
	e.change(func(r *rules) { r.set = set })
	return nil
}

// sameNumbers wants that no number of a marketing stream is given to another
// kind of mail or another controller: who unsubscribed from it would not get
// that mail, and what waits would leave without consent.
func sameNumbers(old, set *stream.Set) error {
	var errs []error
	for _, was := range old.Streams() {
		st, ok := set.ByNumber(was.Number)
		if ok && was.Kind == stream.Marketing && (st.Kind != was.Kind || st.Controller != was.Controller) {
			errs = append(errs, fmt.Errorf("stream %q: number %d was that of %q, which was marketing of %s: numbers are given once for ever; keep that stream as retired and take a new number",
				st.Name, st.Number, was.Name, was.Controller))
		}
	}
	return errors.Join(errs...)
}

// Streams gives the table in force.
func (e *Engine) Streams() *stream.Set { return e.rules.Load().set }

// SetMode puts a mode over that of the file, in this process alone; "" takes
// it back. ChangeMode makes it last.
func (e *Engine) SetMode(name string, m stream.Mode) {
	e.change(func(r *rules) {
		if m == "" {
			delete(r.modes, name)
			return
		}
		r.modes[name] = m
	})
}

// Mode is the mode in force for a stream, "" for an unknown one.
func (e *Engine) Mode(name string) stream.Mode {
	r := e.rules.Load()
	st, ok := r.set.ByName(name)
	if !ok {
		return ""
	}
	return r.mode(st)
}

// ChangeMode sets a mode for all nodes: recorded in the ledger, kept in the
// mode store, then in force. "" returns to the file's mode. actor is as in
// ledger.Record.
func (e *Engine) ChangeMode(ctx context.Context, name string, m stream.Mode, actor string) error {
	switch m {
	case stream.Observe, stream.Annotate, stream.Enforce, "":
	default:
		return fmt.Errorf("mode %q is none of observe, annotate, enforce", m)
	}
	st, ok := e.Streams().ByName(name)
	if !ok {
		return fmt.Errorf("stream %q is not configured", name)
	}
	if e.deps.Trail != nil {
		rec := ledger.Record{Time: e.opts.Now().UTC(), Kind: ledger.KindConfig, Controller: st.Controller, Actor: actor,
			Action: "mode", Reason: string(m), Stream: st.Number, Data: map[string]string{"before": string(e.Mode(name))}}
		if err := e.deps.Trail.Append(ctx, rec); err != nil {
			return fmt.Errorf("record mode of stream %s: %w", name, err)
		}
	}
	if e.opts.Modes != nil {
		if err := e.opts.Modes.SetMode(ctx, name, m); err != nil {
			return fmt.Errorf("keep mode of stream %s: %w", name, err)
		}
		if _, err := e.opts.Modes.Observed(ctx, name, false, e.opts.Now()); err != nil {
			return fmt.Errorf("renew mode of stream %s: %w", name, err)
		}
	}
	e.SetMode(name, m)
	return nil
}

// LoadModes takes the modes kept in the mode store.
func (e *Engine) LoadModes(ctx context.Context) error {
	if e.opts.Modes == nil {
		return nil
	}
	modes, err := e.opts.Modes.Modes(ctx)
	if err != nil {
		return fmt.Errorf("load modes: %w", err)
	}
	e.change(func(r *rules) { r.modes = modes })
	return nil
}

// Stale is a stream whose observe mode has outlived its purpose.
type Stale struct {
	Stream string
	Since  time.Time
}

// ObserveLimit is how long a stream may be observed before it warns; setting
// the mode again by name renews it (design D2).
const ObserveLimit = 30 * 24 * time.Hour

// StaleObserve lists the streams observed for longer than ObserveLimit.
func (e *Engine) StaleObserve(ctx context.Context) ([]Stale, error) {
	if e.opts.Modes == nil {
		return nil, nil
	}
	r, now := e.rules.Load(), e.opts.Now()
	var out []Stale
	for _, st := range r.set.Streams() {
		since, err := e.opts.Modes.Observed(ctx, st.Name, !st.Retired && r.mode(st) == stream.Observe, now)
		if err != nil {
			return nil, fmt.Errorf("since when stream %s is observed: %w", st.Name, err)
		}
		if !since.IsZero() && now.Sub(since) > ObserveLimit {
			out = append(out, Stale{st.Name, since})
		}
	}
	return out, nil
}

// Run keeps the modes in step with those other nodes set, every five seconds,
// and warns of streams observed for too long, every hour, until ctx ends.
// While the store is away the last modes hold.
func (e *Engine) Run(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	var warned time.Time
	for {
		err := e.LoadModes(ctx)
		if now := e.opts.Now(); err == nil && now.Sub(warned) >= time.Hour {
			err = e.warnStale(ctx)
			warned = now
		}
		if err != nil && ctx.Err() == nil {
			e.opts.Log.Warn("modes not refreshed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (e *Engine) warnStale(ctx context.Context) error {
	stale, err := e.StaleObserve(ctx)
	e.met.stale.Set(float64(len(stale)))
	for _, s := range stale {
		e.opts.Log.Warn("stream is only observed: enforce it, or renew by setting observe again", "stream", s.Stream, "since", s.Since.UTC().Format(time.DateOnly))
	}
	return err
}
