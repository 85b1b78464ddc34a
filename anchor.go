package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/stream"
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
		if err := n.pruneLedger(ctx, time.Now()); err != nil && ctx.Err() == nil {
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
	held := n.cfg.heldControllers(now)
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
