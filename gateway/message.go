package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"postern/gateway/address"
	"postern/gateway/header"
)

// fieldID names the header fields the engine looks at.
type fieldID uint8

const (
	fieldFrom fieldID = iota
	fieldSender
	fieldReplyTo
	fieldTo
	fieldCc
	fieldBcc
	fieldDate
	fieldMessageID
	fieldInReplyTo
	fieldReferences
	fieldSubject
	lastSingleton = fieldSubject

	fieldReceived = iota
	fieldStream
	fieldPMStream
	fieldSESList
	fieldMailjet
	fieldListID
	fieldFeedbackID
	fieldListUnsubscribe
	fieldListUnsubscribePost
	fieldAutoSubmitted
	fieldPrecedence
	fieldContentType
	fieldEncoding
	fieldSignature
	fieldCount
)

// fieldNames are the fields by lower-case name; the first eleven may stand at
// most once (MIME-2).
var fieldNames = map[string]fieldID{
	"from": fieldFrom, "sender": fieldSender, "reply-to": fieldReplyTo, "to": fieldTo, "cc": fieldCc, "bcc": fieldBcc,
	"date": fieldDate, "message-id": fieldMessageID, "in-reply-to": fieldInReplyTo, "references": fieldReferences, "subject": fieldSubject,
	"received": fieldReceived, "x-postern-stream": fieldStream, "x-pm-message-stream": fieldPMStream,
	"x-ses-list-management-options": fieldSESList, "x-mailjet-campaign": fieldMailjet, "list-id": fieldListID,
	"feedback-id": fieldFeedbackID, "list-unsubscribe": fieldListUnsubscribe, "list-unsubscribe-post": fieldListUnsubscribePost,
	"auto-submitted": fieldAutoSubmitted, "precedence": fieldPrecedence, "content-type": fieldContentType,
	"content-transfer-encoding": fieldEncoding, "dkim-signature": fieldSignature,
}

// singletonNames are the names as a refusal shows them.
var singletonNames = [lastSingleton + 1]string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Message-ID", "In-Reply-To", "References", "Subject"}

// message is what was received, as facts.
type message struct {
	hdr   *header.Header
	body  []byte
	first [fieldCount]int32 // index of the first field of each name among the spans
	count [fieldCount]int32
	from  []address.Address
	parts []header.Part // leaves of the MIME structure
	stray bool          // a line of the header is no field
	blank bool          // a line of the header is white space alone
}

// value is the unfolded value of the first such field.
func (m *message) value(f fieldID) string {
	if m.count[f] == 0 {
		return ""
	}
	return m.hdr.Value(m.hdr.Spans()[m.first[f]])
}

func (m *message) has(f fieldID) bool { return m.count[f] > 0 }

// fromDomain is the domain that stands in From, of the first mailbox.
func (m *message) fromDomain() string {
	if len(m.from) == 0 {
		return ""
	}
	return m.from[0].Domain()
}

// idHash is the hash of the Message-ID under which records know the message.
func (m *message) idHash() string { return MessageIDHash(m.value(fieldMessageID)) }

// MessageIDHash is the hash under which records know a message: hex of SHA-256
// over its Message-ID without brackets, "" for none.
func MessageIDHash(id string) string {
	if id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Trim(id, "<> ")))
	return hex.EncodeToString(sum[:])
}

// scan reads the header once.
func scan(hdr, body []byte) *message {
	m := &message{hdr: header.Parse(hdr), body: body}
	var buf [32]byte
	for i, s := range m.hdr.Spans() {
		if !s.IsField() {
			m.stray = true
			continue
		}
		m.blank = m.blank || m.hdr.HasBlankLine(s)
		name := m.hdr.Name(s)
		if len(name) > len(buf) {
			continue
		}
		low := buf[:len(name)]
		for k, c := range name {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			low[k] = c
		}
		id, ok := fieldNames[string(low)]
		if !ok {
			continue
		}
		if m.count[id]++; m.count[id] == 1 {
			m.first[id] = int32(i)
		}
	}
	return m
}

// read takes a message apart and refuses what no relay may pass on: loops,
// doubled singleton fields, an unusable From, limits exceeded (MIME-1..5,
// SMTP-13).
func (e *Engine) read(raw []byte) (*message, *Denial) {
	hdr, body := header.Split(raw)
	if len(hdr) > e.opts.MaxHeader {
		return nil, malformed("header")
	}
	m := scan(hdr, body)
	if int(m.count[fieldReceived]) >= e.opts.MaxReceived || e.traced(m) {
		return nil, &Denial{Reason: Loop}
	}
	if len(hdr) > 0 && (hdr[0] == ' ' || hdr[0] == '\t') {
		return nil, malformed("header")
	}
	for id, n := range m.count[:lastSingleton+1] {
		if n > 1 {
			return nil, malformed(singletonNames[id])
		}
	}
	from, ok := mailboxes(m.value(fieldFrom))
	if !ok || len(from) == 0 || (len(from) > 1 && !m.has(fieldSender)) {
		return nil, malformed("From")
	}
	m.from = from
	var err error
	switch m.parts, err = header.Walk(m.hdr, m.body, e.mimeLimits()); {
	case errors.Is(err, header.ErrDepth):
		return nil, malformed("mime-depth")
	case err != nil:
		return nil, malformed("mime-parts")
	}
	return m, nil
}

func (e *Engine) mimeLimits() header.Limits {
	return header.Limits{Depth: e.opts.MaxDepth, Parts: e.opts.MaxParts}
}

func malformed(field string) *Denial { return &Denial{Reason: Malformed, Detail: field} }

// traced tells whether the message has been here so often that it is in a
// loop. Once or twice is none: an alias or a forwarding mailbox sends it back
// for somebody else.
func (e *Engine) traced(m *message) bool {
	if int(m.count[fieldReceived]) < e.opts.MaxPasses {
		return false
	}
	mark, passes := []byte("("+e.opts.TraceMark+")"), 0
	for _, s := range m.hdr.Spans() {
		if m.hdr.Is(s, "Received") && bytes.Contains(m.hdr.Bytes(s), mark) {
			passes++
		}
	}
	return passes >= e.opts.MaxPasses
}

// hasEightBit tells whether there is any octet over 127.
func hasEightBit(b []byte) bool {
	for len(b) >= 8 {
		if (b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7])&0x80 != 0 {
			return true
		}
		b = b[8:]
	}
	for _, c := range b {
		if c&0x80 != 0 {
			return true
		}
	}
	return false
}
