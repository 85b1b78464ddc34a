package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/gateway/stream"
	"postern/queue"
)

// anchorTimeout bounds the hand-out of one anchor: the tree waits for it.
const anchorTimeout = 30 * time.Second

// anchor keeps a day's checkpoint outside the ledger, as configured. A failure
// is tried again until all of it has worked, so a file may hold a day twice.
func (n *node) anchor(ctx context.Context, day string, c ledger.Checkpoint) error {
	ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
	defer cancel()
	cfg := n.cfg.Ledger
	var errs []error
	if cfg.AnchorFile != "" {
		errs = append(errs, addAnchor(cfg.AnchorFile, c))
	}
	for _, to := range cfg.AnchorMail {
		errs = append(errs, n.mailAnchor(ctx, to, day, c))
	}
	return errors.Join(errs...)
}

// addAnchor adds a checkpoint to a file, durably.
func addAnchor(path string, c ledger.Checkpoint) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("anchor file: %w", err)
	}
	_, err = f.WriteString(c.Signed + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("anchor file: %w", err)
	}
	return nil
}

const anchorText = `This is today's signed checkpoint of the ledger %s: %d records. Keep this mail. If the ledger is ever changed, or cut short, behind what is signed here, this mail shows it:

  postern ledger verify --key "%s" --anchor THIS-MAIL.eml DIR

`

// mailAnchor spools the checkpoint as service mail to an outside address.
func (n *node) mailAnchor(ctx context.Context, to, day string, c ledger.Checkpoint) error {
	if n.engine == nil {
		return errors.New("mail anchor: the relay is not open yet")
	}
	st, ok := n.engine.Streams().ByName(n.cfg.Ledger.AnchorStream)
	controller, known := n.engine.Streams().Controller(st.Controller)
	if !ok || !known {
		return fmt.Errorf("mail anchor: stream %q is not configured", n.cfg.Ledger.AnchorStream)
	}
	rcpt, err := address.Parse(to)
	if err != nil {
		return fmt.Errorf("mail anchor: %w", err)
	}
	var h mail.Header
	h.SetDate(time.Now())
	h.SetAddressList("From", []*mail.Address{{Name: controller.Name, Address: controller.Contact}})
	h.SetAddressList("To", []*mail.Address{{Address: rcpt.Plain()}})
	h.SetSubject("Ledger anchor " + day + " of " + c.Origin)
	h.Set("Auto-Submitted", "auto-generated")
	h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	var b bytes.Buffer
	w, err := mail.CreateSingleInlineWriter(&b, h)
	if err != nil {
		return fmt.Errorf("mail anchor: %w", err)
	}
	_, err = fmt.Fprintf(w, anchorText+"%s", c.Origin, c.Size, n.trail.PublicKey(), c.Signed)
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("mail anchor: %w", err)
	}
	header, body, _ := bytes.Cut(b.Bytes(), []byte("\r\n\r\n"))
	_, err = n.engine.Submit(ctx, gateway.Outgoing{Stream: st.Name, To: rcpt, Header: append(header, "\r\n"...), Body: body, Ref: "anchor " + day})
	if err != nil {
		return fmt.Errorf("mail anchor: %w", err)
	}
	return nil
}

// anchorsIn finds the checkpoints of a log in a file: one signed checkpoint,
// the file of anchor_file, or the mail of anchor_mail as it was saved.
func anchorsIn(b []byte, origin string) ([]string, error) {
	text := string(b)
	if m, err := message.Read(bytes.NewReader(b)); err == nil && m.Header.Len() > 0 {
		err := m.Walk(func(_ []int, part *message.Entity, err error) error {
			if err != nil || part.MultipartReader() != nil {
				return err
			}
			var body bytes.Buffer
			if _, err := body.ReadFrom(part.Body); err != nil {
				return err
			}
			text += "\n" + body.String()
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read the mail: %w", err)
		}
	}
	found := ledger.Checkpoints(text, origin)
	if len(found) == 0 {
		return nil, fmt.Errorf("no checkpoint of %s is in it", origin)
	}
	return found, nil
}

// retentionEvery is how often the ledger is looked through for records whose
// time is over; the first time is a little after the start.
const (
	retentionEvery = 24 * time.Hour
	retentionFirst = 10 * time.Minute
)

// keepRetention deletes from this node's ledger what has reached the end of
// its time, each day, until ctx ends.
func (n *node) keepRetention(ctx context.Context) error {
	wait := time.NewTimer(retentionFirst)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		if err := errors.Join(n.pruneLedger(ctx, time.Now()), n.lapsePersons(ctx, time.Now())); err != nil && ctx.Err() == nil {
			n.log.Error("deletion run of the ledger failed, will try again", "err", err)
		}
		wait.Reset(retentionEvery)
	}
}

