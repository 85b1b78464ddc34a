package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"postern/classifier"
	"postern/gateway/address"
	"postern/intake/mime"
	"postern/intake/report"
	"postern/queue"
)

// item is a mail that was read.
type item struct {
	queue.Incoming
	Verdict
}

// batch is what was fetched together.
type batch struct {
	uids  []uint32 // all, those that vanished among them
	items []item
	broke error // a mail broke the reader: it comes again
}

// readAll reads the mails of a batch, several at once.
func (s *folderSession) readAll(ctx context.Context, mails []wireMail) (batch, error) {
	b := batch{uids: make([]uint32, len(mails))}
	read, broke := make([]item, len(mails)), make([]error, len(mails))
	var g errgroup.Group
	g.SetLimit(s.b.p.o.Workers)
	for i, m := range mails {
		b.uids[i] = m.uid
		if m.raw == nil {
			s.b.p.metrics.vanished.Inc()
			s.b.p.o.Log.Warn("a mail was removed before it was read", "mailbox", s.b.Name, "folder", s.folder, "uid", m.uid)
			continue
		}
		g.Go(func() error { read[i], broke[i] = s.readOne(ctx, m); return nil })
	}
	_ = g.Wait() // each has its own error
	for i, m := range mails {
		switch {
		case broke[i] != nil:
			b.broke = broke[i]
		case m.raw != nil:
			b.items = append(b.items, read[i])
		}
	}
	return b, nil
}

func (s *folderSession) readOne(ctx context.Context, m wireMail) (item, error) {
	// Who copies mails into a mailbox may date them at will: what has not come
	// yet came now, or its time to answer would begin, and end, too late (DSR-2).
	if now := s.b.p.o.Now(); m.received.IsZero() || m.received.After(now) {
		m.received = now
	}
	in, v, err := s.read(ctx, m)
	if err != nil {
		return item{}, err
	}
	in.Folder, in.UIDValidity, in.UID = s.folder, s.at.Validity, m.uid
	if m.cut {
		v.Manual, v.Aside = first(v.Manual, "over the size limit"), ""
		in.Manual, in.Result.Abstain = v.Manual, true
	}
	if v.Manual != "" {
		s.b.p.metrics.manual.Inc()
	}
	return item{in, v}, nil
}

// store gives the mails of a batch their outcome. When it returns no error that
// is durable, and it gives the UIDs whose mails may be touched. Else the whole
// batch comes again: what is stored is known.
func (s *folderSession) store(ctx context.Context, b batch) ([]uint32, error) {
	if err := s.b.p.dispatch(ctx, b.items); err != nil {
		return nil, err
	}
	if b.broke != nil {
		return nil, b.broke
	}
	return b.uids, nil
}

// read makes facts of a mail. A mail that breaks the reader is tried a few
// times, for the cause may pass, and then becomes a case as it is (IM-12).
func (s *folderSession) read(ctx context.Context, m wireMail) (queue.Incoming, Verdict, error) {
	in, v, broke := safeFacts(m.raw, m.received, s.b.Mailbox, s.b.p.d.Classifier)
	if broke == nil {
		return in, v, nil
	}
	s.b.p.metrics.panics.Inc()
	n, err := s.b.p.d.State.Tried(ctx, s.b.Name, s.folder, s.at.Validity, m.uid)
	if err != nil {
		return in, v, err
	}
	if n < s.b.p.o.Tries {
		return in, v, fmt.Errorf("read uid %d in folder %q of mailbox %q: %w", m.uid, s.folder, s.b.Name, broke)
	}
	s.b.p.o.Log.Error("a mail breaks the reader, it becomes a case unread", "mailbox", s.b.Name, "folder", s.folder, "uid", m.uid, "err", broke)
	in, v = unread(m.raw, m.received, s.b.Mailbox)
	return in, v, nil
}

func safeFacts(raw []byte, received time.Time, mb Mailbox, cls Classifier) (in queue.Incoming, v Verdict, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the reader failed: %v", r)
		}
	}()
	in, v = Facts(raw, received, mb, cls)
	return in, v, nil
}

// unread is a mail as a case without its text: a person opens the original.
func unread(raw []byte, received time.Time, mb Mailbox) (queue.Incoming, Verdict) {
	sum := sha256.Sum256(raw)
	in := queue.Incoming{
		Controller: mb.Controller, Mailbox: mb.Name, ContentHash: hex.EncodeToString(sum[:]), Received: received,
		Subject: "(unreadable mail)", Manual: "the reader broke on it", Grade: queue.Unknown, GradeWhy: "unread", NoReplyWhy: "unread", Confidential: mb.Confidential,
		Result: classifier.Result{Language: "und", Kind: classifier.KindOther, Abstain: true},
	}
	h := mime.Headers(raw)
	for _, a := range h.Addresses("From") {
		if parsed, err := address.Parse(a.Addr); err == nil && in.From.IsZero() {
			in.From = parsed
		}
	}
	return in, Verdict{Kind: classifier.KindOther, Why: "unread", Manual: "the reader broke on it"}
}

