// Package consent holds consent records and suppressions: the one truth asked
// at send time. Redis shares it between nodes, the node's journal makes sure
// that no opt-out is ever forgotten (design D8, D9, D11). It owns the Redis
// key prefix "pc:".
package consent
