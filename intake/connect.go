package intake

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"postern/intake/oauth"
)

// errRefused says the server did not take our credentials: an operator must
// look, and trying fast only locks the account.
var errRefused = errors.New("log-in refused")

// conn is an IMAP connection with a watchdog: a command that lasts too long
// without a byte from the server closes the connection, since a dead peer never
// answers (IM-4).
type conn struct {
	*imapclient.Client
	raw     *watched
	news    chan struct{} // 1 slot: the folder has changed
	command time.Duration
}

// connect dials, secures and logs in.
func (b *box) connect(ctx context.Context) (*conn, error) {
	host, portText, err := net.SplitHostPort(b.Address)
	if err != nil {
		return nil, fmt.Errorf("mailbox %q: %w", b.Name, err)
	}
	tlsConfig, err := b.tlsConfig(host)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}
	tcp, err := d.DialContext(ctx, "tcp", b.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to mailbox %q: %w", b.Name, err)
	}
	w := watch(tcp)
	c := &conn{raw: w, news: make(chan struct{}, 1), command: b.p.o.Command}
	opts := &imapclient.Options{TLSConfig: tlsConfig, UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(m *imapclient.UnilateralDataMailbox) {
			if m.NumMessages != nil {
				c.wake()
			}
		},
	}}
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()
	if err := c.secure(ctx, b.TLS, tlsConfig, opts); err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("connect to mailbox %q: %w", b.Name, err)
	}
	port, _ := strconv.Atoi(portText)
	if err := c.login(ctx, b, host, port); err != nil {
		c.close()
		return nil, fmt.Errorf("log in to mailbox %q: %w", b.Name, err)
	}
	return c, nil
}

func (b *box) tlsConfig(host string) (*tls.Config, error) {
	conf := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"imap"}}
	if b.CAFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(b.CAFile)
	if err != nil {
		return nil, fmt.Errorf("mailbox %q: read ca_file: %w", b.Name, err)
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("mailbox %q: ca_file holds no certificate", b.Name)
	}
	return conf, nil
}

func (c *conn) secure(ctx context.Context, mode string, conf *tls.Config, opts *imapclient.Options) error {
	done := c.guard()
	defer done()
	switch mode {
	case TLSImplicit:
		t := tls.Client(c.raw, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		c.Client = imapclient.New(t, opts)
	case TLSStart:
		cl, err := imapclient.NewStartTLS(c.raw, opts)
		if err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
		c.Client = cl
	default:
		c.Client = imapclient.New(c.raw, opts)
	}
	if err := c.WaitGreeting(); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	return nil
}

func (c *conn) login(ctx context.Context, b *box, host string, port int) error {
	if b.OAuth != nil {
		return c.bearer(ctx, b, host, port)
	}
	done := c.guard()
	defer done()
	caps := c.Caps()
	if caps.Has(imap.CapLoginDisabled) { // IM-10
		return fmt.Errorf("%w: the server forbids LOGIN on this connection, use TLS", errRefused)
	}
	password, err := b.Password()
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	return refused(c.Login(b.User, password).Wait())
}

func (c *conn) bearer(ctx context.Context, b *box, host string, port int) error {
	token, err := b.OAuth.Token(ctx)
	if errors.Is(err, oauth.ErrDenied) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err != nil {
		return fmt.Errorf("get access token: %w", err)
	}
	done := c.guard()
	defer done()
	mechanism := strings.ToLower(b.Mechanism)
	if mechanism == "" {
		caps := c.Caps()
		switch {
		case caps.Has(imap.AuthCap("OAUTHBEARER")):
			mechanism = "oauthbearer"
		case caps.Has(imap.AuthCap("XOAUTH2")):
			mechanism = "xoauth2"
		default:
			return fmt.Errorf("%w: %w", errRefused, errNoMechanism)
		}
	}
	err = refused(c.Authenticate(oauthClient(mechanism, b.User, token, host, port)))
	if errors.Is(err, errRefused) {
		b.OAuth.Refused(token)
	}
	return err
}

// refused tells a NO of the server from a lost connection. The server's text
// stays out: it may hold the account's address.
func refused(err error) error {
	var no *imap.Error
	if !errors.As(err, &no) {
		return err
	}
	switch no.Code { // RFC 5530: not our credentials' fault, it will pass
	case imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, imap.ResponseCodeServerBug, imap.ResponseCodeLimit, imap.ResponseCodeContactAdmin, imap.ResponseCodeOverQuota:
		return fmt.Errorf("the server answers %s %s", no.Type, no.Code)
	}
	return fmt.Errorf("%w: the server answers %s %s", errRefused, no.Type, no.Code)
}

func (c *conn) wake() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// close ends the connection without ceremony.
func (c *conn) close() {
	if c.Client != nil {
		_ = c.Client.Close()
	}
	_ = c.raw.Close()
}

// guard starts the watchdog for one command; the result ends it.
func (c *conn) guard() func() { return c.raw.guard(c.command) }
