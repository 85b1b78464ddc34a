// Package ledger is the append-only, tamper-evident record of every verdict,
// consent event and case move of this node (design D15).
package ledger
