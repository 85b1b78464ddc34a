package gateway

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"postern/gateway/delivery"
)

// notify tells the sender which recipients of a mixed message were refused
// (RFC 3464): from <>, to the reverse-path, never about a message from <>.
// The text names reasons by closed words; the header is returned, the body only
// where RET=FULL asked for it (DSN-4).
func (e *Engine) notify(ctx context.Context, env *Envelope, m *message, d *decision, denied []int) error {
	var told []int
	for _, i := range denied {
		if wantsFailure(env.Recipients[i].Notify) {
			told = append(told, i)
		}
	}
	if len(told) == 0 || env.ReversePath.IsZero() {
		return nil
	}
	hdr, body := e.failureReport(env, m, d, told)
	_, err := e.Submit(ctx, Outgoing{To: env.ReversePath, NotifyNever: true, Header: hdr, Body: body})
	if err != nil {
		return fmt.Errorf("notify sender: %w", err)
	}
	return nil
}

// wantsFailure reads NOTIFY: a failure is told unless NEVER or another list
// was asked for (RFC 3461 section 4.1).
func wantsFailure(notify string) bool {
	if notify == "" {
		return true
	}
	for _, n := range strings.Split(notify, ",") {
		if strings.EqualFold(strings.TrimSpace(n), "FAILURE") {
			return true
		}
	}
	return false
}

// failureReport builds the report, in the forms of RFC 6533 where an address
// needs UTF-8.
func (e *Engine) failureReport(env *Envelope, m *message, d *decision, told []int) (hdr, body []byte) {
	utf8 := env.ReversePath.NeedsUTF8()
	for _, i := range told {
		utf8 = utf8 || env.Recipients[i].Address.NeedsUTF8()
	}
	status := "message/delivery-status"
	if utf8 {
		status = "message/global-delivery-status"
	}
	full := delivery.ReturnsFull(env.Ret, m.hdr.Raw(), m.body)
	returned := returnedType(hasEightBit(m.hdr.Raw()), full)
	boundary := "=_postern_" + e.newID(e.opts.Now())
	hdr = fmt.Appendf(nil, "From: Mail Delivery System <postmaster@%s>\r\nTo: <%s>\r\nSubject: Not delivered to some recipients\r\n"+
		"Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n",
		e.opts.Hostname, env.ReversePath.Plain(), boundary)
	var b bytes.Buffer
	part := func(media string) {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", boundary, media)
	}
	part("text/plain; charset=utf-8")
	b.WriteString("Your message was accepted for some of its recipients and refused for these:\r\n\r\n")
	for _, i := range told {
		fmt.Fprintf(&b, "  <%s>: %s\r\n", env.Recipients[i].Address.Plain(), d.verdicts[i].Deny.public())
	}
	b.WriteString("\r\n")
	part(status)
	e.statusFields(&b, env, d, told)
	part(returned)
	b.Write(m.hdr.Raw())
	if full {
		b.WriteString("\r\n")
		b.Write(m.body)
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return hdr, b.Bytes()
}

// returnedType is the media type of the part that holds the message or its
// header (RFC 6522, RFC 6533).
func returnedType(utf8Header, full bool) string {
	switch {
	case full && utf8Header:
		return "message/global"
	case full:
		return "message/rfc822"
	case utf8Header:
		return "message/global-headers"
	}
	return "text/rfc822-headers"
}

// statusFields are the machine-readable part (RFC 3464 section 2).
func (e *Engine) statusFields(b *bytes.Buffer, env *Envelope, d *decision, told []int) {
	fmt.Fprintf(b, "Reporting-MTA: dns; %s\r\n", e.opts.Hostname)
	if env.EnvID != "" && isPrintable(env.EnvID) {
		fmt.Fprintf(b, "Original-Envelope-Id: %s\r\n", env.EnvID)
	}
	for _, i := range told {
		rc := env.Recipients[i]
		kind := "rfc822"
		if rc.Address.NeedsUTF8() {
			kind = "utf-8"
		}
		b.WriteString("\r\n")
		if rc.ORcpt != "" && isPrintable(rc.ORcpt) {
			fmt.Fprintf(b, "Original-Recipient: %s\r\n", rc.ORcpt)
		}
		fmt.Fprintf(b, "Final-Recipient: %s; %s\r\nAction: failed\r\nStatus: 5.7.1\r\nDiagnostic-Code: smtp; 550 5.7.1 %s\r\n",
			kind, rc.Address.Plain(), d.verdicts[i].Deny.public())
	}
	b.WriteString("\r\n")
}

func isPrintable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// public is what a sender may be told, as in a reply: the reason, but not why
// somebody is suppressed.
func (d *Denial) public() string {
	a, ok := denials[d.Reason]
	if !ok {
		a = answer{tag: strings.ToUpper(string(d.Reason)), text: "refused by policy"}
	}
	return a.tag + " " + a.text
}
