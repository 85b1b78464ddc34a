package queue

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// Flags around identity.
const (
	FlagNotMe      = "not-me"     // the owner of the address says they did not ask
	FlagIdentified = "identified" // the person confirmed, or an operator waived it with a reason
)

// Purposes of mailed links. The case's field of the same name holds the hash
// of the link that is good, with "-until" when it ends.
const (
	linkChallenge = "challenge"
	linkStatus    = "status"
)

// promptly is how soon after receipt identity has to be asked for, so that the
// pause is no delay of our own making (DSR-6).
const promptly = 5 * 24 * time.Hour

var linkEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Challenge asks the address on file whether its owner made the request: a
// letter with a one-time link, valid Options.ProofWithin (DSR-5). to is what
// the company's systems hold; the zero Address takes what a lookup found, else
// the sender's. What was looked up is never shown to the sender. A new challenge ends an older one.
func (q *Queue) Challenge(ctx context.Context, number string, to address.Address, actor string) error {
	no := FindCaseNo(number)
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return err
	}
	base := q.rules().LinkBase[c.Controller]
	if base == "" {
		return fmt.Errorf("%w: no address of the confirmation page is configured for controller %q", ErrDraft, c.Controller)
	}
	token, err := newToken()
	if err != nil {
		return err
	}
	// What a system knows the person under stands for who wrote as well; an
	// address that somebody typed in stands for itself alone.
	onFile := to.IsZero()
	if onFile {
		if to, err = q.addressOnFile(ctx, &c); err != nil {
			return err
		}
	}
	until := q.proofUntil(&c)
	days := max(1, int(until.Sub(q.o.Now()).Hours()/24))
	lang := q.texts().Pick(c.Language, q.controller(c.Controller).Language)
	effect := ActAsk
	if c.State == Identity { // asked before: the mail may have been lost
		effect = ActSent
	}
	l, err := q.write(&c, Draft{Step: reply.Identity, To: to, Effect: effect, Actor: actor, Values: reply.Values{
		"link": strings.TrimSuffix(base, "/") + "/" + token, "right": q.rights(lang, c.Labels),
		"n": fmt.Sprint(days),
	}})
	if err != nil {
		return err
	}
	l.At = q.o.Now()
	hash := q.vault.Lookups("link", token)[0]
	// The link has to lead somewhere before the letter can leave.
	if err := q.rdb.HSet(ctx, keyLinks, hash, no+" "+linkChallenge).Err(); err != nil {
		return fmt.Errorf("challenge of case %s: %w", no, err)
	}
	_, err = q.enqueue(ctx, no, l, func(_ *Case, ch *changing) error {
		ch.extra["challenge"], ch.extra["challenge-until"], ch.extra["challenge-at"] = hash, millis(until), millis(q.o.Now())
		ch.extra["challenge-answer"] = ""
		ch.extra["challenge-for"] = q.o.Keyring.Identify(c.Controller, l.To).ID.String()
		ch.extra["challenge-own"] = strconv.FormatBool(onFile)
		ch.remind = append(ch.remind, [2]string{no + " " + RemindProof, millis(until)})
		return nil
	})
	return err
}

// addressOnFile is the address that a system gave when it was asked to look the person
// up, as {"address": "..."}; zero where none did.
func (q *Queue) addressOnFile(ctx context.Context, c *Case) (address.Address, error) {
	tasks, err := q.Tasks(ctx, c.Number)
	if err != nil {
		return address.Address{}, err
	}
	for _, t := range slices.Backward(tasks) {
		if t.Verb != fulfil.Lookup || t.Status != fulfil.Done {
			continue
		}
		raw, err := q.TaskData(ctx, c.Number, t.Index)
		if errors.Is(err, ErrUnknown) {
			continue // it knows the person under the address it was asked for
		}
		if err != nil {
			return address.Address{}, err
		}
		var found struct{ Address string }
		if err := json.Unmarshal(raw, &found); err == nil && found.Address != "" {
			return parsedOrZero(found.Address), nil
		}
	}
	return address.Address{}, nil
}

// proofUntil is when a challenge ends: after Options.ProofWithin, but where the
// clock does not stand still, early enough for a refusal within the period.
func (q *Queue) proofUntil(c *Case) time.Time {
	until := q.o.Now().Add(q.rules().ProofWithin)
	if q.rules().PauseIdentity[c.Controller] {
		return until
	}
	p := q.periodByRule(c)
	if last := p.calendar.Add(c.Due.In(p.loc), -1); last.Before(until) && last.After(q.o.Now()) {
		return last
	}
	return until
}

// Question is what the page behind a challenge link shows: nothing that is
// held about the person, only what was asked and when.
type Question struct {
	Controller string
	Language   string
	Labels     []classifier.Label
	Received   time.Time
	Until      time.Time
	Answered   bool // already confirmed or refused
}

