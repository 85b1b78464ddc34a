package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/redis/go-redis/v9"

	"postern/gateway/node"
	"postern/gateway/stream"
)

// A mode that operators set stands in Redis as "enforce 1795860000123": what
// was set and when, in Unix milliseconds. Each node remembers it in its own
// store too: a Redis that was emptied, put back from a backup or failed over
// shows an older mode or none, and a stream that was enforced would be observed
// again as the file has it, so that persons without consent were mailed. The
// newer one wins and is brought back. A mode taken back is "file", not nothing.
//
//	m o <stream name>   the same text, in the node's store
const modeOfFile = "file"

// setMode is a mode as it is kept.
type setMode struct {
	mode stream.Mode // "" is that of the file
	at   int64       // Unix milliseconds; 0 before such times were kept
}

func (m setMode) String() string {
	word := string(m.mode)
	if word == "" {
		word = modeOfFile
	}
	return word + " " + strconv.FormatInt(m.at, 10)
}

// parseMode reads what is kept; false for a word of another version.
func parseMode(text string) (m setMode, ok bool) {
	word, at, dated := strings.Cut(text, " ")
	if dated {
		var err error
		if m.at, err = strconv.ParseInt(at, 10, 64); err != nil {
			return m, false
		}
	}
	switch m.mode = stream.Mode(word); m.mode {
	case stream.Observe, stream.Annotate, stream.Enforce:
		return m, true
	case modeOfFile:
		m.mode = ""
		return m, true
	}
	return m, false
}

// modeScript keeps a mode unless a newer one is there.
//
//	KEYS[1]  the modes
//	ARGV     stream, mode and time as kept, the time
//
// Returns what is kept now.
var modeScript = redis.NewScript(`
local had = redis.call('HGET', KEYS[1], ARGV[1])
if had and tonumber(string.match(had, ' (%d+)$') or '0') >= tonumber(ARGV[3]) then return had end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ARGV[2]
`)

// Modes reads the modes that operators set, and brings back those that Redis
// forgot.
func (r *Report) Modes(ctx context.Context) (map[string]stream.Mode, error) {
	all, err := r.setModes(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]stream.Mode{}
	for name, m := range all {
		if m.mode != "" {
			out[name] = m.mode
		}
	}
	return out, nil
}

func (r *Report) setModes(ctx context.Context) (map[string]setMode, error) {
	shared, err := r.rdb.HGetAll(ctx, modesKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read modes: %w", err)
	}
	all, err := r.keptModes()
	if err != nil {
		return nil, err
	}
	for name, text := range shared {
		m, ok := parseMode(text)
		kept, known := all[name]
		if !ok || known && (kept.at > m.at || kept == m) {
			continue
		}
		all[name] = m
		if err := r.keepMode(name, m); err != nil {
			return nil, err
		}
	}
	for name, m := range all {
		if had, ok := parseMode(shared[name]); ok && had.at >= m.at {
			continue
		}
		r.log.Warn("redis forgot the mode of a stream: brought back", "stream", name, "mode", m.mode)
		if err := r.shareMode(ctx, name, m); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// SetMode keeps a mode; "" returns to that of the file.
func (r *Report) SetMode(ctx context.Context, name string, mode stream.Mode) error {
	all, err := r.setModes(ctx)
	if err != nil {
		return err
	}
	m := setMode{mode, max(time.Now().UnixMilli(), all[name].at+1)}
	if err := r.shareMode(ctx, name, m); err != nil {
		return err
	}
	return r.keepMode(name, m)
}

func (r *Report) shareMode(ctx context.Context, name string, m setMode) error {
	if err := modeScript.Run(ctx, r.rdb, []string{modesKey}, name, m.String(), m.at).Err(); err != nil {
		return fmt.Errorf("keep mode: %w", err)
	}
	return nil
}

func modeKey(name string) []byte { return append([]byte{node.SpaceMeta, 'o'}, name...) }

// keptModes reads what this node remembers.
func (r *Report) keptModes() (map[string]setMode, error) {
	out := map[string]setMode{}
	if r.db == nil {
		return out, nil
	}
	it, err := r.db.NewIter(&pebble.IterOptions{LowerBound: modeKey(""), UpperBound: []byte{node.SpaceMeta, 'o' + 1}})
	if err != nil {
		return nil, fmt.Errorf("read modes of this node: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if m, ok := parseMode(string(it.Value())); ok {
			out[string(it.Key()[2:])] = m
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, fmt.Errorf("read modes of this node: %w", err)
	}
	return out, nil
}

func (r *Report) keepMode(name string, m setMode) error {
	if r.db == nil {
		return nil
	}
	if err := r.db.Set(modeKey(name), []byte(m.String()), pebble.Sync); err != nil {
		return fmt.Errorf("remember mode: %w", err)
	}
	return nil
}
