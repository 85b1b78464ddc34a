package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/testmail/env"
	"postern/testmail/smarthost"
)

// benchLoop measures the closed loop: from the delivery of "please stop
// sending me advertising" into Dovecot to the relay's first refusal, while
// other look-ups go on beside it.
func benchLoop(ctx context.Context, h *host, args []string) error {
	fs := flag.NewFlagSet("loop", flag.ExitOnError)
	letters := fs.Int("letters", 200, "letters, one after the other")
	lookups := fs.Int("lookups", 5000, "look-ups a second beside it")
	if err := fs.Parse(args); err != nil {
		return err
	}
	hop := &waitingHop{}
	hop.busy.Store(true)
	sink, err := smarthost.New(smarthost.Options{Discard: true, Script: hop.answer, OnMessage: hop.took})
	if err != nil {
		return err
	}
	h.Cleanup(func() { _ = sink.Close() })
	dovecot := env.Dovecot(h)
	i := install(h, build(h), sink.Addr(), dovecot)
	addrs := make([]string, *letters)
	for n := range addrs {
		addrs[n] = fmt.Sprintf("loop%d@example.net", n)
	}
	for n := range pool {
		addrs = append(addrs, recipient(n))
	}
	i.consent(addrs)

	spooled := addrs[:min(*letters, 20)]
	control := recipient(0) // writes no letter
	for _, a := range append([]string{control}, spooled...) {
		if err := newsletter(i.News, a); err != nil {
			return fmt.Errorf("newsletter into the spool: %w", err)
		}
	}
	beside, stop := context.WithCancel(ctx)
	defer stop()
	made := lookUpBeside(beside, i.News, *lookups)
	start := time.Now()
	times := make([]time.Duration, 0, *letters)
	for n := range *letters {
		d, err := oneLetter(ctx, i, dovecot, addrs[n])
		if err != nil {
			return fmt.Errorf("letter %d: %w", n, err)
		}
		times = append(times, d)
	}
	rate := float64(made()) / time.Since(start).Seconds()
	slices.Sort(times)
	at := func(q float64) time.Duration { return times[min(len(times)-1, int(q*float64(len(times))))] }
	fmt.Printf("from delivery in Dovecot to the first refusal at the relay, %d letters, %.0f look-ups/s beside:\n", *letters, rate)
	fmt.Printf("  p50 %s  p99 %s  max %s\n", at(0.5).Round(time.Millisecond), at(0.99).Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
	hop.busy.Store(false)
	if err := hop.settled(ctx, i); err != nil {
		return err
	}
	fmt.Printf("newsletters that waited in the spool when the letter of their person came: %d, of these left afterwards: %d\n", len(spooled), hop.left.Load()-1)
	return nil
}

// waitingHop is a next hop that is busy for a while and counts newsletters.
type waitingHop struct {
	busy atomic.Bool
	left atomic.Int64
}

func (w *waitingHop) answer(e smarthost.Event) smarthost.Answer {
	if e.Verb == "RCPT" && w.busy.Load() {
		return smarthost.Answer{Reply: "451 4.3.2 busy, try later"}
	}
	return smarthost.Answer{}
}

// took counts what has the newsletters' reverse-path; receipts have none.
func (w *waitingHop) took(m *smarthost.Message) {
	if m.From == "news@example.org" {
		w.left.Add(1)
	}
}

// settled waits until the spool is empty and the one newsletter that may leave
// has left.
func (w *waitingHop) settled(ctx context.Context, i *installation) error {
	for began := time.Now(); time.Since(began) < time.Minute; {
		waiting, err := i.metric(ctx, "postern_spool_messages")
		if err != nil {
			return err
		}
		if waiting == 0 && w.left.Load() > 0 {
			return nil
		}
	}
	return errors.New("the spool did not empty within a minute")
}

// newsletter hands one message to the relay.
func newsletter(addr, to string) error {
	p, err := dialProbe(addr)
	if err != nil {
		return err
	}
	defer p.close()
	if code, err := p.command("MAIL FROM:<news@example.org>\r\nRCPT TO:<"+to+">\r\nDATA\r\n", 3); err != nil || code != 354 {
		return fmt.Errorf("answered %d: %w", code, err)
	}
	code, err := p.command("From: News <news@example.org>\r\nTo: "+to+"\r\nSubject: Offers\r\nDate: "+time.Now().Format(time.RFC1123Z)+"\r\nMessage-ID: <n-"+to+">\r\n\r\nBread.\r\n.\r\n", 1)
	if err != nil || code != 250 {
		return fmt.Errorf("answered %d: %w", code, err)
	}
	return nil
}

// oneLetter delivers the objection of a person and asks the relay until it
// refuses their next newsletter.
func oneLetter(ctx context.Context, i *installation, dovecot *env.DovecotServer, from string) (time.Duration, error) {
	probe, err := dialProbe(i.News)
	if err != nil {
		return 0, err
	}
	defer probe.close()
	if code, err := probe.rcpt(from); err != nil || code != 250 {
		return 0, fmt.Errorf("before the letter: %d %w", code, err)
	}
	dovecot.Deliver(fmt.Appendf(nil, "Return-Path: <%[1]s>\r\nFrom: <%[1]s>\r\nTo: privacy@example.org\r\nSubject: newsletter\r\nMessage-ID: <%[1]s>\r\nDate: %[2]s\r\n\r\nPlease stop sending me advertising.\r\n",
		from, time.Now().Format(time.RFC1123Z)))
	start := time.Now()
	for ctx.Err() == nil {
		code, err := probe.rcpt(from)
		if err != nil {
			return 0, err
		}
		if code == 550 {
			return time.Since(start), nil
		}
		if time.Since(start) > 30*time.Second {
			return 0, errors.New("the relay did not refuse within 30 s")
		}
	}
	return 0, ctx.Err()
}

// probe asks for verdicts at RCPT, without ever sending a message.
type probe struct {
	conn net.Conn
	r    *textproto.Reader
}

func dialProbe(addr string) (*probe, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	p := &probe{conn, textproto.NewReader(bufio.NewReader(conn))}
	if _, _, err := p.r.ReadResponse(220); err != nil {
		return nil, err
	}
	_, err = p.command("EHLO probe.example.org\r\n", 1)
	return p, err
}

// command writes commands and gives the code of the last of n replies.
func (p *probe) command(text string, n int) (code int, err error) {
	if _, err := p.conn.Write([]byte(text)); err != nil {
		return 0, err
	}
	for range n {
		if code, _, err = p.r.ReadResponse(0); err != nil {
			return 0, err
		}
	}
	return code, nil
}

func (p *probe) rcpt(to string) (int, error) {
	if _, err := p.command("MAIL FROM:<news@example.org>\r\n", 1); err != nil {
		return 0, err
	}
	code, err := p.command("RCPT TO:<"+to+">\r\n", 1)
	if err != nil {
		return 0, err
	}
	_, err = p.command("RSET\r\n", 1)
	return code, err
}

func (p *probe) close() { _ = p.conn.Close() }

// lookUpBeside asks for verdicts at a steady rate over a few connections, 50
// recipients a transaction; the returned function stops it and gives how many
// were made.
func lookUpBeside(ctx context.Context, addr string, perSecond int) func() int64 {
	ctx, cancel := context.WithCancel(ctx)
	var made atomic.Int64
	var wg sync.WaitGroup
	const conns, batch = 4, 50
	for k := range conns {
		wg.Go(func() {
			p, err := dialProbe(addr)
			if err != nil {
				return
			}
			defer p.close()
			tick := time.NewTicker(time.Duration(conns*batch) * time.Second / time.Duration(max(perSecond, 1)))
			defer tick.Stop()
			for n := k; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				var b strings.Builder
				b.WriteString("MAIL FROM:<news@example.org>\r\n")
				for r := range batch {
					fmt.Fprintf(&b, "RCPT TO:<%s>\r\n", recipient(n*batch+r))
				}
				b.WriteString("RSET\r\n")
				if _, err := p.command(b.String(), batch+2); err != nil {
					return
				}
				made.Add(batch)
			}
		})
	}
	return func() int64 {
		cancel()
		wg.Wait()
		return made.Load()
	}
}
