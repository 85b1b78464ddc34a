package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/quotedprintable"
	"net"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/delivery"
	"postern/gateway/dkim"
	"postern/gateway/preflight"
	"postern/gateway/stream"
	"postern/intake"
)

// doctorSource is the evidence of the consent that the doctor's own message
// goes out under.
const doctorSource = "postern doctor"

// doctorPrefix begins the Message-IDs of the doctor: only such mail is read
// out of a mailbox for it.
const doctorPrefix = "doctor-"

type doctorRequest struct {
	Offline bool // ask no DNS
	Stream  string
	Mailbox string
	Message string // a Message-ID
	Actor   string
}

type doctorSent struct {
	Message string `json:"message"` // Message-ID without angle brackets
	Spool   string `json:"spool"`
	Mailbox string `json:"mailbox"`
}

type doctorFound struct {
	Raw []byte `json:"raw"` // nil: not there yet
}

func (n *node) doctorOperations() []operation {
	return []operation{
		op("doctor/installation", n.examine),
		op("doctor/send", n.sendDoctor),
		op("doctor/find", func(ctx context.Context, r doctorRequest) (doctorFound, error) {
			m, err := n.cfg.doctorMailbox(r.Mailbox)
			if err != nil {
				return doctorFound{}, err
			}
			if !strings.HasPrefix(r.Message, doctorPrefix) {
				return doctorFound{}, errors.New("only the doctor's own mail is read out")
			}
			box, err := m.mailbox()
			if err != nil {
				return doctorFound{}, err
			}
			raw, err := intake.Find(ctx, box, "<"+r.Message+">")
			return doctorFound{raw}, err
		}),
	}
}

// doctorMailbox is the named mailbox, or the first that has an address.
func (c *Config) doctorMailbox(name string) (MailboxConfig, error) {
	for _, m := range c.Mailboxes {
		if (name == "" || m.Name == name) && len(m.Addresses) > 0 {
			return m, nil
		}
	}
	if name != "" {
		return MailboxConfig{}, fmt.Errorf("no mailbox %q with an address of its own is configured", name)
	}
	return MailboxConfig{}, errors.New("the doctor needs a polled mailbox with an address of its own: configure [[mailbox]] with addresses")
}

// examine looks at all that the node depends on.
func (n *node) examine(ctx context.Context, r doctorRequest) ([]preflight.Finding, error) {
	list := []preflight.Finding{n.examineRedis(ctx), n.examineKeys(ctx)}
	cfg := n.config()
	hops, err := cfg.deliveryOptions(n)
	if err != nil {
		list = append(list, judged("smarthost", err, "", "put the password where the configuration says it is"))
	}
	for _, s := range hops.Smarthosts {
		list = append(list, n.examineSmarthost(ctx, s))
	}
	for _, d := range cfg.DKIM {
		list = append(list, examineDKIM(ctx, d, r.Offline))
	}
	for _, m := range cfg.Mailboxes {
		list = append(list, examineMailbox(ctx, m))
	}
	return list, nil
}

// judged makes a finding of an error.
func judged(name string, err error, good, do string) preflight.Finding {
	if err != nil {
		return preflight.Finding{Name: name, Level: preflight.Fail, What: err.Error(), Do: do}
	}
	return preflight.Finding{Name: name, Level: preflight.Pass, What: good}
}

func (n *node) examineRedis(ctx context.Context) preflight.Finding {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if n.cfg.Redis.AllowVolatile {
		return preflight.Finding{Name: "redis", Level: preflight.Fail,
			What: "redis.allow_volatile is set: consents and cases may be forgotten", Do: "use it in the demo only"}
	}
	err := consent.CheckDurability(ctx, n.rdb, consent.Durability{Asserted: n.cfg.Redis.DurabilityAsserted})
	return judged("redis", err, "it answers and keeps what it was told", "start Redis, set up as deploy/redis.conf")
}

func (n *node) examineKeys(ctx context.Context) preflight.Finding {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return judged("keys", n.consent.Check(ctx), "they fit what Redis holds", "bring back the key file that Redis was written with")
}

func (n *node) examineSmarthost(ctx context.Context, s delivery.Smarthost) preflight.Finding {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	name := "smarthost " + s.Name
	secure, err := delivery.Probe(ctx, s, delivery.Options{Helo: n.cfg.Hostname})
	if err == nil && !secure {
		return preflight.Finding{Name: name, Level: preflight.Advice, What: "it takes mail, without TLS (tls = \"" + string(s.TLS) + "\")",
			Do: "set tls = \"required\" unless it is on this machine"}
	}
	return judged(name, err, "it takes mail over TLS", "look at its address, tls, ca, user and password")
}

