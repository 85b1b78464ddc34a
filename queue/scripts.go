package queue

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// The scripts use plain Lua and cjson only, so that they run on Redis 7.0,
// Valkey and the in-process Redis alike. Each tells its KEYS and ARGV.
var (
	//go:embed scripts/open.lua
	openText string
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
	changeScript = redis.NewScript(changeText)
	asideScript  = redis.NewScript(asideText)
	ringScript   = redis.NewScript(ringText)
	doneScript   = redis.NewScript(doneText)
	quietScript  = redis.NewScript(quietText)
)

// openArgs is ARGV 1 of open.lua.
type openArgs struct {
	No       string            `json:"no"`
	Seen     []string          `json:"seen"`
	Mids     []string          `json:"mids"`
	NewMid   string            `json:"newmid"`
	Fields   map[string]string `json:"fields"`
	Mail     string            `json:"mail"`
	Events   []string          `json:"events"`
	Received string            `json:"received"`
	Due      string            `json:"due"`
	Remind   [][2]string       `json:"remind"`
	Person   string            `json:"person"`
}

// changeArgs is ARGV 1 of change.lua.
type changeArgs struct {
	No       string            `json:"no"`
	V        string            `json:"v"`
	Once     string            `json:"once"`
	Seen     []string          `json:"seen"`
	NewMid   string            `json:"newmid"`
	Mail     string            `json:"mail"`
	Fields   map[string]string `json:"fields"`
	Events   []string          `json:"events"`
	Due      string            `json:"due"`
	Unremind []string          `json:"unremind"`
	Remind   [][2]string       `json:"remind"`
	Letter   string            `json:"letter"`
	LetterAt string            `json:"letterat"`
	Jobs     [][3]string       `json:"jobs"`
}

// eval runs a script that answers with a pair of words. With WAITAOF at hand
// the answer is given only after the local AOF is on disk (design D11); both
// travel in one pipeline, hence over one connection.
func (q *Queue) eval(ctx context.Context, s *redis.Script, keys []string, args any) (word, value string, err error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return "", "", fmt.Errorf("encode script arguments: %w", err)
	}
	res, err := q.durable(ctx, s, keys, string(raw))
	if err != nil {
		return "", "", err
	}
	pair, ok := res.([]any)
	if !ok || len(pair) != 2 {
		return "", "", fmt.Errorf("script answered %T", res)
	}
	word, _ = pair[0].(string)
	value, _ = pair[1].(string)
	return word, value, nil
}

func (q *Queue) durable(ctx context.Context, s *redis.Script, keys []string, args ...any) (any, error) {
	if !q.waitAOF {
		return s.Run(ctx, q.rdb, keys, args...).Result()
	}
	if err := q.loaded(ctx, s); err != nil {
		return nil, err
	}
	var cmd, wait *redis.Cmd
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		cmd = p.EvalSha(ctx, s.Hash(), keys, args...)
		wait = p.Do(ctx, "WAITAOF", 1, 0, 5000)
		return nil
	})
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		q.scripts.Delete(s.Hash())
		return q.durable(ctx, s, keys, args...)
	}
	if cmd.Err() != nil {
		return nil, cmd.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the append-only file: %w", err)
	}
	counts, err := wait.Slice()
	if err != nil || len(counts) == 0 || fmt.Sprint(counts[0]) != "1" {
		return nil, fmt.Errorf("wait for the append-only file: not on disk after 5 s")
	}
	return cmd.Val(), nil
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
