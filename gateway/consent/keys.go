package consent

import (
	"strings"

	"postern/gateway/address"
)

// Redis keys, all under the prefix "pc:". What is legal
// evidence or a person's "no" has no TTL (design D11).
//
//	pc:{<subject id>}  hash; everything about one subject towards one controller
//	    k                    the controller's id
//	    s                    suppression log (suppentry.go)
//	    c<exact><purpose>    consent log of one exact form and purpose (entry.go);
//	                         <exact> is 8 bytes, all zero: every form of the person
//	    m                    the id under a newer key that took this one's place
//	pc:t:<hash>        string; wording and circumstances shared by many events (terms.go)
//	pc:keys            hash; key id -> fingerprint of the subject-id key
//	pc:nodes           hash; node id -> how far its journal is applied;
//	                   "lost:" and node id -> up to where its loss was accepted
//	pc:job:sweep       string with TTL; which node looked for ended consents last
const (
	keyFingerprints = "pc:keys"
	keyNodes        = "pc:nodes"
	subjectPrefix   = "pc:{"

	fieldController  = "k"
	fieldSuppression = "s"
	fieldMoved       = "m"
	consentPrefix    = 'c'
)

// anyForm stands in a consent field for every exact form of the person: a
// withdrawal binds them all, as comparing without case and tags fails safe
// (UTF8-3).
var anyForm address.ExactHash

func subjectKey(s address.SubjectID) string { return subjectPrefix + s.String() + "}" }

// subjectOfKey is the way back; ok is false for keys of another shape.
func subjectOfKey(key string) (address.SubjectID, bool) {
	text, found := strings.CutPrefix(key, subjectPrefix)
	text, closed := strings.CutSuffix(text, "}")
	s, err := address.ParseSubjectID(text)
	return s, found && closed && err == nil
}

func consentField(exact address.ExactHash, purpose string) string {
	b := make([]byte, 0, 1+len(exact)+len(purpose))
	b = append(b, consentPrefix)
	b = append(b, exact[:]...)
	return string(append(b, purpose...))
}

// parseConsentField splits a field name; ok is false for other fields.
func parseConsentField(field string) (exact address.ExactHash, purpose string, ok bool) {
	if len(field) <= 1+len(exact) || field[0] != consentPrefix {
		return exact, "", false
	}
	copy(exact[:], field[1:])
	return exact, field[1+len(exact):], true
}

func termsKey(h termsHash) string { return "pc:t:" + h.String() }
