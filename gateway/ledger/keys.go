package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"postern/gateway/address"
	"postern/gateway/node"
)

// Tables within the key space of the room; never renumbered.
const (
	tabOutbox  byte = 'o' // counter 8 → staged record
	tabEntry   byte = 'e' // index 8 → head and leaf
	tabHash    byte = 'h' // stored hash index 8 → 32 octets (tlog.StoredHashIndex); read only, see tabHashes
	tabHashes  byte = 'g' // index 8 of a record → the stored hashes of it and those behind it, 32 octets each
	tabHead    byte = 'z' // → size of the tree 8, then its signed checkpoint
	tabAnchor  byte = 'a' // day "2006-01-02" → signed checkpoint
	tabPerson  byte = 'k' // subject 16 → its wrapped key
	tabBySubj  byte = 's' // subject 16, index 8 → nothing
	tabByID    byte = 'i' // hash of the record id 16 → index 8, for ids given by the caller
	tabByMsg   byte = 'm' // hash of message 16, index 8 → nothing
	tabByRef   byte = 'r' // hash of ref 16, index 8 → nothing
	tabPending byte = 'p' // day of the anchor that still has to be handed out
	tabHanded  byte = 't' // → when the last anchor was handed out, Unix seconds 8
	tabByKind  byte = 'y' // hash of a rare kind 16, time 8, index 8 → nothing; stays when the record is erased or pruned
	tabIndexed byte = 'x' // there once the index by kind covers the whole tree
)

// rareKinds are asked for as a whole, as by an audit; there are few of them
// among the verdicts of years.
var rareKinds = []Kind{KindConfig, KindRetention, KindView}

// kindKey is the index key of a record of a rare kind; nil for the others.
func kindKey(h head, index uint64) []byte {
	if !slices.Contains(rareKinds, h.kind) {
		return nil
	}
	return withNumber(withNumber(hashedKey(tabByKind, string(h.kind)), uint64(h.time)), index)
}

const prefixLen = 2

func prefix(table byte) []byte { return []byte{node.SpaceLedger, table} }

func withNumber(k []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(k, n) }

func numberKey(table byte, n uint64) []byte {
	return appendNumberKey(make([]byte, 0, prefixLen+8), table, n)
}

func appendNumberKey(k []byte, table byte, n uint64) []byte {
	return withNumber(append(k, node.SpaceLedger, table), n)
}

func personKey(s address.SubjectID) []byte { return append(prefix(tabPerson), s[:]...) }

func subjectKey(s address.SubjectID) []byte { return append(prefix(tabBySubj), s[:]...) }

// hashedKey is the index key of a text that has no fixed length.
func hashedKey(table byte, text string) []byte {
	h := sha256.Sum256([]byte(text))
	return append(prefix(table), h[:16]...)
}

// indexKey is a key under which a record is found by its subject, message or
// ref.
type indexKey [prefixLen + 16 + 8]byte

// appendIndexKeys are the keys of the record at index.
func appendIndexKeys(out []indexKey, s address.SubjectID, message, ref string, index uint64) []indexKey {
	add := func(table byte, hash []byte) {
		k := indexKey{node.SpaceLedger, table}
		copy(k[prefixLen:], hash[:16])
		binary.BigEndian.PutUint64(k[prefixLen+16:], index)
		out = append(out, k)
	}
	if !s.IsZero() {
		add(tabBySubj, s[:])
	}
	if message != "" {
		h := sha256.Sum256([]byte(message))
		add(tabByMsg, h[:])
	}
	if ref != "" {
		h := sha256.Sum256([]byte(ref))
		add(tabByRef, h[:])
	}
	return out
}

// numberOf reads the number a key ends with.
func numberOf(key []byte) uint64 {
	if len(key) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key[len(key)-8:])
}

// after is the first key behind all that begin with p.
func after(p []byte) []byte {
	end := bytes.Clone(p)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
