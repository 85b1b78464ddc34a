package unsubscribe

import (
	"encoding/base64"
	"encoding/json"
	"time"
)

// purpose of a sealed link: a link of one kind never opens as another.
const (
	linkUndo = "undo"
)

// link is the content of a sealed link. Unlike a token it may hold text and
// an end.
type link struct {
	Kind   string `json:"k"`
	ID     string `json:"i"` // of the suppression, or of the given event
	Token  []byte `json:"t"` // subject, stream and day, as in a token
	Ends   int64  `json:"e"` // Unix seconds
	Locale string `json:"l,omitempty"`
}

// SealUndo makes the text of an undo link: POST to /undo/TEXT takes back that
// one suppression until ends. The registry keeps the rule that it works once
// and for 24 h (design D7); the text keeps others from guessing ids.
func (c *Codec) SealUndo(suppressionID string, t Token, ends time.Time) string {
	return c.sealLink(link{Kind: linkUndo, ID: suppressionID, Token: t.bytes(), Ends: ends.Unix()})
}

func (c *Codec) sealLink(l link) string {
	b, err := json.Marshal(l)
	if err != nil { // strings, octets and a number always encode
		return ""
	}
	sealed := c.newest.box.Seal([]byte{c.newest.id}, nil, b, []byte{c.newest.id})
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// openLink reads a link of one kind; an ended one gives ok with expired set.
func (c *Codec) openLink(kind, text string, now time.Time) (l link, expired, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < 2 {
		return l, false, false
	}
	k := c.byID[raw[0]]
	if k == nil {
		return l, false, false
	}
	plain, err := k.box.Open(nil, nil, raw[1:], raw[:1])
	if err != nil || json.Unmarshal(plain, &l) != nil || l.Kind != kind {
		return link{}, false, false
	}
	return l, now.Unix() > l.Ends, true
}

func (l link) token() (t Token, ok bool) {
	if len(l.Token) != plainLen {
		return t, false
	}
	copy(t.Subject[:], l.Token)
	t.Stream = uint16(l.Token[16])<<8 | uint16(l.Token[17])
	t.Day = uint16(l.Token[18])<<8 | uint16(l.Token[19])
	return t, true
}

func (t Token) bytes() []byte {
	return append(append([]byte(nil), t.Subject[:]...), byte(t.Stream>>8), byte(t.Stream), byte(t.Day>>8), byte(t.Day))
}
