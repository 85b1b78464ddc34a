package main

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"postern/gateway"
	"postern/gateway/consent"
	"postern/gateway/consent/dossier"
	"postern/gateway/ledger"
	"postern/gateway/stream"
	"postern/gateway/unsubscribe"
)

// pageRequest asks for the page of one person.
type pageRequest struct {
	personRequest
	Language string
}

type pageReply struct {
	HTML string `json:"html"`
}

// evidencePage writes all that is known of a person as a page to print or send.
func (n *node) evidencePage(ctx context.Context, r pageRequest) (pageReply, error) {
	addr, err := n.person(&r.Controller, r.Address)
	if err != nil {
		return pageReply{}, err
	}
	p, err := n.consent.Profile(ctx, r.Controller, addr)
	if err != nil {
		return pageReply{}, err
	}
	controller, _ := n.engine.Streams().Controller(r.Controller)
	if r.Language == "" {
		r.Language = controller.Language
	}
	mails, err := n.confirmationMails(ctx, p)
	if err != nil {
		return pageReply{}, err
	}
	w, err := dossier.New()
	if err != nil {
		return pageReply{}, err
	}
	var b bytes.Buffer
	err = w.Write(&b, dossier.Facts{
		Profile: p, Controller: controller, Streams: n.engine.Streams().Streams(), Address: addr.Plain(),
		Language: r.Language, Made: time.Now(), Mails: mails,
	})
	return pageReply{b.String()}, err
}

// confirmationMails finds in the ledgers of all nodes the mails that asked to confirm
// the sign-ups of a profile.
func (n *node) confirmationMails(ctx context.Context, p consent.Profile) (map[string]dossier.Mail, error) {
	out := map[string]dossier.Mail{}
	for _, c := range p.Consents {
		for _, e := range c.History {
			if !e.Pending {
				continue
			}
			m := dossier.Mail{ID: unsubscribe.MessageID(e.ID, n.cfg.Public.URL)}
			err := n.books.Query(ctx, ledger.Filter{Message: gateway.MessageIDHash("<" + m.ID + ">")}, func(x ledger.Entry) error {
				switch {
				case x.Record.Kind == ledger.KindVerdict && x.Record.Action == "allow" && m.Accepted.IsZero():
					m.Accepted = x.Record.Time
				case x.Record.Kind == ledger.KindDelivery && x.Record.Action == "delivered":
					m.Delivered = x.Record.Time
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			if !m.Accepted.IsZero() {
				out[e.ID] = m
			}
		}
	}
	return out, nil
}

// writePage asks for the page and writes it to a file, "-" for standard output.
func (c *cli) writePage(ctx context.Context, call caller, r pageRequest, path string) error {
	got, err := ask[pageReply](ctx, call, "consent/page", r)
	if err != nil {
		return err
	}
	if path == "-" {
		_, err = fmt.Fprint(c.stdout, got.HTML)
		return err
	}
	if err := os.WriteFile(path, []byte(got.HTML), 0o600); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]string{"file": path})
	}
	_, err = fmt.Fprintln(c.stdout, "written to", path)
	return err
}

// formRequest asks for the markup of a sign-up form.
type formRequest struct {
	Stream   string
	Language string
}

// signUpForm writes a form for the company's own site: no script, the words
// that have to stand over the button, and their version, which the gateway
// checks.
func (n *node) signUpForm(_ context.Context, r formRequest) (pageReply, error) {
	st, ok := n.engine.Streams().ByName(r.Stream)
	c, known := n.engine.Streams().Controller(st.Controller)
	if !ok || !known || st.Kind != stream.Marketing || st.Retired {
		return pageReply{}, fmt.Errorf("stream %q takes no sign-ups: name a marketing stream", r.Stream)
	}
	i, err := unsubscribe.NewInviter(n.consent, n.codec, unsubscribe.Options{PublicURL: n.cfg.Public.URL, Mailer: mailer{n}, Wording: n.signUpWording})
	if err != nil {
		return pageReply{}, err
	}
	action := c.Base(n.cfg.Public.URL) + "/s/" + st.Name
	if r.Language != "" {
		action += "?lang=" + url.QueryEscape(r.Language)
	}
	wording, version := i.Wording(unsubscribe.Invitation{Controller: c, Stream: st, Language: r.Language})
	return pageReply{fmt.Sprintf(formMarkup, html.EscapeString(action), html.EscapeString(version), html.EscapeString(wording))}, nil
}

const formMarkup = `<form method="post" action="%s">
  <input type="hidden" name="act" value="signup">
  <input type="hidden" name="wording" value="%s">
  <p>%s</p>
  <label>E-mail <input type="email" name="address" autocomplete="email" required></label>
  <button>OK</button>
</form>
`

func (c *cli) consentForm() *cobra.Command {
	var r formRequest
	cmd := &cobra.Command{Use: "form STREAM", Short: "Print a sign-up form for your own site, without script", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			r.Stream = args[0]
			return c.withNode(ctx, func(call caller) error {
				got, err := ask[pageReply](ctx, call, "consent/form", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(got)
				}
				_, err = fmt.Fprint(c.stdout, got.HTML)
				return err
			})
		})}
	cmd.Flags().StringVar(&r.Language, "language", "", "language of its words, as in de")
	return cmd
}
