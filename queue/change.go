package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/classifier"
	"postern/queue/vault"
)

// Flags of a case that operators see.
const (
	FlagAlert         = "alert"         // authority letter or breach report
	FlagNoAddress     = "no-address"    // nobody to bind or to answer
	FlagOtherSender   = "other-sender"  // a mail came from another address
	FlagUndeliverable = "undeliverable" // a mail of ours did not arrive
	FlagTrouble       = "trouble"       // work on it was given up
	FlagManual        = "manual"        // a person has to read the original mail
	FlagHold          = "hold"          // an address named in the text waits for an operator
	FlagConfidential  = "confidential"  // it came to a confidential mailbox: a role of its own sees it
	FlagApproval      = "approval"      // an operator asks for the approval of what can't be undone
	FlagNews          = "news"          // the person wrote again, nobody acted since
)

// changing is what one change adds to a case.
type changing struct {
	mail  *Incoming
	seen  []string
	known []string // further names under which the case's mails may be met
	// rewritten takes the place of the mail at rewriteAt.
	rewritten *Incoming
	rewriteAt int
	newMid    string
	events    []Event
	before    map[string]string // the case as it was read
	extra     map[string]string // further fields to set
	letter    *Letter
	jobs      [][3]string // do, n, time in Unix ms
	due       string      // "-" keeps
	unremind  []string
	remind    [][2]string
}

// changeTries bounds how often a change is computed anew because another one
// came between.
const changeTries = 50

func isNil(err error) bool { return errors.Is(err, redis.Nil) }

// load reads a case and its key.
func (q *Queue) load(ctx context.Context, no string) (*Case, map[string]string, *vault.Key, error) {
	f, err := q.rdb.HGetAll(ctx, keyCase(no)).Result()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read case %s: %w", no, err)
	}
	c, err := parseCase(no, f)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err := q.vault.Unwrap(no, f["key"])
	if err != nil {
		return nil, nil, nil, err
	}
	return c, f, key, nil
}

// change reads a case, lets fn alter it, and stores the outcome in one step if
// nobody else changed it meanwhile; else it starts over. once names a field
// that makes the change happen a single time. It returns the script's words.
func (q *Queue) change(ctx context.Context, no, once string, fn func(*Case, *changing) error) (word, value string, err error) {
	for range changeTries {
		c, before, key, err := q.load(ctx, no)
		if err != nil {
			return "", "", err
		}
		if once != "" && before[once] != "" {
			return "once", "", nil
		}
		one, err := q.changed(c, before, key, once, fn)
		if err != nil {
			return "", "", err
		}
		answer, err := q.durable(ctx, changeScript, one)
		if err == nil {
			word, value, err = pairOf(answer[0])
		}
		if err != nil {
			return "", "", fmt.Errorf("change case %s: %w", no, err)
		}
		if word == "gone" {
			return "", "", fmt.Errorf("case %s: %w", no, ErrUnknown)
		}
		if word != "again" {
			return word, value, nil
		}
	}
	return "", "", fmt.Errorf("change case %s: others changed it %d times meanwhile", no, changeTries)
}

// changed lets fn alter a case that was read with the fields before, and gives
// the run of the script that stores the outcome.
func (q *Queue) changed(c *Case, before map[string]string, key *vault.Key, once string, fn func(*Case, *changing) error) (call, error) {
	state, no := c.State, c.Number
	ch := &changing{before: before, extra: map[string]string{}, due: "-", unremind: []string{}, remind: [][2]string{}, jobs: [][3]string{}}
	err := fn(c, ch)
	if err != nil {
		return call{}, err
	}
	if state.Live() && !c.State.Live() {
		c.EndedAt, ch.due, ch.unremind = q.o.Now(), "", allReminders(no)
	}
	args := changeArgs{No: no, V: before["v"], Once: once, Seen: append([]string{}, ch.seen...), NewMid: ch.newMid,
		Fields: c.changed(before), Events: []string{}, Due: ch.due, Unremind: ch.unremind, Remind: ch.remind, Jobs: ch.jobs}
	maps.Copy(args.Fields, ch.extra)
	if ch.letter != nil {
		args.LetterAt = millis(ch.letter.At)
		if args.Letter, err = ch.letter.seal(key, no); err != nil {
			return call{}, err
		}
	}
	if ch.mail != nil {
		if args.Mail, err = sealMail(key, no, *ch.mail); err != nil {
			return call{}, err
		}
	}
	if args.Known = ch.known; ch.rewritten != nil {
		args.RewriteAt = ch.rewriteAt
		if args.Rewrite, err = sealMail(key, no, *ch.rewritten); err != nil {
			return call{}, err
		}
	}
	for i := range ch.events {
		e := &ch.events[i]
		e.stamp(q.o.Now(), state, c.State)
		text, err := e.encode(key, no)
		if err != nil {
			return call{}, err
		}
		args.Events = append(args.Events, text)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return call{}, fmt.Errorf("encode change of case %s: %w", no, err)
	}
	keys := []string{keyCase(no), keyMails(no), keyLog(no), keySeen, keyMID, keyDue, keyRemind, keyWork, keyOut(no), keyLater, keyTouched, keyTick}
	return call{keys, []any{string(raw)}}, nil
}

// stamp fills what the caller of change left out.
func (e *Event) stamp(now time.Time, from, to State) {
	if e.Time.IsZero() {
		e.Time = now
	}
	if e.From == "" && e.To == "" && from != to {
		e.From, e.To = from, to
	}
}

// reopen makes an ended case live again: the clock of the new mail counts, as
// it is a new request or the reminder of one believed done.
func (ch *changing) reopen(q *Queue, c *Case, in Incoming) error {
	to, err := next(c.State, ActReopen)
	if err != nil {
		return err
	}
	p := q.periodOf(q.controller(c.Controller), c.Regime, in.Received)
	c.State, c.Due, c.Rule, c.Extended, c.EndedAt = to, p.due, p.rule.ID, false, time.Time{}
	ch.due = millis(p.due)
	ch.remind = remindMembers(c.Number, p.reminders(in.Received), q.o.Now())
	ch.events = append(ch.events, Event{Actor: "rule", Action: ActReopen, Reason: "mail"})
	return nil
}

// acted takes back the mark that the person wrote again, once an operator does
// something.
func (c *Case) acted(actor string) {
	if strings.HasPrefix(actor, "operator:") {
		c.Flags = slices.DeleteFunc(c.Flags, func(f string) bool { return f == FlagNews })
	}
}

func (c *Case) dropFlag(flag string) {
	c.Flags = slices.DeleteFunc(c.Flags, func(f string) bool { return f == flag })
}

// doubt takes back that the person is known.
func (c *Case) doubt() {
	c.dropFlag(FlagIdentified)
	c.Proven = nil
}

// asksMore adds labels to what a case asks. Who asked was shown for what was
// asked before: a further right that needs proof needs it anew, for anybody may
// write into a case (GDPR Art. 12(6)). proven tells that the proof covers them.
func (c *Case) asksMore(labels []classifier.Label, proven bool) (fresh bool) {
	for _, l := range labels {
		if slices.Contains(c.Labels, l) {
			continue
		}
		c.Labels, fresh = append(c.Labels, l), true
		if !proven && slices.Contains(provable, l) {
			c.doubt()
		}
	}
	return fresh
}

func (c *Case) addFlag(flag string) {
	if !slices.Contains(c.Flags, flag) {
		c.Flags = append(c.Flags, flag)
	}
}
