// Package ledger is the append-only, tamper-evident record of every verdict,
// consent event and case move of this node (design D15).
//
// A record is staged in the batch of what it tells of: both are durable or
// neither. Run moves staged records into a Merkle tree (RFC 6962 hashing) in
// the same store, each in one atomic batch, so that a crash loses none and
// doubles none, and signs the tree's head as a C2SP checkpoint.
//
// What a record says is encrypted under a key of its subject, which is wrapped
// by a master key outside the store. Destroying the subject's key makes the
// records unreadable and leaves the tree as it is (ST-6). Pruned records keep
// their hash; a retention record in the tree says which they are, so that a
// missing record that nobody declared is found by Verify.
//
// An export is a folder in the layout of C2SP tlog-tiles: checkpoint,
// tile/0/..., tile/entries/..., and the daily checkpoints as anchors. Verify
// needs nothing else, and the public key.
package ledger
