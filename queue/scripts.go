package queue

import (
	"context"
	_ "embed"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// The scripts use plain Lua and cjson only, so that they run on Redis 7.0,
// Valkey and the in-process Redis alike. Each tells its KEYS and ARGV.
var (
	//go:embed scripts/open.lua
	openText string
	//go:embed scripts/settle.lua
	settleText string
	//go:embed scripts/change.lua
	changeText string
	//go:embed scripts/aside.lua
	asideText string
	//go:embed scripts/ring.lua
	ringText string
	//go:embed scripts/done.lua
	doneText string
	//go:embed scripts/quiet.lua
	quietText string

	//go:embed scripts/again.lua
	againText string

	againScript  = redis.NewScript(againText)
	openScript   = redis.NewScript(openText)
	settleScript = redis.NewScript(settleText)
	changeScript = redis.NewScript(changeText)
	asideScript  = redis.NewScript(asideText)
	ringScript   = redis.NewScript(ringText)
	doneScript   = redis.NewScript(doneText)
	quietScript  = redis.NewScript(quietText)
)

// changeArgs is ARGV 1 of change.lua.
type changeArgs struct {
	No        string            `json:"no"`
	V         string            `json:"v"`
	Once      string            `json:"once"`
	Seen      []string          `json:"seen"`
	NewMid    string            `json:"newmid"`
	Mail      string            `json:"mail"`
	Known     []string          `json:"known,omitempty"`
	Rewrite   string            `json:"rewrite,omitempty"`
	RewriteAt int               `json:"rewriteat"`
	Fields    map[string]string `json:"fields"`
	Events    []string          `json:"events"`
	Due       string            `json:"due"`
	Unremind  []string          `json:"unremind"`
	Remind    [][2]string       `json:"remind"`
	Letter    string            `json:"letter"`
	LetterAt  string            `json:"letterat"`
	Jobs      [][3]string       `json:"jobs"`
}

// call is one run of a script.
type call struct {
	keys []string
	args []any
}

// One run of a script keeps Redis from everybody else: it takes this many
// cases and octets at most.
const (
	runCases  = 32
	runOctets = 256 << 10
)

// parcels cuts what a script is to do with many cases into runs.
type parcels struct {
	shared []string // keys of every run, before those of its cases
	lead   int      // arguments of every run before those of its cases, left for the caller to fill
	calls  []call
	cases  int // in the last run
	octets int
}

// full tells whether a case with these arguments begins another run, after a
// first one.
func (p *parcels) full(args []any) bool {
	return len(p.calls) > 0 && (p.cases == runCases || p.octets+octetsOf(args) > runOctets)
}

// add gives a case to the last run, or to a new one where that is full.
func (p *parcels) add(keys []string, args []any) {
	if len(p.calls) == 0 || p.full(args) {
		p.calls = append(p.calls, call{keys: slices.Clone(p.shared), args: make([]any, p.lead)})
		p.cases, p.octets = 0, 0
	}
	last := &p.calls[len(p.calls)-1]
	last.keys, last.args = append(last.keys, keys...), append(last.args, args...)
	p.cases, p.octets = p.cases+1, p.octets+octetsOf(args)
}

func octetsOf(args []any) (n int) {
	for _, a := range args {
		n += len(text(a))
	}
	return n
}

// rows is durable for scripts that answer with a row of words; in all there
// have to be as many as told.
func (q *Queue) rows(ctx context.Context, s *redis.Script, calls []call, want int) ([]string, error) {
	answers, err := q.durable(ctx, s, calls...)
	if err != nil {
		return nil, err
	}
	words := make([]string, 0, want)
	for _, a := range answers {
		row, _ := a.([]any)
		for _, w := range row {
			words = append(words, text(w))
		}
	}
	if len(words) != want {
		return nil, fmt.Errorf("a script answered %d words in place of %d", len(words), want)
	}
	return words, nil
}

// pairOf reads an answer of two words.
func pairOf(res any) (word, value string, err error) {
	pair, ok := res.([]any)
	if !ok || len(pair) != 2 {
		return "", "", fmt.Errorf("script answered %T", res)
	}
	return text(pair[0]), text(pair[1]), nil
}

// durable runs a script once per call, one after another. With WAITAOF at hand
// the answers are given only after the local AOF is on disk (design D11); all
// travel in one pipeline, hence over one connection. It fails as a whole at
// the first error: calls may be repeated.
func (q *Queue) durable(ctx context.Context, s *redis.Script, calls ...call) ([]any, error) {
	if err := q.loaded(ctx, s); err != nil {
		return nil, err
	}
	cmds := make([]*redis.Cmd, len(calls))
	var wait *redis.Cmd
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, c := range calls {
			cmds[i] = p.EvalSha(ctx, s.Hash(), c.keys, c.args...)
		}
		if q.waitAOF {
			wait = p.Do(ctx, "WAITAOF", 1, 0, 5000)
		}
		return nil
	})
	out := make([]any, len(calls))
	for i, cmd := range cmds {
		if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			q.scripts.Delete(s.Hash())
			return q.durable(ctx, s, calls...)
		}
		if cmd.Err() != nil {
			return nil, cmd.Err()
		}
		out[i] = cmd.Val()
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the append-only file: %w", err)
	}
	if wait == nil {
		return out, nil
	}
	counts, err := wait.Slice()
	if err != nil || len(counts) == 0 || fmt.Sprint(counts[0]) != "1" {
		return nil, fmt.Errorf("wait for the append-only file: not on disk after 5 s")
	}
	return out, nil
}

// loaded makes sure the server knows the script, once per process and again
// after it forgot.
func (q *Queue) loaded(ctx context.Context, s *redis.Script) error {
	if _, ok := q.scripts.Load(s.Hash()); ok {
		return nil
	}
	if err := s.Load(ctx, q.rdb).Err(); err != nil {
		return fmt.Errorf("load script: %w", err)
	}
	q.scripts.Store(s.Hash(), true)
	return nil
}
