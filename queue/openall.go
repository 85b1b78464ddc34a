package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

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
	err := q.storeAll(ctx, list)
	stored := slices.DeleteFunc(slices.Clone(list), func(o *opening) bool { return o.ref.Number == "" })
	q.follow(context.WithoutCancel(ctx), stored)
	if err != nil {
		return nil, err
	}
	refs := make([]Ref, len(list))
	for i, o := range list {
		refs[i] = o.ref
	}
	return refs, nil
}

// opening is one mail on its way into a case.
type opening struct {
	in      Incoming
	answers *opening // mail of the same batch that it answers, nil: none
	parent  string   // case it belongs to, "": one of its own
	ref     Ref
	index   int    // the mail's place in the case, -1 if it was stored before
	new     *draft // the case as it was made here, nil if it is older
}

// storeAll stores what begins a case in one go; then, case by case and in
// order, what belongs to an older one or to one that just began.
func (q *Queue) storeAll(ctx context.Context, list []*opening) error {
	if err := q.parents(ctx, list); err != nil {
		return err
	}
	var fresh, others, answers []*opening
	for _, o := range threads(list) {
		switch {
		case o.answers != nil:
			answers = append(answers, o)
		case o.parent != "":
			others = append(others, o)
		default:
			fresh = append(fresh, o)
		}
	}
	left, err := q.createAll(ctx, fresh)
	if err != nil {
		return err
	}
	byCase := map[string][]*opening{}
	for _, o := range slices.Concat(others, left, answers) {
		where := o.root().parent
		if where == "" {
			where = o.root().ref.Number // "" for those left: they wait for each other
		}
		byCase[where] = append(byCase[where], o)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(sideBySide)
	for _, group := range byCase {
		g.Go(func() error {
			for _, o := range group {
				if err := q.storeOne(ctx, o, true); err != nil {
					return o.failed(err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// threads gives the mails of a batch in their order, but each behind the one of
// them that it answers: they go to one case, and there is none yet to be found.
func threads(list []*opening) []*opening {
	type id struct{ controller, message string }
	byID := map[id]*opening{}
	for _, o := range list {
		if at := (id{o.in.Controller, o.in.MessageID}); o.in.MessageID != "" && byID[at] == nil {
			byID[at] = o
		}
	}
	depth := map[*opening]int{}
	for _, o := range list {
		if o.parent != "" {
			continue
		}
		for _, answered := range o.in.answered() {
			// A mail that is answered by what it answers, in a ring, begins a case.
			if to := byID[id{o.in.Controller, answered}]; to != nil && to.root() != o {
				o.answers = to
				break
			}
		}
	}
	for _, o := range list {
		for to := o.answers; to != nil; to = to.answers {
			depth[o]++
		}
	}
	if len(depth) == 0 {
		return list
	}
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b *opening) int { return depth[a] - depth[b] })
	return out
}

// root is the mail that begins the thread of o in its batch.
func (o *opening) root() *opening {
	for o.answers != nil {
		o = o.answers
	}
	return o
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
	opened Event  // its first
	job    string // what has a worker do the rest, should this process not
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
	d.opened = q.openingEvent(c)
	opened, err := d.opened.encode(key, no)
	if err != nil {
		return nil, err
	}
	hasPerson, mids := "", []string(nil)
	if person != "" {
		hasPerson = "1"
	}
	if byMID {
		mids = q.midKeys(in)
	}
	var remind, fields []string
	for _, r := range remindMembers(no, p.reminders(c.Received), q.o.Now()) {
		remind = append(remind, r[1], r[0])
	}
	for name, value := range d.before {
		fields = append(fields, name, value)
	}
	d.args = append(d.args, no, mail, millis(c.Received), millis(c.Due), hasPerson)
	for _, list := range [][]string{seenFields(in), mids, {opened}, remind, fields} {
		d.args = withList(d.args, list)
	}
	d.before["v"] = "1"
	return d, nil
}

// withList appends a list led by its length, as scripts take it.
func withList(args []any, list []string) []any {
	args = append(args, strconv.Itoa(len(list)))
	for _, w := range list {
		args = append(args, w)
	}
	return args
}

// file stores drafts in their order and notes what came of each. With them a
// job is stored that has a worker do the rest, unless follow takes it back.
func (q *Queue) file(ctx context.Context, drafts []*draft) error {
	if len(drafts) == 0 {
		return nil
	}
	runs := parcels{shared: []string{keySeen, keyMID, keyAll, keyDue, keyRemind, keyLater, keyTouched, keyTick}, lead: 2}
	var numbers []string
	first, at := 0, millis(q.o.Now().Add(followWithin))
	seal := func(end int) error { // fills the lead of the last run
		raw, err := json.Marshal(job{Do: "opened", N: strings.Join(numbers, " "), Try: "0"})
		if err != nil {
			return fmt.Errorf("encode work: %w", err)
		}
		for ; first < end; first++ {
			drafts[first].job = string(raw)
		}
		last := runs.calls[len(runs.calls)-1]
		last.args[0], last.args[1], numbers = string(raw), at, nil
		return nil
	}
	for i, d := range drafts {
		if runs.full(d.args) {
			if err := seal(i); err != nil {
				return err
			}
		}
		runs.add(d.keys, d.args)
		numbers = append(numbers, d.c.Number)
	}
	if err := seal(len(drafts)); err != nil {
		return err
	}
	words, err := q.rows(ctx, openScript, runs.calls, 2*len(drafts))
	if err != nil {
		return err
	}
	for i, d := range drafts {
		d.word, d.value = words[2*i], words[2*i+1]
	}
	return nil
}

// followWithin is when a worker takes over what follows on a stored case.
const followWithin = 15 * time.Second

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
		if !o.filed(drafts[i]) {
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
	named := make([][]string, len(list))
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
		named[i] = slices.Compact(slices.DeleteFunc(numbers, func(no string) bool { return no == "" }))
	}
	for i, o := range list {
		for _, no := range named[i] {
			var err error
			if o.parent, err = q.living(ctx, no, o.in.Controller); err != nil {
				return err
			}
			if o.parent != "" {
				break
			}
		}
	}
	return nil
}

// answered are the Message-IDs of what a mail answers, the nearest first.
func (in Incoming) answered() []string {
	out := make([]string, 0, 1+len(in.References))
	if in.InReplyTo != "" {
		out = append(out, in.InReplyTo)
	}
	for _, id := range slices.Backward(in.References) {
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
