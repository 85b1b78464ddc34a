package queue

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unique"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/vault"
)

// fields of the case hash. All is closed words, ids and dates; texts and
// addresses are in the sealed mails alone.
func (c *Case) fields() map[string]string {
	return map[string]string{
		"controller": c.Controller,
		"state":      string(c.State),
		"kind":       string(c.Kind),
		"labels":     joinLabels(c.Labels),
		"abstain":    strconv.FormatBool(c.Abstain),
		"language":   c.Language,
		"regime":     c.Regime,
		"rule":       c.Rule,
		"asker":      c.Asker,
		"received":   millis(c.Received),
		"opened":     millis(c.OpenedAt),
		"due":        millis(c.Due),
		"extended":   strconv.FormatBool(c.Extended),
		"ended":      millis(c.EndedAt),
		"subject":    subjectText(c.Subject),
		"grade":      string(c.Grade),
		"owner":      c.Owner,
		"role":       c.Role,
		"flags":      strings.Join(c.Flags, ","),
		"linked":     strings.Join(c.Linked, ","),
		"proven":     strings.Join(c.Proven, ","),
	}
}

// changed gives the fields that differ from those of before.
func (c *Case) changed(before map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range c.fields() {
		if before[k] != v {
			out[k] = v
		}
	}
	return out
}

func parseCase(no string, f map[string]string) (*Case, error) {
	if f["state"] == "" {
		return nil, fmt.Errorf("case %s: %w", no, ErrUnknown)
	}
	c := &Case{
		Number: no, Controller: one(f["controller"]), State: State(one(f["state"])), Kind: classifier.Kind(one(f["kind"])),
		Labels: splitLabels(f["labels"]), Abstain: f["abstain"] == "true", Language: one(f["language"]),
		Regime: one(f["regime"]), Rule: one(f["rule"]), Asker: one(f["asker"]), Received: fromMillis(f["received"]),
		OpenedAt: fromMillis(f["opened"]), Due: fromMillis(f["due"]), Extended: f["extended"] == "true",
		EndedAt: fromMillis(f["ended"]), Grade: Grade(one(f["grade"])), Owner: one(f["owner"]), Role: f["role"],
		Flags: splitWords(f["flags"]), Linked: splitWords(f["linked"]), Proven: splitWords(f["proven"]),
	}
	c.Version, _ = strconv.ParseInt(f["v"], 10, 64)
	if f["subject"] != "" {
		id, err := address.ParseSubjectID(f["subject"])
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", no, err)
		}
		c.Subject = id
	}
	return c, nil
}

// one is the same word for all cases that have it: an index of a hundred
// thousand holds it once, and comparing it touches no further memory.
func one(word string) string { return unique.Make(word).Value() }

// storedMail is an Incoming with its addresses in clear, sealed as a whole.
type storedMail struct {
	Incoming
	From      string
	Forwarded string
}

func sealMail(k *vault.Key, no string, in Incoming) (string, error) {
	s := storedMail{Incoming: in, From: in.From.Plain(), Forwarded: in.Forwarded.Plain()}
	s.Incoming.From, s.Incoming.Forwarded = address.Address{}, address.Address{}
	raw, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode mail of case %s: %w", no, err)
	}
	return k.Seal(raw, "mail:"+no), nil
}

func openMail(k *vault.Key, no, sealed string) (Incoming, error) {
	raw, err := k.Open(sealed, "mail:"+no)
	if err != nil {
		return Incoming{}, err
	}
	var s storedMail
	if err := json.Unmarshal(raw, &s); err != nil {
		return Incoming{}, fmt.Errorf("decode mail of case %s: %w", no, err)
	}
	in := s.Incoming
	in.From, in.Forwarded = parsedOrZero(s.From), parsedOrZero(s.Forwarded)
	return in, nil
}

func parsedOrZero(s string) address.Address {
	a, err := address.Parse(s)
	if err != nil {
		return address.Address{}
	}
	return a
}

// storedEvent is an Event in the log list; the note is sealed.
type storedEvent struct {
	Time   int64             `json:"t"`
	Actor  string            `json:"by"`
	Action Action            `json:"do"`
	Reason string            `json:"why,omitempty"`
	From   State             `json:"from,omitempty"`
	To     State             `json:"to,omitempty"`
	Data   map[string]string `json:"data,omitempty"`
	Note   string            `json:"note,omitempty"`
}

func (e Event) encode(k *vault.Key, no string) (string, error) {
	s := storedEvent{e.Time.UnixMilli(), e.Actor, e.Action, e.Reason, e.From, e.To, e.Data, ""}
	if e.Note != "" {
		s.Note = k.Seal([]byte(e.Note), "note:"+no)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode event of case %s: %w", no, err)
	}
	return string(raw), nil
}

func decodeEvent(k *vault.Key, no string, seq int, text string) (Event, error) {
	var s storedEvent
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return Event{}, fmt.Errorf("decode event %d of case %s: %w", seq, no, err)
	}
	e := Event{seq, time.UnixMilli(s.Time).UTC(), s.Actor, s.Action, s.Reason, s.From, s.To, s.Data, ""}
	if s.Note != "" && k != nil {
		note, err := k.Open(s.Note, "note:"+no)
		if err != nil {
			return Event{}, err
		}
		e.Note = string(note)
	}
	return e, nil
}

func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

func fromMillis(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

func subjectText(s address.SubjectID) string {
	if s.IsZero() {
		return ""
	}
	return s.String()
}

func splitWords(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func joinLabels(l []classifier.Label) string {
	out := make([]string, len(l))
	for i, v := range l {
		out[i] = string(v)
	}
	return strings.Join(out, ",")
}

func splitLabels(s string) []classifier.Label {
	var out []classifier.Label
	for _, w := range splitWords(s) {
		out = append(out, classifier.Label(one(w)))
	}
	return out
}
