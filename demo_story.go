package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/spool"
	"postern/intake"
	"postern/queue"
	"postern/testmail/corpus"
)

// teller writes the story, in colour on a terminal.
type teller struct {
	w      io.Writer
	colour bool
	step   int
}

func (t *teller) say(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (t *teller) paint(code, s string) string {
	if !t.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *teller) bold(s string) string  { return t.paint("1", s) }
func (t *teller) green(s string) string { return t.paint("32", s) }
func (t *teller) red(s string) string   { return t.paint("31", s) }
func (t *teller) dim(s string) string   { return t.paint("2", s) }

// head begins a step.
func (t *teller) head(title string) {
	t.step++
	t.say("\n%s", t.bold(fmt.Sprintf("%d. %s", t.step, title)))
}

// expect tells one outcome and whether it is the one that was told.
func (t *teller) expect(what, got, want string) error {
	ok := strings.Contains(got, want)
	mark := t.green("✓")
	if !ok {
		mark = t.red("✗")
	}
	t.say("  %s %s → %s", mark, what, got)
	if !ok {
		return fmt.Errorf("step %d: %s: got %q, told was %q", t.step, what, got, want)
	}
	return nil
}

// story is the demo's course of events.
type story struct {
	*demoStage
	*teller
	link string // the unsubscribe link that bert got
}

const (
	anna  = "anna@example.net"
	bert  = "bert@example.net"
	carla = "carla@example.net"
)

func (s *story) tell(ctx context.Context) error {
	s.say("%s  one process, nothing installed, nothing kept", s.bold("Postern"))
	for _, step := range []func(context.Context) error{
		s.consentAtTheRelay, s.headersAdded, s.oneClick, s.storeAway, s.letters, s.closedLoop, s.proof,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sendNews sends a newsletter to one recipient and gives the last reply.
func (s *story) sendNews(to string) (string, error) {
	return submitMail(s.smtp, "news@example.org", to, "Subject: Offers of the week\r\nX-Postern-Stream: newsletter\r\n", "Fresh bread and warm socks.\r\n")
}

// submitMail sends one mail by SMTP; a refusal is a reply, not an error.
func submitMail(addr, from, to, header, body string) (string, error) {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, _, err := c.ReadResponse(220); err != nil {
		return "", err
	}
	reply := ""
	for _, line := range []string{"EHLO shop.example.org", "MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">", "DATA"} {
		if err := c.PrintfLine("%s", line); err != nil {
			return "", err
		}
		code, msg, err := c.ReadResponse(0)
		if err != nil {
			return "", err
		}
		if reply = fmt.Sprintf("%d %s", code, msg); code >= 400 {
			return reply, nil
		}
	}
	msg := fmt.Sprintf("Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nMessage-ID: <%d@example.org>\r\n%s\r\n%s",
		time.Now().Format(time.RFC1123Z), from, to, time.Now().UnixNano(), header, body)
	if err := c.PrintfLine("%s.", msg); err != nil {
		return "", err
	}
	code, text, err := c.ReadResponse(0)
	return fmt.Sprintf("%d %s", code, text), err
}

func (s *story) consentAtTheRelay(ctx context.Context) error {
	s.head("A newsletter needs consent")
	for _, who := range []string{anna, bert} {
		if _, err := s.node.consent.Record(ctx, consent.Event{
			Action: consent.Given, Controller: "example", Purpose: "newsletter", Address: address.MustParse(who),
			Basis: consent.Express, Method: "api", Source: "https://shop.example.org/signup", Language: "en",
			Wording: "Yes, send me Example News by e-mail.", WordingVer: "1", Actor: "operator:demo",
		}); err != nil {
			return err
		}
	}
	s.say("  %s", s.dim("anna and bert signed up with the wording shown to them; carla never did."))
	for _, c := range []struct{ who, want string }{{anna, "250 2.0.0"}, {bert, "250 2.0.0"}, {carla, "550 5.7.1 NO-CONSENT"}} {
		reply, err := s.sendNews(c.who)
		if err != nil {
			return err
		}
		if err := s.expect("newsletter to "+c.who, reply, c.want); err != nil {
			return err
		}
	}
	reply, err := submitMail(s.smtp, "orders@example.org", carla, "Subject: Your order\r\nX-Postern-Stream: orders\r\n", "It is on its way.\r\n")
	if err != nil {
		return err
	}
	return s.expect("order confirmation to "+carla, reply, "250 2.0.0")
}

// arrived waits for a message at the next hop that f accepts.
func (s *story) arrived(ctx context.Context, to string, f func(data string) bool) (string, error) {
	found := ""
	err := until(ctx, func() bool {
		for _, m := range s.sink.Messages() {
			if m.To[0] == to && f(string(m.Data)) {
				found = string(m.Data)
				return true
			}
		}
		return false
	})
	if err != nil {
		return "", fmt.Errorf("step %d: nothing arrived for %s: %w", s.step, to, err)
	}
	return found, nil
}

// until waits for a condition, at most 15 seconds.
func until(ctx context.Context, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

var linkField = regexp.MustCompile(`(?is)List-Unsubscribe:\s*<(https://[^>]+)>`)

func (s *story) headersAdded(ctx context.Context) error {
	s.head("What left carries an unsubscribe that works, with a token of its own per recipient")
	mail, err := s.arrived(ctx, bert, func(string) bool { return true })
	if err != nil {
		return err
	}
	head, _, _ := strings.Cut(mail, "\r\n\r\n")
	for _, name := range []string{"List-Unsubscribe", "List-Unsubscribe-Post", "List-Id"} {
		field := fieldOf(head, name)
		s.say("    %s", s.dim(field))
		if field == "" {
			return fmt.Errorf("step %d: %s is missing", s.step, name)
		}
	}
	m := linkField.FindStringSubmatch(head)
	if m == nil {
		return fmt.Errorf("step %d: no link in List-Unsubscribe", s.step)
	}
	// The demo's pages are served in clear on loopback, without the TLS proxy
	// that would stand at this name.
	s.link = strings.Replace(m[1], "https://mail.example.org", "http://"+s.public, 1)
	if strings.Contains(head, "X-Postern-Stream") {
		return fmt.Errorf("step %d: X-Postern-Stream left the house", s.step)
	}
	_, err = textproto.NewReader(bufio.NewReader(bytes.NewReader([]byte(head + "\r\n\r\n")))).ReadMIMEHeader()
	return err
}

// fieldOf is a header field with its folded lines.
func fieldOf(head, name string) string {
	var out []string
	for _, line := range strings.Split(head, "\r\n") {
		switch {
		case len(out) == 0 && strings.HasPrefix(strings.ToLower(line), strings.ToLower(name)+":"):
			out = append(out, line)
		case len(out) > 0 && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")):
			out = append(out, line)
		case len(out) > 0:
			return strings.Join(out, "\n    ")
		}
	}
	return strings.Join(out, "\n    ")
}

func (s *story) oneClick(ctx context.Context) error {
	s.head("One click (RFC 8058)")
	get, err := fetch(ctx, http.MethodGet, s.link, nil)
	if err != nil {
		return err
	}
	if err := s.expect("a link scanner opens it (GET)", get, "200"); err != nil {
		return err
	}
	reply, err := s.sendNews(bert)
	if err != nil {
		return err
	}
	if err := s.expect("nothing has changed: newsletter to bert", reply, "250 2.0.0"); err != nil {
		return err
	}
	post, err := fetch(ctx, http.MethodPost, s.link, url.Values{"List-Unsubscribe": {"One-Click"}})
	if err != nil {
		return err
	}
	if err := s.expect("the mailbox provider posts List-Unsubscribe=One-Click", post, "200"); err != nil {
		return err
	}
	if reply, err = s.sendNews(bert); err != nil {
		return err
	}
	if err := s.expect("newsletter to bert", reply, "550 5.7.1 SUPPRESSED"); err != nil {
		return err
	}
	reply, err = submitMail(s.smtp, "orders@example.org", bert, "Subject: Your order\r\nX-Postern-Stream: orders\r\n", "It is on its way.\r\n")
	if err != nil {
		return err
	}
	return s.expect("his order confirmation still passes", reply, "250 2.0.0")
}

func fetch(ctx context.Context, method, link string, form url.Values) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, link, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Status, err
}

func (s *story) storeAway(ctx context.Context) error {
	s.head("In doubt it fails closed")
	s.say("  %s", s.dim("Redis stops answering for a moment:"))
	s.redis.SetError("LOADING the store is away")
	reply, err := s.sendNews(anna)
	if err != nil {
		return err
	}
	if err := s.expect("newsletter to anna", reply, "451 4.3.0 STORE-UNAVAILABLE"); err != nil {
		return err
	}
	s.redis.SetError("")
	err = until(ctx, func() bool {
		reply, err = s.sendNews(anna)
		return err == nil && strings.HasPrefix(reply, "250")
	})
	if err != nil {
		return err
	}
	return s.expect("Redis is back, the client's queue tries again", reply, "250 2.0.0")
}

// letters shows how the letters of the corpus are read.
func (s *story) letters(context.Context) error {
	s.head("Letters to privacy@, read by rule and model")
	list, err := corpus.Letters()
	if err != nil {
		return err
	}
	for _, l := range list[:min(12, len(list))] {
		in, _ := intake.Facts(l.Raw, time.Now(), intake.Mailbox{}, s.node.classifier)
		got := make([]string, len(in.Result.Decided))
		for i, d := range in.Result.Decided {
			got[i] = string(d)
		}
		what := fmt.Sprintf("%-26s", l.Name)
		read := fmt.Sprintf("%s %s: %s", in.Result.Language, in.Result.Kind, strings.Join(got, ", "))
		if in.Result.Abstain {
			read += " (unsure: a person reads it)"
		}
		for _, want := range l.Want.Labels {
			if !in.Result.Has(classifier.Label(want)) && !in.Result.Abstain {
				return s.expect(what, read, want)
			}
		}
		if err := s.expect(what, read, in.Result.Language); err != nil {
			return err
		}
	}
	return nil
}

const annasLetter = "Return-Path: <anna@example.net>\r\nReceived: from mail.example.net by mx.example.org; %[1]s\r\n" +
	"From: Anna <anna@example.net>\r\nTo: privacy@example.org\r\nSubject: Your newsletter\r\nMessage-ID: <loop@example.net>\r\nDate: %[1]s\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n\r\nHello,\r\nplease stop sending me advertising.\r\n\r\nAnna\r\n"

func (s *story) closedLoop(ctx context.Context) error {
	s.head("The closed loop: a mail to privacy@ stops the relay, also for what is already spooled")
	waiting, err := s.spoolOne(ctx)
	if err != nil {
		return err
	}
	s.say("  %s", s.dim("one newsletter to anna waits in the spool ("+waiting+"); she writes: \"please stop sending me advertising\""))
	start := time.Now()
	if err := s.box.Deliver("INBOX", fmt.Appendf(nil, annasLetter, start.Format(time.RFC1123Z)), start); err != nil {
		return err
	}
	var reply string
	err = until(ctx, func() bool {
		p, perr := s.node.consent.Profile(ctx, "example", address.MustParse(anna))
		return perr == nil && len(p.Suppressions) > 0
	})
	if err != nil {
		return fmt.Errorf("step %d: the letter did not bind the relay: %w", s.step, err)
	}
	took := time.Since(start).Round(time.Millisecond)
	if reply, err = s.sendNews(anna); err != nil {
		return err
	}
	if err := s.expect(fmt.Sprintf("%s later: the very next newsletter to anna", took), reply, "550 5.7.1"); err != nil {
		return err
	}
	s.busy.Store(false)
	if err := until(ctx, func() bool { _, err := s.node.spool.Get(ctx, waiting); return err != nil }); err != nil {
		return fmt.Errorf("step %d: the spooled newsletter has no outcome: %w", s.step, err)
	}
	left := "it did not leave"
	for _, m := range s.sink.Messages() {
		if strings.Contains(string(m.Data), "waits in the spool") && !strings.Contains(string(m.Data), "delivery-status") {
			left = "it left"
		}
	}
	if err := s.expect("the next hop answers again: the one in the spool", left, "it did not leave"); err != nil {
		return err
	}
	return s.caseOpened(ctx)
}

// spoolOne gets a newsletter to anna into the spool while the next hop is too
// busy to take it, and gives its id.
func (s *story) spoolOne(ctx context.Context) (string, error) {
	s.busy.Store(true)
	reply, err := submitMail(s.smtp, "news@example.org", anna, "Subject: Late offers\r\nX-Postern-Stream: newsletter\r\n", "This one waits in the spool.\r\n")
	if err != nil {
		return "", err
	}
	if err := s.expect("the next hop is busy; another newsletter to anna", reply, "250 2.0.0"); err != nil {
		return "", err
	}
	id := reply[strings.LastIndexByte(reply, ' ')+1:]
	err = until(ctx, func() bool {
		m, err := s.node.spool.Get(ctx, id)
		return err == nil && m.Recipients[0].State == spool.Queued && m.Recipients[0].Attempts > 0
	})
	if err != nil {
		return "", fmt.Errorf("step %d: the newsletter does not wait in the spool: %w", s.step, err)
	}
	return id, nil
}

func (s *story) caseOpened(ctx context.Context) error {
	var cases []queue.Case
	err := until(ctx, func() bool {
		var err error
		cases, err = s.node.queue.List(ctx, queue.Filter{})
		return err == nil && len(cases) == 1
	})
	if err != nil {
		return fmt.Errorf("step %d: no case was opened: %w", s.step, err)
	}
	k := cases[0]
	if err := s.expect("her case", fmt.Sprintf("%s %v, due %s", k.Number, k.Labels, k.Due.Format("Mon 2 Jan 2006")), "objection"); err != nil {
		return err
	}
	receipt, err := s.arrived(ctx, anna, func(data string) bool { return strings.Contains(data, k.Number) })
	if err != nil {
		return err
	}
	head, _, _ := strings.Cut(receipt, "\r\n\r\n")
	return s.expect("her receipt, by the relay's own spool", strings.ReplaceAll(fieldOf(head, "Auto-Submitted"), "\n", " "), "auto-replied")
}

func (s *story) proof(ctx context.Context) error {
	s.head("Every decision can be shown afterwards")
	p, err := s.node.consent.Profile(ctx, "example", address.MustParse(anna))
	if err != nil {
		return err
	}
	for _, k := range p.Consents {
		for _, e := range k.History {
			s.say("    %s", s.dim(fmt.Sprintf("%s  %s  %q", e.Time.Format(time.DateTime), e.Action, e.Terms.Wording)))
		}
	}
	got := "nothing"
	for _, x := range p.Suppressions {
		got = fmt.Sprintf("suppressed %s, reason %s, case %s", x.Time.Format(time.DateTime), x.Reason, x.Case)
	}
	return s.expect("what is known of anna", got, "reason objected")
}
