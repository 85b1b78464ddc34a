package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/queue/reply"
)

// ProcessingNotice tells how a controller handles data, in six parts, in one
// language (GDPR Art. 13, 14). Its version is the day from which it is in force.
type ProcessingNotice struct {
	Language     string `json:"language"`
	Version      string `json:"version"`
	Data         string `json:"data"`
	ThirdParties string `json:"third_parties"`
	Retention    string `json:"retention"`
	Place        string `json:"place"`
	Security     string `json:"security"`
	Changes      string `json:"changes"`
}

// NoticePart is one part of a notice under its heading.
type NoticePart struct{ Heading, Text string }

// Notice gives the notice of a controller in force: in the language wanted,
// else the controller's, else English, else any; false where none is configured.
func (q *Queue) Notice(controller, lang string) (ProcessingNotice, bool) {
	today := q.o.Now().In(q.zone(controller)).Format(time.DateOnly)
	for _, want := range []string{lang, q.controller(controller).Language, "en", ""} {
		var best ProcessingNotice
		base, _, _ := strings.Cut(strings.ToLower(want), "-")
		for _, n := range q.rules().Handling[controller].Notices {
			if (want == "" || strings.EqualFold(n.Language, base)) && n.Version <= today && n.Version > best.Version {
				best = n
			}
		}
		if best.Version != "" {
			return best, true
		}
	}
	return ProcessingNotice{}, false
}

func (q *Queue) zone(controller string) *time.Location {
	_, loc := q.seat(q.controller(controller))
	return loc
}

// NoticeParts gives title and parts of a notice with headings in its language.
func (q *Queue) NoticeParts(n ProcessingNotice) (title string, parts []NoticePart, err error) {
	lang := q.texts().Pick(n.Language)
	if title, err = q.texts().Phrase(lang, "notice_title", nil); err != nil {
		return "", nil, err
	}
	for _, p := range [][2]string{{"notice_data", n.Data}, {"notice_third", n.ThirdParties}, {"notice_retention", n.Retention}, {"notice_place", n.Place}, {"notice_security", n.Security}, {"notice_changes", n.Changes}} {
		heading, err := q.texts().Phrase(lang, p[0], nil)
		if err != nil {
			return "", nil, err
		}
		parts = append(parts, NoticePart{heading, strings.TrimSpace(p[1])})
	}
	return title, parts, nil
}

func (q *Queue) noticeText(n ProcessingNotice) (title, text string, err error) {
	title, parts, err := q.NoticeParts(n)
	if err != nil {
		return "", "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", title, n.Version)
	for i, p := range parts {
		fmt.Fprintf(&b, "\n%d. %s\n%s\n", i+1, p.Heading, p.Text)
	}
	return title, b.String(), nil
}

// InformationDraft is the answer to a question how data is handled in general:
// the processing notice in force, in the person's language where there is one.
func (q *Queue) InformationDraft(ctx context.Context, number, actor string) (Draft, error) {
	c, _, err := q.Show(ctx, number)
	if err != nil {
		return Draft{}, err
	}
	n, ok := q.Notice(c.Controller, c.Language)
	if !ok {
		return Draft{}, fmt.Errorf("%w: controller %q has no [[controller.notice]]", ErrDraft, c.Controller)
	}
	title, text, err := q.noticeText(n)
	return Draft{Subject: title, Text: text, Language: n.Language, Effect: ActAnswer, Reason: "processing-notice:" + n.Version, Actor: actor}, err
}

// PublishedNotice is a version of a notice with the time it was first seen.
type PublishedNotice struct {
	Controller string    `json:"controller"`
	Seen       time.Time `json:"seen"`
	ProcessingNotice
}

// PublishNotices keeps every configured notice: a version, once published,
// stays as it was. A text that changed under the same version is an error.
func (q *Queue) PublishNotices(ctx context.Context) error {
	return q.publishNotices(ctx, q.rules().Handling)
}

func (q *Queue) publishNotices(ctx context.Context, table map[string]Handling) error {
	var errs []error
	for id, h := range table {
		for _, n := range h.Notices {
			field := id + " " + n.Version + " " + strings.ToLower(n.Language)
			raw, err := json.Marshal(PublishedNotice{id, q.o.Now(), n})
			if err != nil {
				return fmt.Errorf("encode notice %s: %w", field, err)
			}
			fresh, err := q.rdb.HSetNX(ctx, keyNotices, field, string(raw)).Result()
			if err != nil {
				return fmt.Errorf("publish notice %s: %w", field, err)
			}
			if fresh {
				errs = append(errs, q.d.Trail.Append(ctx, ledger.Record{ID: "notice:" + sha(field)[:24], Time: q.o.Now(), Kind: ledger.KindConfig, Controller: id,
					Actor: "rule", Action: "publish", Reason: "processing-notice", Data: map[string]string{"version": n.Version, "language": n.Language, "sha256": sha(string(raw))}}))
				continue
			}
			stored, err := q.rdb.HGet(ctx, keyNotices, field).Result()
			if err != nil {
				return fmt.Errorf("read notice %s: %w", field, err)
			}
			var was PublishedNotice
			if err := json.Unmarshal([]byte(stored), &was); err != nil {
				return fmt.Errorf("decode notice %s: %w", field, err)
			}
			if was.ProcessingNotice != n {
				errs = append(errs, fmt.Errorf("notice %s was published with another text: give the new one a version of its own", field))
			}
		}
	}
	return errors.Join(errs...)
}

