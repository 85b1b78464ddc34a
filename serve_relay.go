package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/gateway"
	"postern/gateway/delivery"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

func (g GrantConfig) grant(client string) gateway.Grant {
	return gateway.Grant{
		Client: client, Streams: g.Streams, Default: g.Default, FromDomains: g.FromDomains,
		MaxConns: g.MaxConnections, MaxRecipients: g.MaxRecipients, MaxSize: g.MaxMessage,
		MessagesPerMinute: g.MessagesPerMinute, RecipientsPerMinute: g.RecipientsPerMinute,
	}
}

// serverOptions cuts the listeners out of the configuration.
func (c *Config) serverOptions(n *node) (gateway.ServerOptions, error) {
	o := gateway.ServerOptions{
		Hostname:            c.Hostname,
		MaxMessageBytes:     c.Limits.MaxMessage,
		MaxRecipients:       c.Limits.MaxRecipients,
		MaxConns:            c.Limits.MaxConnections,
		MaxConnsPerIP:       c.Limits.MaxConnectionsPerIP,
		Memory:              c.Limits.Memory,
		Idle:                time.Duration(c.Limits.IdleTimeout),
		MessagesPerMinute:   c.Limits.MessagesPerMinute,
		RecipientsPerMinute: c.Limits.RecipientsPerMinute,
		PolicyURL:           c.Public.PolicyURL,
		RequireTLS:          true, // delivery passes it on or bounces (TLS-6)
		Log:                 n.log.With("room", "gateway"),
		Metrics:             n.metrics,
	}
	for _, a := range c.Accounts {
		o.Accounts = append(o.Accounts, gateway.Account{Name: a.Name, Hash: a.Hash, Grant: a.grant(a.Name)})
	}
	for _, l := range c.Listeners {
		listener, err := l.listener(len(c.Accounts) > 0)
		if err != nil {
			return o, fmt.Errorf("listener %q: %w", l.Name, err)
		}
		o.Listeners = append(o.Listeners, listener)
	}
	return o, nil
}

func (l ListenerConfig) listener(accounts bool) (gateway.Listener, error) {
	out := gateway.Listener{
		Name: l.Name, Network: "tcp", Address: l.Address, Protocol: l.Protocol,
		Implicit: l.TLS == "implicit", RequireAuth: l.RequireAuth,
		Auth:  accounts && l.TLS != "none",
		Proxy: prefixes(l.Proxy), XClient: prefixes(l.XClient), XForward: prefixes(l.XForward),
	}
	if l.TLS != "none" {
		pair, err := tls.LoadX509KeyPair(l.Cert, l.Key)
		if err != nil {
			return out, fmt.Errorf("certificate: %w", err)
		}
		out.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	if strings.HasPrefix(l.Address, "/") {
		out.Network = "unix"
	}
	for i, c := range l.Clients {
		if out.Network == "unix" && i == 0 {
			out.Unix = c.grant(c.Name)
		}
		out.Clients = append(out.Clients, gateway.ClientNet{Prefixes: prefixes(c.Networks), Grant: c.grant(c.Name)})
	}
	return out, nil
}

func prefixes(list []string) (out []netip.Prefix) {
	for _, s := range list {
		if p, err := parsePrefix(s); err == nil { // checked with the configuration
			out = append(out, p)
		}
	}
	return out
}

// deliveryOptions cuts the smarthosts out of the configuration.
func (c *Config) deliveryOptions(n *node) (delivery.Options, error) {
	o := delivery.Options{
		Helo: c.Hostname,
		Schedule: delivery.Schedule{
			First:  time.Duration(c.Delivery.FirstRetry),
			Second: min(2*time.Duration(c.Delivery.FirstRetry), time.Duration(c.Delivery.MaxRetry)),
			Later:  time.Duration(c.Delivery.MaxRetry),
			Defer:  min(time.Minute, time.Duration(c.Delivery.FirstRetry)),
		},
		DSN: delivery.DSN{
			ReportingMTA: c.Hostname,
			MayReport:    n.mayReport,
		},
		Controller: func(number uint16) string {
			st, _ := n.engine.Streams().ByNumber(number)
			return st.Controller
		},
		Outcome: n.outcome,
		Tally:   n.tally,
		Workers: c.Delivery.Workers,
		Log:     n.log.With("room", "delivery"),
		Metrics: n.metrics,
	}
	for _, s := range c.Smarthosts {
		password, err := s.Password.Read()
		if err != nil {
			return o, fmt.Errorf("smarthost %q: password: %w", s.Name, err)
		}
		o.Smarthosts = append(o.Smarthosts, delivery.Smarthost{
			Name: s.Name, Address: s.Address, Priority: s.Priority, TLS: delivery.TLSMode(s.TLS),
			CAFile: s.CA, ServerName: s.ServerName, Username: s.User, Password: password,
			MaxConns: s.MaxConnections, Rate: s.PerSecond,
		})
	}
	return o, nil
}

// mayReport tells whether a DSN may go to a message's reverse-path: only to a
// domain of the company or the client, so that nobody else gets backscatter
// (design D3).
func (n *node) mayReport(m *spool.Message) bool {
	return n.engine.MayReport(m, n.config().ownedBy(m.Client))
}

// ownedBy are the domains that a client or account owns beside its streams'.
func (c *Config) ownedBy(client string) []string {
	for _, a := range c.Accounts {
		if a.Name == client {
			return a.FromDomains
		}
	}
	for _, l := range c.Listeners {
		for _, k := range l.Clients {
			if k.Name == client {
				return k.FromDomains
			}
		}
	}
	return nil
}

// outcome feeds final refusals of marketing recipients to the registry: a
// mailbox that does not exist is not written to for ever.
func (n *node) outcome(ctx context.Context, o delivery.Outcome) {
	if o.State != spool.Failed || !strings.HasPrefix(o.Status, "5.1.") {
		return
	}
	st, _ := n.engine.Streams().ByNumber(o.Stream)
	if st.Kind != stream.Marketing {
		return
	}
	addr := o.Message.Recipients[o.Recipient].Address
	if err := n.consent.Bounce(ctx, st.Controller, addr, true, o.Message.ID); err != nil {
		n.log.Error("bounce not counted", "id", o.Message.ID, "err", err)
	}
}

// tally counts what an attempt brought for one recipient.
func (n *node) tally(number uint16, r spool.Result) {
	name := "bounces"
	if st, ok := n.engine.Streams().ByNumber(number); ok {
		name = st.Name
	}
	p := gateway.Passed{Stream: name, N: 1, Time: time.Now()}
	switch r.State {
	case spool.Delivered:
		p.Fate = gateway.FateDelivered
	case spool.Queued:
		p.Fate, p.Reason = gateway.FateDeferred, gateway.ReasonNextHop
	case spool.Denied:
		p.Fate, p.Reason = gateway.FateDenied, gateway.Reason(r.Reply)
	case spool.Expired:
		p.Fate, p.Reason = gateway.FateFailed, gateway.ReasonExpired
	case spool.Failed:
		p.Fate, p.Reason = gateway.FateFailed, gateway.ReasonNextHop
	default:
		return
	}
	n.report.Count(p)
}