// Challenged reads a link. Unknown, replaced and expired ones are one and the
// same ErrUnknown, so that nothing can be learnt by trying.
func (q *Queue) Challenged(ctx context.Context, token string) (Question, error) {
	c, f, err := q.byLink(ctx, linkChallenge, token)
	if err != nil {
		return Question{}, err
	}
	return Question{c.Controller, c.Language, c.Labels, c.Received, fromMillis(f["challenge-until"]), f["challenge-answer"] != ""}, nil
}

// Confirm answers a challenge once: yes identifies the person, no warns the
// operators that someone asks in another's name. Repeating the same answer
// changes nothing; the first one counts.
func (q *Queue) Confirm(ctx context.Context, token string, yes bool) error {
	c, _, err := q.byLink(ctx, linkChallenge, token)
	if err != nil {
		return err
	}
	var warned bool
	_, _, err = q.change(ctx, c.Number, "", func(c *Case, ch *changing) error {
		warned = false
		if ch.before["challenge-answer"] != "" {
			return nil
		}
		if !yes {
			ch.extra["challenge-answer"] = "no"
			c.addFlag(FlagNotMe)
			c.doubt()
			warned = true
			ch.events = append(ch.events, Event{Actor: "link", Action: ActAlert, Reason: "not-me"})
			return nil
		}
		ch.extra["challenge-answer"] = "yes"
		m := Move{Action: ActIdentify, Actor: "link", Reason: "confirmed-by-link", proven: ch.before["challenge-for"]}
		if ch.before["challenge-own"] == "true" {
			c.proves(subjectText(c.Subject))
		}
		if _, err := next(c.State, ActIdentify); err == nil {
			return q.apply(c, ch, m)
		}
		// The case moved on meanwhile: what the person said is kept all the same.
		ch.events = append(ch.events, Event{Actor: m.Actor, Action: ActNote, Reason: m.Reason})
		if c.State.Live() {
			c.proves(m.proven)
			q.identified(c, ch)
		}
		return nil
	})
	if warned {
		q.tell(ctx, Notice{Kind: "alert", Case: c.Number, Controller: c.Controller, Reason: "not-me"})
		if c.State == Merged {
			err = errors.Join(err, q.notMe(ctx, c))
		}
	}
	return err
}

// notMe marks the case that a merged one lives on in: who owns the address says
// they did not ask.
func (q *Queue) notMe(ctx context.Context, merged *Case) error {
	no, err := q.living(ctx, merged.Number, merged.Controller)
	if err != nil || no == "" {
		return err
	}
	_, _, err = q.change(ctx, no, "not-me:"+merged.Number, func(c *Case, ch *changing) error {
		c.addFlag(FlagNotMe)
		c.doubt()
		ch.events = append(ch.events, Event{Actor: "link", Action: ActAlert, Reason: "not-me", Data: map[string]string{"case": merged.Number}})
		return nil
	})
	return err
}

func (q *Queue) byLink(ctx context.Context, purpose, token string) (*Case, map[string]string, error) {
	no, kind, hash, err := q.findLink(ctx, token)
	if err != nil {
		return nil, nil, err
	}
	c, f, _, err := q.load(ctx, no)
	if err != nil {
		return nil, nil, err
	}
	if kind != purpose || f[purpose] != hash || !q.o.Now().Before(fromMillis(f[purpose+"-until"])) {
		return nil, nil, fmt.Errorf("one-time link: %w", ErrUnknown)
	}
	return c, f, nil
}

// findLink looks a link up: which case, what for, and its hash.
func (q *Queue) findLink(ctx context.Context, token string) (no, kind, hash string, err error) {
	if token == "" || len(token) > 100 {
		return "", "", "", fmt.Errorf("one-time link: %w", ErrUnknown)
	}
	for _, hash := range q.vault.Lookups("link", strings.ToLower(token)) {
		to, err := q.rdb.HGet(ctx, keyLinks, hash).Result()
		if isNil(err) {
			continue
		}
		if err != nil {
			return "", "", "", fmt.Errorf("one-time link: %w", err)
		}
		no, kind, _ := strings.Cut(to, " ")
		return no, kind, hash, nil
	}
	return "", "", "", fmt.Errorf("one-time link: %w", ErrUnknown)
}

// Kinds of link, as LinkKind tells them.
const (
	LinkChallenge = linkChallenge // is it you? Challenged, Confirm
	LinkStatus    = linkStatus    // the person's page: Status, AddMessage, Withdraw
	LinkDownload  = linkDownload  // OpenPackage, FetchPackage
	LinkTask      = linkTask      // a colleague's: TaskByToken, AnswerTask
)