// dispatch takes mails where they belong. Everything here may run again for the
// same mails.
func (p *Poller) dispatch(ctx context.Context, items []item) error {
	if err := p.tell(ctx, items); err != nil {
		return err
	}
	var aside []queue.Aside
	var cases []queue.Incoming
	for _, l := range items {
		switch {
		case l.Aside != "":
			aside = append(aside, queue.Aside{Why: l.Aside, Mail: l.Incoming})
		case !l.onlyOptOut():
			cases = append(cases, l.Incoming)
		case wrote(l.Incoming):
			aside = append(aside, queue.Aside{Why: "unsubscribe-address", Mail: l.Incoming})
		}
	}
	if len(aside) > 0 {
		if err := p.d.Aside.SetAside(ctx, aside...); err != nil {
			return fmt.Errorf("store mails of mailbox %q: %w", aside[0].Mail.Mailbox, err)
		}
	}
	if len(cases) > 0 {
		if _, err := p.d.Cases.OpenAll(ctx, cases); err != nil {
			return fmt.Errorf("store mails of mailbox %q: %w", cases[0].Mailbox, err)
		}
	}
	for _, l := range items {
		kind := string(l.Kind)
		if l.onlyOptOut() {
			kind = "opt_out"
		}
		p.metrics.messages.WithLabelValues(kind).Inc()
	}
	return nil
}

// onlyOptOut tells of a mail to an unsubscribe address that asks for nothing
// more: it needs no case.
func (l item) onlyOptOut() bool {
	return l.Aside == "" && l.Verdict.Token != "" && !more(l.Incoming) && l.Verdict.Manual == ""
}

// wrote tells of words in a mail to an unsubscribe address that are no wish to
// unsubscribe, nor a mail program's: somebody looks through them.
func wrote(in queue.Incoming) bool {
	words := strings.TrimSpace(in.Text)
	letter := slices.ContainsFunc(in.Attachments, func(a queue.Attachment) bool { return !strings.HasPrefix(strings.ToLower(a.Type), "image/") }) // a picture is a signature's
	return letter || !asks(in.Result) && words != "" && !programWords.MatchString(words)
}

// programWords is what mail programs write by themselves when their user presses
// "unsubscribe".
var programWords = regexp.MustCompile(`(?i)^this (?:message|e-?mail) was (?:automatically generated|sent automatically) by [^.\n]{1,60}\.?$`)

// tell tells the rooms below of reports and opt-outs, several at once.
func (p *Poller) tell(ctx context.Context, items []item) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.o.Workers)
	for _, l := range items {
		switch {
		case l.Aside != "":
			g.Go(func() error { return p.machine(ctx, l.Incoming, l.Verdict) })
		case l.Verdict.Token != "":
			g.Go(func() error {
				if err := p.d.Optouts.OptOut(ctx, l.Verdict.Token, l.Incoming); err != nil {
					return fmt.Errorf("opt out by mail, uid %d of mailbox %q: %w", l.UID, l.Mailbox, err)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// machine tells the rooms below what bounces and complaints mean.
func (p *Poller) machine(ctx context.Context, in queue.Incoming, v Verdict) error {
	if p.d.Bounces == nil {
		return nil
	}
	switch v.Report.Kind {
	case report.Failed:
		b := report.Bounce{Controller: in.Controller, Mailbox: in.Mailbox, At: in.Received, Token: v.BounceToken, MessageID: v.Report.MessageID, EnvelopeID: v.Report.EnvelopeID}
		for _, r := range v.Report.Recipients {
			if r.Action != "" && r.Action != "failed" {
				continue
			}
			a, _ := address.Parse(r.Address) // hidden or broken: zero
			b.Recipients = append(b.Recipients, report.BouncedRecipient{Address: a, Status: r.Status, Hard: r.Hard})
		}
		if err := p.d.Bounces.Bounced(ctx, b); err != nil {
			return fmt.Errorf("note bounce, uid %d of mailbox %q: %w", in.UID, in.Mailbox, err)
		}
	case report.Abuse:
		subjects := v.Report.Subjects
		if len(subjects) == 0 {
			subjects = []string{""}
		}
		for _, who := range subjects {
			a, _ := address.Parse(who)
			c := report.Complaint{Controller: in.Controller, Mailbox: in.Mailbox, At: in.Received, Type: v.Report.Feedback, Token: v.Report.Token(), Recipient: a, MessageID: v.Report.MessageID}
			if err := p.d.Bounces.Complained(ctx, c); err != nil {
				return fmt.Errorf("note complaint, uid %d of mailbox %q: %w", in.UID, in.Mailbox, err)
			}
		}
	}
	return nil
}
