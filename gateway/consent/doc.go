// Package consent holds consent records and suppressions: the one truth asked
// at send time. Redis shares it between nodes, the node's journal makes sure
// that no opt-out is ever forgotten (design D8, D9, D11). It owns the Redis
// key prefix "pc:".
//
// Everything about a person is one Redis hash of logs to which entries are only
// added: a consent log per exact form of the address and purpose, and one log of
// suppressions for all forms. State is folded from them when it is asked, so
// that the order in which entries arrive never matters, and replay, import and
// rotation of keys are unions. Wording and circumstances, which many persons
// share, are kept once under the hash of their content.
//
// An opt-out is first committed to the node's journal, with its ledger record
// in the same batch, then added to Redis, then answered. Each node's progress
// stands in Redis as a number that only rises; every look-up reads the numbers
// along, and a Redis in which one has fallen is not believed until the node it
// belongs to has replayed its journal. In a cluster the numbers live on one
// master: a fail-over of another is noticed by Run within its tick, and then
// the whole journal is replayed. To take over the journal of a node that is gone,
// make a Registry over its store and call Replay.
//
// In doubt the answer is an error, never "active".
package consent
