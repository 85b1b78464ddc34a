package peers

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// op is what a message is for.
type op string

const (
	opQuery   op = "query"   // records that Filter chooses
	opProve   op = "prove"   // the same with their proofs
	opOutlast op = "outlast" // whose records count from Before on
	opNext    op = "next"    // the asker took a page
	opStop    op = "stop"    // the asker has enough
	opPage    op = "page"    // one page of an answer, more to come
	opEnd     op = "end"     // the last page of an answer
	opFail    op = "fail"    // no answer: Error says why
)

// message is what nodes tell each other.
type message struct {
	Op      op                  `json:"op"`
	ID      string              `json:"id"`              // of the question
	Seq     int                 `json:"seq,omitempty"`   // of a page, from 1
	Asker   string              `json:"asker,omitempty"` // node id
	Filter  *ledger.Filter      `json:"filter,omitempty"`
	Lapse   *outlast            `json:"lapse,omitempty"`
	Entries []ledger.Entry      `json:"entries,omitempty"`
	Proof   *ledger.Proof       `json:"proof,omitempty"`
	Persons []address.SubjectID `json:"persons,omitempty"`
	Error   string              `json:"error,omitempty"`
}

// sealer seals messages under a key of the installation. The channel is bound
// to it: what was meant for one node opens for no other.
type sealer struct{ keys []cipher.AEAD }

var errForeign = errors.New("a message of the nodes does not open: another key file, or a forgery")

// newSealer takes the newest key first; the others only open.
func newSealer(keys [][]byte) (sealer, error) {
	var s sealer
	for _, k := range keys {
		if len(k) != 32 {
			return s, fmt.Errorf("key of the nodes: %d octets, 32 are needed", len(k))
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			return s, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return s, err
		}
		s.keys = append(s.keys, aead)
	}
	if len(s.keys) == 0 {
		return s, errors.New("key of the nodes: none")
	}
	return s, nil
}

func (s sealer) seal(channel string, m message) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write a message of the nodes: %w", err)
	}
	return s.keys[0].Seal(nil, nil, text, []byte(channel)), nil
}

func (s sealer) open(channel, sealed string) (m message, err error) {
	for _, k := range s.keys {
		text, err := k.Open(nil, nil, []byte(sealed), []byte(channel))
		if err == nil {
			return m, json.Unmarshal(text, &m)
		}
	}
	return m, errForeign
}
