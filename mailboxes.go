package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/intake"
	"postern/intake/oauth"
	"postern/queue"
)

// mailboxes cuts all mailboxes out of the configuration.
func (c *Config) mailboxes() ([]intake.Mailbox, error) {
	boxes := make([]intake.Mailbox, len(c.Mailboxes))
	for i, m := range c.Mailboxes {
		var err error
		if boxes[i], err = m.mailbox(); err != nil {
			return nil, err
		}
		boxes[i].TokenDomain = c.Public.MailtoDomain
	}
	return boxes, nil
}

// mailboxes are those that are read now: SIGHUP takes them anew.
func (n *node) mailboxes() []MailboxConfig {
	return n.config().Mailboxes
}

// revision tells apart what a mailbox's configuration was at different times.
// Of secrets it covers where they lie, not what they are.
func (m MailboxConfig) revision() string {
	text := fmt.Sprintf("%+v %q", m, []string{string(m.Password), string(m.OAuth.ClientSecret), string(m.OAuth.RefreshToken)})
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// mailbox cuts one mailbox out of the configuration.
func (m MailboxConfig) mailbox() (intake.Mailbox, error) {
	box := intake.Mailbox{
		Name: m.Name, Revision: m.revision(), Controller: m.Controller, Address: m.Address, TLS: m.TLS, CAFile: m.CA, User: m.User,
		Folders: m.Folders, Done: m.Done, Addresses: m.Addresses, AuthServID: m.AuthServID, ARCSealers: m.ARCSealers,
		Confidential: m.Confidential, PollEvery: time.Duration(m.PollEvery), LookupTXT: lookupTXT,
	}
	if m.OAuth == (OAuthConfig{}) {
		box.Password = m.Password.Read
		return box, nil
	}
	tokens, err := m.OAuth.source()
	if err != nil {
		return box, fmt.Errorf("mailbox %q: %w", m.Name, err)
	}
	box.OAuth, box.Mechanism = tokens, m.OAuth.Mechanism
	return box, nil
}

// source is where the mailbox's access tokens come from.
func (o OAuthConfig) source() (*oauth.Source, error) {
	opts := oauth.Options{TokenURL: o.TokenURL, ClientID: o.ClientID, Scope: o.Scope}
	if o.ClientSecret != "" {
		opts.ClientSecret = o.ClientSecret.Read
	}
	if o.RefreshToken != "" {
		opts.RefreshToken = o.RefreshToken.Read
		if path, isFile := strings.CutPrefix(string(o.RefreshToken), "file:"); isFile {
			opts.Rotated = func(_ context.Context, refresh string) error { return replaceSecret(path, refresh) }
		}
	}
	return oauth.New(opts)
}

// replaceSecret writes a secret's file anew, whole or not at all: a token
// server that rotates refresh tokens takes the old one no more.
func replaceSecret(path, secret string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".refresh-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone once renamed
	if _, err = f.WriteString(secret + "\n"); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// silenceEvery is how often the mailboxes' last readings are looked at, and
// silenceAgain how long until operators are told of the same silence again.
const (
	silenceEvery = time.Minute
	silenceAgain = 24 * time.Hour
)

// watchSilence tells the controller's operators by mail of a mailbox that can't
// be read: its clocks run on, and nobody would notice that nothing comes.
func (n *node) watchSilence(ctx context.Context, poller *intake.Poller) error {
	told := map[string]time.Time{}
	tick := time.NewTicker(silenceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		controllers := map[string]string{}
		for _, m := range n.mailboxes() {
			controllers[m.Name] = m.Controller
		}
		for _, name := range silentBoxes(poller.Health(), time.Now(), told) {
			n.log.Error("a mailbox is silent", "mailbox", name)
			n.queue.Tell(ctx, queue.Notice{Kind: "intake-silent", Controller: controllers[name], Reason: name})
		}
	}
}

// silentBoxes names the mailboxes whose silence is to be told now, and notes in
// told when that was; a mailbox that is read again is forgotten.
func silentBoxes(health []intake.MailboxHealth, now time.Time, told map[string]time.Time) (names []string) {
	for _, m := range health {
		if silent(m, now) == "" {
			delete(told, m.Mailbox)
			continue
		}
		if last, ok := told[m.Mailbox]; ok && now.Sub(last) < silenceAgain {
			continue
		}
		told[m.Mailbox] = now
		names = append(names, m.Mailbox)
	}
	return names
}

// lookupTXT asks DNS for a DKIM key; a resolver that hangs must not hold up
// the reading of mail.
func lookupTXT(domain string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return net.DefaultResolver.LookupTXT(ctx, domain)
}
