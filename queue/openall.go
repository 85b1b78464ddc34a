package queue

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"postern/queue/vault"
)

// OpenAll is Open for the mails of a batch, in their order, with few round
// trips for all of them. When it returns an error some may be stored: calling
// again with all of them is safe.
func (q *Queue) OpenAll(ctx context.Context, mails []Incoming) ([]Ref, error) {
	list := make([]*opening, len(mails))
	for i, in := range mails {
		if in.Received.IsZero() {
			in.Received = q.o.Now()
		}
		list[i] = &opening{in: in}
	}
	if err := q.storeAll(ctx, list); err != nil {
		return nil, err
	}
	// The worker has this on its list too: a failure here is not lost.
	if err := q.bindAll(context.WithoutCancel(ctx), list); err != nil {
		q.o.Log.Warn("opt-outs not yet bound, a worker will repeat it", "err", err)
	}
	refs := make([]Ref, len(list))
	for i, o := range list {
		refs[i] = o.ref
	}
	return refs, nil
}

// opening is one mail on its way into a case.
type opening struct {
	in     Incoming
	parent string // case it belongs to, "": one of its own
	ref    Ref
	index  int    // the mail's place in the case, -1 if it was stored before
	new    *draft // the case as it was made here, nil if it is older
}

// storeAll stores what begins a case in one go; then, case by case and in
// order, what belongs to an older one or to one that just began.
func (q *Queue) storeAll(ctx context.Context, list []*opening) error {
	if err := q.parents(ctx, list); err != nil {
		return err
	}
	ids := map[string]bool{}
	var fresh, answers, attached []*opening
	for _, o := range list {
		switch {
		case o.parent != "":
			attached = append(attached, o)
		case ids[o.in.InReplyTo] || slices.ContainsFunc(o.in.References, func(id string) bool { return ids[id] }):
			answers = append(answers, o)
		default:
			fresh = append(fresh, o)
		}
		if o.in.MessageID != "" {
			ids[o.in.MessageID] = true
		}
	}
	left, err := q.createAll(ctx, fresh)
	if err != nil {
		return err
	}
	if err := q.parents(ctx, answers); err != nil {
		return err
	}
	left = append(left, answers...)
	byCase := map[string][]*opening{}
	for _, o := range append(attached, left...) {
		byCase[o.parent] = append(byCase[o.parent], o) // those without one wait for each other
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(sideBySide)
	for _, group := range byCase {
		g.Go(func() error {
			for _, o := range group {
				var err error
				if o.ref, o.index, err = q.storeOne(ctx, o.in, o.parent, true); err != nil {
					return o.failed(err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// sideBySide is how many single writes are under way at once for one batch.
const sideBySide = 16

func (o *opening) failed(err error) error {
	return fmt.Errorf("open case for uid %d in %q: %w", o.in.UID, o.in.Mailbox, err)
}

// draft is a case that is about to be stored, and what came of that.
type draft struct {
	c      *Case
	key    *vault.Key
	before map[string]string // the fields stored
	keys   []string          // of the script, its own four
	args   []any
	size   int
	word   string // "new", "dup", "attach" or "taken"
	value  string
}

// draft makes the case of a mail; byMID lets it join the case that has the
// same Message-ID.
func (q *Queue) draft(in Incoming, byMID bool) (*draft, error) {
	no, err := newNumber()
	if err != nil {
		return nil, err
	}
	key, wrapped, err := q.vault.Make(no)
	if err != nil {
		return nil, err
	}
	c, p := q.newCase(no, in)
	c.Version = 1
	person := subjectText(c.Subject)
	d := &draft{c: c, key: key, before: c.fields(), keys: []string{keyCase(no), keyMails(no), keyLog(no), keyPerson(person)}}
	d.before["key"] = wrapped
	mail, err := sealMail(key, no, in)
	if err != nil {
		return nil, err
	}
	events, err := openingEvents(q, key, c)
	if err != nil {
		return nil, err
	}
	hasPerson, newMid, mids := "", "", []string(nil)
	if person != "" {
		hasPerson = "1"
	}
	if byMID {
		if mids = q.midKeys(in); len(mids) > 0 {
			newMid = mids[0]
		}
	}
	var remind, fields []string
	for _, r := range remindMembers(no, p.reminders(c.Received), q.o.Now()) {
		remind = append(remind, r[1], r[0])
	}
	for name, value := range d.before {
		fields = append(fields, name, value)
	}
	d.add(no, mail, millis(c.Received), millis(c.Due), hasPerson, newMid)
	for _, list := range [][]string{seenFields(in), mids, events, remind, fields} {
		d.add(strconv.Itoa(len(list)))
		d.add(list...)
	}
	d.before["v"] = "1"
	return d, nil
}

func (d *draft) add(words ...string) {
	for _, w := range words {
		d.args, d.size = append(d.args, w), d.size+len(w)
	}
}

// One run of a script keeps Redis from everybody else: it takes this many
// cases and octets at most.
const (
	fileCases  = 32
	fileOctets = 256 << 10
)

// file stores drafts in their order and notes what came of each.
func (q *Queue) file(ctx context.Context, drafts []*draft) error {
	shared := []string{keySeen, keyMID, keyAll, keyDue, keyRemind, keyWork, keyTouched, keyTick}
	var calls []call
	cases, octets := 0, 0
	for _, d := range drafts {
		if len(calls) == 0 || cases == fileCases || octets+d.size > fileOctets {
			calls = append(calls, call{keys: slices.Clone(shared)})
			cases, octets = 0, 0
		}
		last := &calls[len(calls)-1]
		last.keys, last.args = append(last.keys, d.keys...), append(last.args, d.args...)
		cases, octets = cases+1, octets+d.size
	}
	if len(calls) == 0 {
		return nil
	}
	answers, err := q.durable(ctx, openScript, calls...)
	if err != nil {
		return err
	}
	var words []any
	for _, a := range answers {
		row, _ := a.([]any)
		words = append(words, row...)
	}
	if len(words) != 2*len(drafts) {
		return fmt.Errorf("%d words for %d cases", len(words), len(drafts))
	}
	for i, d := range drafts {
		d.word, d.value = text(words[2*i]), text(words[2*i+1])
	}
	return nil
}

// createAll stores mails that begin a case and gives back those that did not:
// their Message-ID is another case's, or their number was taken.
func (q *Queue) createAll(ctx context.Context, list []*opening) (left []*opening, err error) {
	drafts := make([]*draft, len(list))
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, o := range list {
		g.Go(func() (err error) {
			if drafts[i], err = q.draft(o.in, true); err != nil {
				return o.failed(err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := q.file(ctx, drafts); err != nil {
		return nil, fmt.Errorf("open %d cases: %w", len(drafts), err)
	}
	for i, o := range list {
		switch d := drafts[i]; d.word {
		case "new":
			o.ref, o.new = Ref{d.c.Number, true}, d
		case "dup":
			o.ref, o.index = refOf(d.value), -1
		default:
			left = append(left, o)
		}
	}
	return left, nil
}

// parents finds the cases that mails name: by number, in subject or reply
// token, or by the Message-ID of what they answer.
func (q *Queue) parents(ctx context.Context, list []*opening) error {
	asked := make([]*redis.SliceCmd, len(list))
	pipe := q.rdb.Pipeline()
	for i, o := range list {
		var lookups []string
		for _, id := range o.in.answered() {
			lookups = append(lookups, q.vault.Lookups("mid", o.in.Controller+"\x00"+id)...)
		}
		if len(lookups) > 0 {
			asked[i] = pipe.HMGet(ctx, keyMID, lookups...)
		}
	}
	if pipe.Len() > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("look up threads: %w", err)
		}
	}
	for i, o := range list {
		numbers := []string{q.ParseCaseToken(o.in.ReplyToken), FindCaseNo(o.in.CaseNo)}
		ids := o.in.answered()
		for n, id := range ids {
			numbers = append(numbers, FindCaseNo(id))
			found := asked[i].Val() // of each id as many as there are master keys
			each := len(found) / len(ids)
			for _, f := range found[n*each : (n+1)*each] {
				numbers = append(numbers, text(f))
			}
		}
		var err error
		if o.parent, err = q.firstLiving(ctx, numbers, o.in.Controller); err != nil {
			return err
		}
	}
	return nil
}

// answered are the Message-IDs of what a mail answers, the nearest first.
func (in Incoming) answered() []string {
	return slices.DeleteFunc(append([]string{in.InReplyTo}, in.References...), func(id string) bool { return id == "" })
}

// firstLiving is the first of the cases that lives; "" where none does.
func (q *Queue) firstLiving(ctx context.Context, numbers []string, controller string) (string, error) {
	for _, no := range slices.Compact(numbers) {
		if no == "" {
			continue
		}
		if found, err := q.living(ctx, no, controller); err != nil || found != "" {
			return found, err
		}
	}
	return "", nil
}