// pruneLedger removes verdicts and deliveries whose time is over: 90 days
// where the mail was no marketing, and where it was, the end of the third year
// after it, when claims run out (design D15). A legal hold keeps those of its
// controller. Records of consent, opt-outs and cases stay.
func (n *node) pruneLedger(ctx context.Context, now time.Time) error {
	cfg, streams := n.cfg.Ledger, n.engine.Streams()
	held := n.config().heldControllers(now)
	rule := func(class string, before time.Time, marketing bool) ledger.Retention {
		return ledger.Retention{Class: class, Before: before, Match: func(r ledger.Record) bool {
			if r.Kind != ledger.KindVerdict && r.Kind != ledger.KindDelivery || held[r.Controller] || held[""] {
				return false
			}
			st, known := streams.ByNumber(r.Stream)
			return (!known || st.Kind == stream.Marketing) == marketing // in doubt the longer time
		}}
	}
	var errs []error
	for _, r := range []ledger.Retention{
		rule("verdicts", now.Add(-time.Duration(cfg.KeepVerdicts)), false),
		rule("marketing-verdicts", time.Date(now.UTC().Year()-cfg.KeepMarketing, 1, 1, 0, 0, 0, 0, time.UTC), true),
	} {
		count, err := n.trail.Prune(ctx, r)
		errs = append(errs, err)
		n.log.Info("ledger deletion run", "class", r.Class, "records", count)
	}
	return errors.Join(errs...)
}

// lapsePersons destroys the keys of persons whom nothing was sent any more since
// the end of the limitation time (design D15), by any node. What they said and
// what became of a case counts as a send does. In doubt a key stays, so also
// while another node can't be asked.
func (n *node) lapsePersons(ctx context.Context, now time.Time) error {
	held := n.config().heldControllers(now)
	before := time.Date(now.UTC().Year()-n.cfg.Ledger.KeepPersons, 1, 1, 0, 0, 0, 0, time.UTC)
	done, err := n.trail.DestroyLapsed(ctx, ledger.Lapse{
		Before: before, Keeps: keepsKey,
		Spare: func(ctx context.Context, over []ledger.Over) (map[address.SubjectID]bool, error) {
			spared := map[address.SubjectID]bool{}
			var ask []address.SubjectID
			for _, o := range over {
				keep := held[o.Controller] || held[""]
				if !keep {
					var err error
					if keep, err = n.needed(ctx, o.Controller, o.Subject); err != nil {
						return nil, err
					}
				}
				if spared[o.Subject] = keep; !keep {
					ask = append(ask, o.Subject)
				}
			}
			if len(ask) == 0 {
				return spared, nil
			}
			elsewhere, err := n.books.Outlast(ctx, before, ask)
			maps.Copy(spared, elsewhere)
			return spared, err
		},
	})
	n.log.Info("ledger deletion run", "class", "persons", "keys", done.Persons, "spared", done.Spared)
	return err
}

// keepsKey tells whether a record keeps its person's key: that a mail was
// denied does not, or a list that is never cleaned would keep a person for ever.
func keepsKey(r ledger.Record) bool {
	denied := r.Kind == ledger.KindVerdict && r.Action == "deny" || r.Kind == ledger.KindDelivery && r.Action == string(spool.Denied)
	return !denied
}

// needed tells whether a person's records must stay readable: their consent is
// on record, or a case of theirs lives or is on legal hold.
func (n *node) needed(ctx context.Context, controller string, subject address.SubjectID) (bool, error) {
	profile, err := n.consent.ProfileSubject(ctx, controller, subject)
	if err != nil {
		return false, err
	}
	for _, c := range profile.Consents {
		if c.Form != (address.ExactHash{}) { // the zero form holds opt-outs alone
			return true, nil
		}
	}
	if n.queue == nil {
		return false, nil
	}
	cases, err := n.queue.List(ctx, queue.Filter{Subject: subject})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(cases, func(c queue.Case) bool {
		return c.State.Live() || slices.Contains(c.Flags, queue.FlagLegalHold)
	}), nil
}

// heldControllers are those of whom nothing may be deleted at a moment.
func (c *Config) heldControllers(now time.Time) map[string]bool {
	held := map[string]bool{}
	for _, h := range c.LegalHolds {
		until, err := time.Parse(time.DateOnly, h.Until)
		if h.Until == "" || err != nil || now.Before(until.AddDate(0, 0, 1)) {
			held[h.Controller] = true
		}
	}
	return held
}
