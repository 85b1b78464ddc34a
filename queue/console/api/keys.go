package api

// Every key of this room. It shares the prefix and the hash tag of the console
// (queue/console/auth), so that one script may touch several of them on a Redis
// Cluster.
const (
	prefix = "pc:{console}:"

	keyTokens = prefix + "tokens" // set of token ids; ended ones are removed when it is read; no end
	keyHooks  = prefix + "hooks"  // hash: subscription id → JSON, its secret sealed; no end
)

// keyToken is the hash of a token: name, digest (SHA-256 of the whole token,
// hex), scopes, by, created, expires, used; it lives until it expires.
func keyToken(id string) string { return prefix + "token:" + id }

// keyRepeat is the hash of a request that may be repeated: print (what was
// asked), status, head, body (sealed), wrapped; lives keepAnswers, or
// workTime while it is at work.
func keyRepeat(id string) string { return prefix + "repeat:" + id }
