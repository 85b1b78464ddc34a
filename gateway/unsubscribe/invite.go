package unsubscribe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/stream"
	"postern/gateway/throttle"
	"postern/gateway/webpage"
)

// ErrEnough says that a mailbox got as many mails of these pages as it may in
// a day. Whoever asked is told the same as ever: it is no matter of theirs.
var ErrEnough = errors.New("the mailbox got enough of these mails today")

// Inviter asks people to confirm that they signed up: the first step of double
// opt-in (CON-12), for the page and for the API alike.
type Inviter struct {
	reg    Registry
	codec  *Codec
	texts  *webpage.Texts
	opts   Options
	limits throttle.Taker
}

// NewInviter makes an inviter. Of the options it needs Mailer and PublicURL
// and heeds PendingFor, PerAddress and Limits.
func NewInviter(reg Registry, codec *Codec, opts Options) (*Inviter, error) {
	opts = opts.withDefaults()
	if reg == nil || codec == nil || opts.Mailer == nil {
		return nil, errors.New("sign-up: registry, token keys and a mailer are needed")
	}
	if !strings.HasPrefix(opts.PublicURL, "https://") && !strings.HasPrefix(opts.PublicURL, "http://") {
		return nil, errors.New("sign-up: the public URL is needed for its links")
	}
	texts, err := webpage.LoadTexts(textFiles, "text/*.toml")
	if err != nil {
		return nil, fmt.Errorf("sign-up: %w", err)
	}
	return &Inviter{reg: reg, codec: codec, texts: texts, opts: opts, limits: opts.counters()}, nil
}

// Invitation is one sign-up. Wording is what the person saw and agreed to,
// with its version; without both the inviter's own words count, which a form
// then has to show.
type Invitation struct {
	Controller   stream.Controller
	Stream       stream.Stream
	To           address.Address
	Language     string // BCP 47, of the words and of the mail; "": the stream's or the controller's
	Method       string // "form" or "api"
	Source       string // where it was asked: a URL, a shop
	Wording      string
	WordingVer   string
	Jurisdiction string
	IP           string // only if needed
	UserAgent    string // only if needed
	Actor        string // as in ledger.Record
}

// words are those of the invitation's language.
func (i *Inviter) words(inv Invitation) *webpage.Words {
	for _, tag := range []string{inv.Language, inv.Stream.Language, inv.Controller.Language, "en"} {
		if w := i.texts.Find(tag); w != nil {
			return w
		}
	}
	return i.texts.Find("en")
}

// Wording is the text a form has to show over its button, and its version.
func (i *Inviter) Wording(inv Invitation) (text, version string) {
	text = i.opts.wording(i.words(inv), inv.Stream, inv.Controller)
	return text, versionOf(text)
}

// Invite records the sign-up as pending and sends the mail that asks to
// confirm it; it gives the id of the event, which Registry.Record takes as Ref
// of the confirmation. Errors are ErrEnough, one that wraps
// throttle.ErrUnavailable where that can't be told, consent.ErrRefused where
// the evidence is incomplete, or the store's; then no mail was sent.
func (i *Inviter) Invite(ctx context.Context, inv Invitation) (id string, err error) {
	if inv.Stream.Kind != stream.Marketing || inv.Stream.Retired || inv.Stream.Controller != inv.Controller.ID {
		return "", fmt.Errorf("%w: stream %q takes no sign-ups", consent.ErrRefused, inv.Stream.Name)
	}
	if inv.To.IsZero() || (inv.Wording == "") != (inv.WordingVer == "") {
		return "", fmt.Errorf("%w: a sign-up needs the address, and a wording its version", consent.ErrRefused)
	}
	ok, err := i.spares(ctx, inv.Controller.ID+"\x00"+inv.To.Wide())
	if err != nil {
		return "", err
	}
	if !ok {
		return "", ErrEnough
	}
	words := i.words(inv)
	if inv.Wording == "" {
		inv.Wording, inv.WordingVer = i.Wording(inv)
	}
	now := i.opts.Now()
	id, err = i.reg.Record(ctx, consent.Event{
		Time: now, Action: consent.Given, Pending: true, Controller: inv.Controller.ID, Purpose: inv.Stream.Purpose, Address: inv.To,
		Basis: consent.Express, Method: inv.Method, Source: inv.Source, Wording: inv.Wording, WordingVer: inv.WordingVer,
		Language: words.Tag(), Jurisdiction: inv.Jurisdiction, PolicyURL: inv.Controller.PrivacyURL, IP: inv.IP, UserAgent: inv.UserAgent, Actor: inv.Actor,
	})
	if err != nil {
		return "", err
	}
	ends := now.Add(i.opts.PendingFor)
	sealed := i.codec.sealLink(link{Kind: linkConfirm, ID: id, Token: Token{Stream: inv.Stream.Number}.bytes(), Ends: ends.Unix(), Locale: words.Tag()})
	href := inv.Controller.Base(i.opts.PublicURL) + "/c/" + sealed
	zone, err := time.LoadLocation(inv.Controller.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	return id, i.opts.Mailer.Send(ctx, Confirmation{
		To: inv.To, Link: href, Stream: inv.Stream.Name, Language: words.Tag(), Controller: inv.Controller.ID, MessageID: MessageID(id, i.opts.PublicURL),
		Subject: words.Say("confirm_subject", "list", inv.Stream.Title),
		Text: words.Say("confirm_body", "list", inv.Stream.Title, "controller", inv.Controller.Name) + "\n\n" + href + "\n\n" +
			words.Say("confirm_ignore", "date", ends.In(zone).Format(words.Say("date_layout"))) + "\n",
	})
}

// spares tells whether a mailbox may get one more mail of these pages today.
// All its tags and writings count as one.
func (i *Inviter) spares(ctx context.Context, key string) (bool, error) {
	return i.limits.Take(ctx, throttle.Limit{Name: "mailbox", Most: i.opts.PerAddress, Window: 24 * time.Hour}, key)
}

// MessageID is that of the mail that asks to confirm a sign-up, made from the
// sign-up's event id: nothing need be stored to find the mail in the ledger.
func MessageID(eventID, publicURL string) string {
	host := "localhost"
	if u, err := url.Parse(publicURL); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	sum := sha256.Sum256([]byte("confirm " + eventID))
	return "confirm." + hex.EncodeToString(sum[:12]) + "@" + host
}

// wording is what a sign-up says over its button: as operators edited it, else
// the built-in words.
func (o Options) wording(w *webpage.Words, st stream.Stream, c stream.Controller) string {
	if o.Wording != nil {
		if text := o.Wording(st.Name, w.Tag()); text != "" {
			return strings.NewReplacer("{list}", st.Title, "{controller}", c.Name).Replace(text)
		}
	}
	return w.Say("signup_wording", "list", st.Title, "controller", c.Name)
}

// BuiltInWording gives the built-in words of sign-ups by language, with the
// placeholders {list} and {controller}, and the languages there are.
func BuiltInWording() (map[string]string, error) {
	texts, err := webpage.LoadTexts(textFiles, "text/*.toml")
	if err != nil {
		return nil, fmt.Errorf("wording of sign-ups: %w", err)
	}
	out := map[string]string{}
	for _, w := range texts.All() {
		out[w.Tag()] = w.Say("signup_wording")
	}
	return out, nil
}

// versionOf names a wording by its content.
func versionOf(wording string) string {
	sum := sha256.Sum256([]byte(wording))
	return "page-" + hex.EncodeToString(sum[:6])
}