// LinkKind tells which page a token behind Options.LinkBase leads to. Whether
// it is still good is told by the functions of that page; an unknown one is
// ErrUnknown.
func (q *Queue) LinkKind(ctx context.Context, token string) (string, error) {
	_, kind, _, err := q.findLink(ctx, token)
	kind, _, _ = strings.Cut(kind, ":")
	return kind, err
}

// proves notes whose address was shown to be that of who asks.
func (c *Case) proves(subject string) {
	if subject == "" {
		return
	}
	if own := subjectText(c.Subject); len(c.Proven) == 0 && own != "" && slices.Contains(c.Flags, FlagIdentified) {
		c.Proven = []string{own} // shown before, and not noted as long as it stood alone
	}
	if !slices.Contains(c.Proven, subject) {
		c.Proven = append(c.Proven, subject)
	}
}

// ownShown tells whether the person's own address was shown to be that of who
// asks.
func (c *Case) ownShown() bool {
	return slices.Contains(c.Flags, FlagIdentified) && (len(c.Proven) == 0 || slices.Contains(c.Proven, subjectText(c.Subject)))
}

// covers tells whether the proof of who asks covers an address: the person's
// own, or one whose owner confirmed, or that an operator named with the waiver.
// Who confirmed at another address that somebody typed in, as a sender may ask
// for, has shown nothing of the address that the mail came from.
func (q *Queue) covers(c *Case, a address.Address) bool {
	shown := c.Proven
	if c.ownShown() {
		shown = append(slices.Clone(shown), subjectText(c.Subject))
	}
	return slices.ContainsFunc(q.subjectIDs(c.Controller, a), func(id string) bool { return slices.Contains(shown, id) })
}

// identified marks the person as known and, where the controller's authority
// lets the clock stand still meanwhile, moves the due date by the time that
// passed (DSR-6).
func (q *Queue) identified(c *Case, ch *changing) {
	c.addFlag(FlagIdentified)
	c.dropFlag(FlagNotMe) // asked anew, or an operator knows better and says why
	ch.unremind = append(ch.unremind, c.Number+" "+RemindProof)
	asked := fromMillis(ch.before["challenge-at"])
	if !q.rules().PauseIdentity[c.Controller] || asked.IsZero() || asked.Sub(c.Received) > promptly || ch.before["paused"] != "" {
		return
	}
	p := q.periodByRule(c)
	paused := q.o.Now().Sub(asked)
	start := c.Received.Add(paused)
	p.due = p.rule.End(start, p.calendar, p.loc)
	if c.Extended {
		if end, ok := p.rule.ExtendedEnd(start, p.calendar, p.loc); ok {
			p.due = end
		}
	}
	c.Due = p.due
	ch.extra["paused"] = fmt.Sprint(int(paused.Seconds()))
	ch.due = millis(p.due)
	ch.unremind = append(ch.unremind, clockReminders(c.Number)...)
	ch.remind = append(ch.remind, remindMembers(c.Number, p.reminders(start), q.o.Now())...)
	ch.events = append(ch.events, Event{Actor: "rule", Action: ActPaused, Reason: "identity", Data: map[string]string{"seconds": ch.extra["paused"], "due": millis(p.due)}})
}

// unproven refuses a request whose sender did not confirm in time, naming the
// authority and the way to court (DSR-3, Art. 12(4)), where the configuration
// lets that happen by rule; else an operator sends it. Repeating changes nothing.
func (q *Queue) unproven(ctx context.Context, no string) error {
	if !q.rules().AutoRefuse {
		return nil
	}
	c, _, err := q.Show(ctx, no)
	if err != nil || c.State != Identity {
		return err
	}
	l, err := q.write(&c, Draft{Step: reply.Unproven, Effect: ActDeny, Reason: "identity-not-shown", Actor: "rule"})
	if err != nil {
		return err
	}
	l.At = q.o.Now()
	once := "unproven:" + millis(c.Due)
	_, _, err = q.change(ctx, no, "", func(c *Case, ch *changing) error {
		if ch.before[once] != "" || c.State != Identity || slices.Contains(c.Flags, FlagIdentified) {
			return nil // told before, or they confirmed just now
		}
		ch.extra[once], ch.letter = "1", &l
		return nil
	})
	return err
}

// rights names what was asked in the person's language.
func (q *Queue) rights(lang string, labels []classifier.Label) string {
	var out []string
	for _, l := range labels {
		out = append(out, q.texts().Right(lang, string(l)))
	}
	if len(out) == 0 {
		return q.texts().Right(lang, "request")
	}
	return strings.Join(out, ", ")
}

// newToken draws 160 bits for a one-time link.
func newToken() (string, error) {
	raw := make([]byte, 20)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("draw link: %w", err)
	}
	return linkEncoding.EncodeToString(raw), nil
}