// NoticeVersions lists what was ever published for a controller, newest first.
func (q *Queue) NoticeVersions(ctx context.Context, controller string) ([]PublishedNotice, error) {
	all, err := q.rdb.HGetAll(ctx, keyNotices).Result()
	if err != nil {
		return nil, fmt.Errorf("list notices: %w", err)
	}
	var out []PublishedNotice
	for field, raw := range all {
		var n PublishedNotice
		if err := json.Unmarshal([]byte(raw), &n); err != nil {
			return nil, fmt.Errorf("decode notice %s: %w", field, err)
		}
		if n.Controller == controller {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b PublishedNotice) int {
		return strings.Compare(b.Version+" "+a.Language, a.Version+" "+b.Language)
	})
	return out, nil
}

// NoticeChange tells persons that the processing notice changed.
type NoticeChange struct {
	Controller string
	To         address.Address
	Language   string
	Actor      string // "operator:<name>"
}

// noticeClaim is how long a run has to bring one notice into the spool before
// another may: its process may be dead.
const noticeClaim = time.Minute

// claimNotice takes one person to send to.
//
//	KEYS[1]  who was told of which version
//	ARGV[1]  version and subject; ARGV[2] now, ARGV[3] life of a claim, in ms
//
// Returns "mine", "sent" where it has left, "claimed" while another sends.
var claimNotice = redis.NewScript(`
local was = redis.call('HGET', KEYS[1], ARGV[1])
if was then
  local since = tonumber(string.match(was, '^claim (%d+)$') or '')
  if not since then return 'sent' end
  if tonumber(ARGV[2]) - since < tonumber(ARGV[3]) then return 'claimed' end
end
redis.call('HSET', KEYS[1], ARGV[1], 'claim ' .. ARGV[2])
return 'mine'`)

// SendNoticeChange sends the notice in force to one person as service mail,
// once per version, and records it. It tells whether it left now. Whoever was
// marked before a crash and not sent to is sent to when it is asked again: the
// mark holds for noticeClaim until the mail is in the spool, and the spool knows
// a mail of this node that it has already (Outgoing.Ref). Errors wrap ErrOrder
// also while another run sends to the same person.
func (q *Queue) SendNoticeChange(ctx context.Context, ch NoticeChange) (bool, error) {
	n, ok := q.Notice(ch.Controller, ch.Language)
	controller := q.controller(ch.Controller)
	from, err := address.Parse(controller.Contact)
	switch {
	case !ok:
		return false, fmt.Errorf("%w: controller %q has no [[controller.notice]]", ErrDraft, ch.Controller)
	case err != nil:
		return false, fmt.Errorf("contact of controller %q: %w", ch.Controller, err)
	case q.rules().AckStream[ch.Controller] == "":
		return false, fmt.Errorf("%w: controller %q has no service stream", ErrDraft, ch.Controller)
	case !strings.HasPrefix(ch.Actor, "operator:"):
		return false, fmt.Errorf("%w: an operator has to", ErrOrder)
	}
	subject := q.o.Keyring.Identify(ch.Controller, ch.To).ID
	field := n.Version + " " + subject.String()
	state, err := claimNotice.Run(ctx, q.rdb, []string{keyNoticed(ch.Controller)}, field, millis(q.o.Now()), noticeClaim.Milliseconds()).Text()
	switch {
	case err != nil:
		return false, fmt.Errorf("notice of change: %w", err)
	case state == "sent":
		return false, nil
	case state == "claimed":
		return false, fmt.Errorf("%w: another run sends to this person now; ask again in a minute", ErrOrder)
	}
	title, text, err := q.noticeText(n)
	if err != nil {
		return false, err
	}
	lang := q.texts().Pick(n.Language)
	intro, err := q.texts().Phrase(lang, "notice_changed", reply.Values{"controller": controller.Name})
	if err != nil {
		return false, err
	}
	ref := "notice-change:" + ch.Controller + ":" + field
	header, body, err := reply.Mail{FromName: controller.Name, From: from, To: ch.To, Subject: title, Language: lang, Date: q.o.Now(),
		Text:      reply.Wrap(intro+"\n\n"+text+"\n\n-- \n"+foot(controller), 71),
		MessageID: "notice." + sha(ref)[:24] + "@" + from.Domain(), Auto: true, Generated: true}.Compose()
	if err != nil {
		return false, err
	}
	_, err = q.d.Sender.Submit(ctx, Outgoing{Stream: q.rules().AckStream[ch.Controller], To: ch.To, NotifyNever: true, Header: header, Body: body, Ref: ref})
	var denial *gateway.Denial
	denied := errors.As(err, &denial) && !denial.Temporary()
	if err != nil && !denied {
		return false, errors.Join(fmt.Errorf("notice of change: %w", err), q.rdb.HDel(ctx, keyNoticed(ch.Controller), field).Err())
	}
	if err := q.rdb.HSet(ctx, keyNoticed(ch.Controller), field, millis(q.o.Now())).Err(); err != nil {
		return false, fmt.Errorf("notice of change: %w", err)
	}
	if denied {
		return false, nil
	}
	err = q.d.Trail.Append(ctx, ledger.Record{ID: "noticed:" + sha(ref)[:24], Time: q.o.Now(), Kind: ledger.KindConfig, Controller: ch.Controller, Subject: subject,
		Actor: ch.Actor, Action: "inform", Reason: "processing-notice", Data: map[string]string{"version": n.Version, "language": n.Language}})
	return true, err
}
