package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/emersion/go-message/mail"

	"postern/gateway"
	"postern/gateway/unsubscribe"
)

// mailer sends what the public pages send: confirmations of sign-ups and fresh
// links, as service mail of the controller through the relay's own spool.
type mailer struct{ node *node }

// Send spools one confirmation; it is durable when Send returns.
func (m mailer) Send(ctx context.Context, c unsubscribe.Confirmation) error {
	controller, ok := m.node.engine.Streams().Controller(c.Controller)
	if !ok {
		return fmt.Errorf("controller %q is not configured", c.Controller)
	}
	var h mail.Header
	h.SetDate(time.Now())
	h.SetAddressList("From", []*mail.Address{{Name: controller.Name, Address: controller.Contact}})
	h.SetAddressList("To", []*mail.Address{{Address: c.To.Plain()}})
	h.SetSubject(c.Subject)
	if c.MessageID != "" {
		h.SetMessageID(c.MessageID)
	}
	h.Set("Auto-Submitted", "auto-generated")
	h.Set("Content-Language", c.Language)
	h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	text := c.Text
	if controller.Postal != "" {
		text += "\n\n-- \n" + controller.Postal + "\n"
	}
	var b bytes.Buffer
	w, err := mail.CreateSingleInlineWriter(&b, h)
	if err != nil {
		return fmt.Errorf("write confirmation: %w", err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return fmt.Errorf("write confirmation: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write confirmation: %w", err)
	}
	header, body, _ := bytes.Cut(b.Bytes(), []byte("\r\n\r\n"))
	_, err = m.node.engine.Submit(ctx, gateway.Outgoing{
		Stream: m.node.cfg.ackStreams()[c.Controller], To: c.To, Header: append(header, "\r\n"...), Body: body,
	})
	return err
}
