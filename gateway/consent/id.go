package consent

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"postern/gateway/address"
)

// eventID tells the events of one subject apart. The text form given out is
// the subject's id, "-", and this in base32: it finds its subject by itself.
type eventID [8]byte

var eventEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

var errBadID = errors.New("not an event id")

func (id eventID) of(s address.SubjectID) string {
	return s.String() + "-" + eventEncoding.EncodeToString(id[:])
}

// parseID reads what eventID.of wrote.
func parseID(text string) (address.SubjectID, eventID, error) {
	var id eventID
	head, tail, ok := strings.Cut(text, "-")
	if !ok {
		return address.SubjectID{}, id, errBadID
	}
	s, err := address.ParseSubjectID(head)
	if err != nil {
		return s, id, errBadID
	}
	b, err := eventEncoding.DecodeString(tail)
	if err != nil || len(b) != len(id) {
		return s, id, errBadID
	}
	copy(id[:], b)
	if id == (eventID{}) || id.of(s) != text {
		return s, id, errBadID // zero names none, and each id has one text
	}
	return s, id, nil
}

// idFor makes the id of an event: from the caller's idempotency id, so that a
// repeated call is one event, or at random.
func idFor(s address.SubjectID, given string) (eventID, error) {
	var id eventID
	if given == "" {
		if _, err := rand.Read(id[:]); err != nil {
			return id, fmt.Errorf("make event id: %w", err)
		}
		return id, nil
	}
	if owner, own, err := parseID(given); err == nil && owner == s {
		return own, nil
	}
	return hashID(given), nil
}

// hashID derives an id from parts.
func hashID(parts ...string) (id eventID) {
	h := sha256.New()
	h.Write([]byte("postern consent event"))
	for _, p := range parts {
		fmt.Fprintf(h, "\x00%d:%s", len(p), p)
	}
	copy(id[:], h.Sum(nil))
	return id
}
