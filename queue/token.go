package queue

import (
	"crypto/hmac"
	"strings"

	"postern/gateway/address"
	"postern/gateway/stream"
)

// CaseToken is the word behind "case+" in the reverse-path of a case's
// letters: the number and a keyed hash, so that only bounces of letters we
// sent can mark a case (design D19, AR-10).
func (q *Queue) CaseToken(number string) string {
	plain := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(number, "PC-"), "-", ""))
	return plain + q.vault.Lookups("path", number)[0][:12]
}

// ParseCaseToken reads what CaseToken wrote, under any live key; "" if it is
// not ours.
func (q *Queue) ParseCaseToken(text string) string {
	if len(text) != numberLen+1+12 {
		return ""
	}
	number := canonical(text[:numberLen+1])
	if number == "" {
		return ""
	}
	for _, mac := range q.vault.Lookups("path", number) {
		if hmac.Equal([]byte(strings.ToLower(text[numberLen+1:])), []byte(mac[:12])) {
			return number
		}
	}
	return ""
}

// replyPath is where bounces of a letter go: the configured mailbox with the
// case's token behind a plus sign, else the contact address.
func (q *Queue) replyPath(c stream.Controller, number string, contact address.Address) address.Address {
	base, err := address.Parse(q.rules().ReplyPath[c.ID])
	if err != nil {
		return contact
	}
	out, err := address.Parse(base.Local() + "+" + q.CaseToken(number) + "@" + base.Domain())
	if err != nil {
		return contact
	}
	return out
}
