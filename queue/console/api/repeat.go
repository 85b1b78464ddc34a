package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	keepAnswers = 24 * time.Hour
	workTime    = 3 * time.Minute // after that a request that never ended may be tried again
	longestKey  = 255
)

// beginScript claims a key of a repeatable request.
//
//	KEYS[1]  the request
//	ARGV[1]  what is asked; ARGV[2] workTime in ms
//
// Returns nothing where it was free, else what was asked, the status (false
// while at work), the sealed answer and its wrapped key.
var beginScript = redis.NewScript(`
local f = redis.call('HMGET', KEYS[1], 'print', 'status', 'answer', 'wrapped')
if f[1] then return f end
redis.call('HSET', KEYS[1], 'print', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {}`)

// kept is an answer as it is sealed.
type kept struct {
	Body  []byte
	Media string
	ETag  string
}

// once does a request of a key once: a second one with the same content gets
// the first answer, one with other content is refused. What failed here is not
// kept, so that it can be tried again.
func (a *API) once(w http.ResponseWriter, c *call, rt *route, key string) (answer, error) {
	if len(key) > longestKey {
		return answer{}, problem("request", "the Idempotency-Key is longer than 255 octets")
	}
	id := hashOf(c.token.ID, key)
	print := hashOf(c.r.Method, c.r.URL.Path, c.r.URL.RawQuery, string(c.body))
	got, err := beginScript.Run(c.ctx(), a.d.Redis, []string{keyRepeat(id)}, print, workTime.Milliseconds()).Slice()
	if err != nil {
		return answer{}, fmt.Errorf("begin repeatable request: %w", err)
	}
	if len(got) > 0 {
		return a.again(w, id, print, got)
	}
	c.key = id
	ans, err := rt.do(c)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), 5*time.Second)
	defer cancel()
	if err != nil {
		p := problemOf(err)
		if p.Status >= 500 || p.Status == http.StatusTooManyRequests || p.Status == http.StatusPreconditionFailed {
			if err := a.d.Redis.Del(ctx, keyRepeat(id)).Err(); err != nil {
				a.o.Log.Warn("the key of a failed request stays until its time is over", "err", err)
			}
			return answer{}, err
		}
		body, encErr := json.Marshal(p)
		if encErr != nil {
			return answer{}, encErr
		}
		a.keep(ctx, id, p.Status, kept{Body: body, Media: "application/problem+json"})
		return answer{}, err
	}
	k := kept{Body: ans.raw, Media: ans.media, ETag: ans.etag}
	if ans.body != nil {
		if k.Body, err = json.Marshal(ans.body); err != nil {
			return answer{}, err
		}
		k.Media = "application/json"
	}
	a.keep(ctx, id, ans.status, k)
	return ans, nil
}

// keep seals an answer for a day. If it fails, a repeat acts again after
// workTime, and what it does carries the same ids.
func (a *API) keep(ctx context.Context, id string, status int, k kept) {
	raw, err := json.Marshal(k)
	if err == nil {
		var wrapped string
		if key, w, makeErr := a.seals.Make("repeat:" + id); makeErr != nil {
			err = makeErr
		} else {
			wrapped = w
			_, err = a.d.Redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.HSet(ctx, keyRepeat(id), "status", status, "answer", key.Seal(raw, "repeat:"+id), "wrapped", wrapped)
				p.PExpire(ctx, keyRepeat(id), keepAnswers)
				return nil
			})
		}
	}
	if err != nil {
		a.o.Log.Error("answer of a repeatable request not kept", "err", err)
	}
}

// again answers a repeat.
func (a *API) again(w http.ResponseWriter, id, print string, got []any) (answer, error) {
	f := make([]string, 4)
	for i := range f {
		if i < len(got) {
			f[i], _ = got[i].(string)
		}
	}
	switch {
	case f[0] != print:
		return answer{}, problem("reused", "")
	case f[1] == "":
		p := problem("at-work", "")
		p.retry = 1
		return answer{}, p
	}
	key, err := a.seals.Unwrap("repeat:"+id, f[3])
	if err != nil {
		return answer{}, err
	}
	raw, err := key.Open(f[2], "repeat:"+id)
	if err != nil {
		return answer{}, err
	}
	var k kept
	if err := json.Unmarshal(raw, &k); err != nil {
		return answer{}, fmt.Errorf("decode kept answer: %w", err)
	}
	status, err := strconv.Atoi(f[1])
	if err != nil {
		return answer{}, fmt.Errorf("decode kept answer: %w", err)
	}
	w.Header().Set("Idempotency-Replayed", "true")
	return answer{status: status, raw: k.Body, media: k.Media, etag: k.ETag}, nil
}

// event is the id of what a request does, "" where it may not be repeated: the
// same request leads to the same id, also after a crash.
func (c *call) event() string {
	if c.key == "" {
		return ""
	}
	return "api-" + c.key[:32]
}

// hashOf hashes parts, each with its length.
func hashOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