func examineDKIM(ctx context.Context, d DKIMConfig, offline bool) preflight.Finding {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	name := "dkim-record " + d.Selector + "._domainkey." + d.Domain
	k, err := dkim.Load(d.Key, d.Domain, d.Selector)
	if err == nil && offline {
		return preflight.Finding{Name: name, Level: preflight.Unchecked, What: "the key can be read; DNS was not asked", Do: "run again without --offline"}
	}
	if err == nil {
		err = dkim.CheckDNS(ctx, k, net.DefaultResolver.LookupTXT)
	}
	return judged(name, err, "the record holds the key", "publish what postern dkim dns prints")
}

func examineMailbox(ctx context.Context, m MailboxConfig) preflight.Finding {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	box, err := m.mailbox()
	if err == nil {
		err = intake.Probe(ctx, box)
	}
	return judged("mailbox "+m.Name, err, "logged in, its folders can be opened", "look at its address, tls, user, password and folders")
}

// sendDoctor sends a marketing message of a stream to the mailbox's own
// address, through the engine as a client's would go: same verdict, same
// spool, same delivery.
func (n *node) sendDoctor(ctx context.Context, r doctorRequest) (doctorSent, error) {
	st, ok := n.engine.Streams().ByName(r.Stream)
	if !ok || st.Retired || st.Kind != stream.Marketing {
		return doctorSent{}, fmt.Errorf("%q is no marketing stream in use", r.Stream)
	}
	m, err := n.cfg.doctorMailbox(r.Mailbox)
	if err != nil {
		return doctorSent{}, err
	}
	addr, err := address.Parse(m.Addresses[0])
	if err != nil {
		return doctorSent{}, fmt.Errorf("address of mailbox %q: %w", m.Name, err)
	}
	if err := n.consentOfDoctor(ctx, st, addr, r.Actor); err != nil {
		return doctorSent{}, err
	}
	controller, _ := n.engine.Streams().Controller(st.Controller)
	id := doctorPrefix + strings.ToLower(ulid.Make().String()) + "@" + n.cfg.Hostname
	raw, err := doctorMessage(st, controller, addr.Plain(), id, time.Now())
	if err != nil {
		return doctorSent{}, err
	}
	out, err := n.engine.Data(ctx, &gateway.Envelope{
		Session: "doctor", Helo: n.cfg.Hostname, ReversePath: addr,
		Grant:      &gateway.Grant{Client: "postern-doctor", Streams: []string{st.Name}, Default: st.Name},
		Recipients: []gateway.EnvelopeRecipient{{Address: addr, Notify: "NEVER"}},
	}, raw)
	if err == nil && len(out.Recipients) == 1 {
		err = out.Recipients[0]
	}
	if err != nil {
		return doctorSent{}, fmt.Errorf("the relay refused the doctor's message on stream %q to mailbox %q: %w", st.Name, m.Name, err)
	}
	return doctorSent{Message: id, Spool: out.ID, Mailbox: m.Name}, nil
}

// consentOfDoctor records the operator's own consent for the mailbox. It is
// given and confirmed, since the run before ended with an opt-out that nothing
// less may lift.
func (n *node) consentOfDoctor(ctx context.Context, st stream.Stream, addr address.Address, actor string) error {
	e := consent.Event{
		Action: consent.Given, Controller: st.Controller, Purpose: st.Purpose, Address: addr, Pending: true,
		Basis: consent.Express, Method: "form", Source: doctorSource, Language: "en", Actor: actor,
		Wording:    "The operator of this mailbox asks for one test message of the stream " + st.Name + " by postern doctor; its one-click link ends this consent.",
		WordingVer: "1",
	}
	id, err := n.consent.Record(ctx, e)
	if err != nil {
		return fmt.Errorf("record the doctor's consent: %w", err)
	}
	_, err = n.consent.Record(ctx, consent.Event{
		Action: consent.Confirmed, Controller: st.Controller, Purpose: st.Purpose, Address: addr, Ref: id,
		Method: "link", Source: doctorSource, Actor: actor,
	})
	if err != nil {
		return fmt.Errorf("confirm the doctor's consent: %w", err)
	}
	return nil
}

// doctorMessage is a newsletter that intake sets aside as our own: it says
// automatic and comes from the mailbox itself.
func doctorMessage(st stream.Stream, c stream.Controller, addr, id string, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	for _, f := range [][2]string{
		{"From", "<" + addr + ">"}, {"To", "<" + addr + ">"}, {"Subject", "Postern doctor: test of the stream " + st.Name},
		{"Date", now.Format(time.RFC1123Z)}, {"Message-ID", "<" + id + ">"}, {"X-Postern-Stream", st.Name},
		{"Auto-Submitted", "auto-generated"}, {"X-Auto-Response-Suppress", "All"},
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	postal := strings.ReplaceAll(strings.ReplaceAll(c.Postal, "\r\n", "\n"), "\n", "\r\n")
	_, err := fmt.Fprintf(w, "postern doctor tests the whole way of this stream by this message.\r\n\r\nUnsubscribe:\r\n{{unsubscribe_url}}\r\n\r\n%s\r\n%s\r\n", c.Name, postal)
	return b.Bytes(), errors.Join(err, w.Close())
}
