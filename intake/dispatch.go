package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/intake/mime"
	"postern/intake/report"
	"postern/queue"
)

// handle gives one mail its outcome. When it returns nil that is durable.
func (s *folderSession) handle(ctx context.Context, m wireMail) error {
	if m.raw == nil {
		s.b.p.metrics.vanished.Inc()
		s.b.p.o.Log.Warn("a mail was removed before it was read", "mailbox", s.b.Name, "folder", s.folder, "uid", m.uid)
		return nil
	}
	if m.received.IsZero() {
		m.received = s.b.p.o.Now()
	}
	in, v, err := s.read(ctx, m)
	if err != nil {
		return err
	}
	in.Folder, in.UIDValidity, in.UID = s.folder, s.at.Validity, m.uid
	if m.cut {
		v.Manual, v.Aside = first(v.Manual, "over the size limit"), ""
		in.Manual, in.Result.Abstain = v.Manual, true
	}
	if v.Manual != "" {
		s.b.p.metrics.manual.Inc()
	}
	return s.b.p.dispatch(ctx, in, v)
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

// dispatch takes a mail where it belongs. Everything here may run again for
// the same mail.
func (p *Poller) dispatch(ctx context.Context, in queue.Incoming, v Verdict) error {
	kind := string(v.Kind)
	if v.Aside != "" {
		if err := p.machine(ctx, in, v); err != nil {
			return err
		}
		if err := p.d.Aside.SetAside(ctx, in, v.Aside); err != nil {
			return fmt.Errorf("set aside uid %d of mailbox %q: %w", in.UID, in.Mailbox, err)
		}
		p.metrics.messages.WithLabelValues(kind).Inc()
		return nil
	}
	if v.Token != "" {
		if err := p.d.Optouts.OptOut(ctx, v.Token, in); err != nil {
			return fmt.Errorf("opt out by mail, uid %d of mailbox %q: %w", in.UID, in.Mailbox, err)
		}
		if !more(in.Result) && v.Manual == "" {
			p.metrics.messages.WithLabelValues("opt_out").Inc()
			return nil
		}
	}
	if _, err := p.d.Cases.Open(ctx, in); err != nil {
		return fmt.Errorf("open case for uid %d of mailbox %q: %w", in.UID, in.Mailbox, err)
	}
	p.metrics.messages.WithLabelValues(kind).Inc()
	return nil
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
