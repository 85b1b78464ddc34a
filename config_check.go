package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/stream"
)

// checker collects faults; keys that could not be decoded are passed over.
type checker struct {
	c      *Config
	known  map[string]bool
	faults []Fault
}

// check finds everything in c that can't work. known are keys that are
// reported already.
func (c *Config) check(known map[string]bool) []Fault {
	k := &checker{c: c, known: known}
	k.top()
	k.controllers()
	k.streams()
	k.listeners()
	k.accounts()
	k.smarthosts()
	k.mailboxes()
	k.signing()
	k.handling()
	k.connectors()
	k.customers()
	k.hooks()
	k.legalHolds()
	k.ledger()
	return k.faults
}

// add reports a fault at key, on its line or that of the nearest table above.
func (k *checker) add(key, format string, args ...any) {
	if k.known[key] {
		return
	}
	k.known[key] = true
	line := 0
	for at := key; line == 0 && at != ""; {
		line = k.c.lines[at]
		if i := strings.LastIndexByte(at, '.'); i >= 0 {
			at = at[:i]
		} else {
			at = ""
		}
	}
	k.faults = append(k.faults, Fault{line, key, fmt.Sprintf(format, args...)})
}

// need reports an empty value.
func (k *checker) need(key, value, what string) {
	if value == "" {
		k.add(key, "is missing: %s", what)
	}
}

// oneOf reports a value outside a closed set.
func (k *checker) oneOf(key, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	k.add(key, "%q is not known: write one of %s", value, strings.Join(quoteAll(allowed), ", "))
}

func quoteAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = fmt.Sprintf("%q", w)
	}
	return out
}

// hostPort reports anything that is not host:port.
func (k *checker) hostPort(key, value string) {
	_, port, err := net.SplitHostPort(value)
	if err != nil || port == "" {
		k.add(key, "%q is not host:port, as in 127.0.0.1:2525", value)
	}
}

func (k *checker) networks(key string, list []string) {
	for _, n := range list {
		if _, err := parsePrefix(n); err != nil {
			k.add(key, "%q is neither a network nor an address: write 10.0.0.0/8, 192.0.2.7 or ::1", n)
		}
	}
}

// parsePrefix reads a network, or an address as a network of one.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func (k *checker) file(key, path string) {
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		k.add(key, "can't be read: %v", err)
		return
	}
	_ = f.Close()
}

func (k *checker) secret(key string, s Secret) {
	if _, err := s.Read(); err != nil {
		k.add(key, "%v", err)
	}
}

func (k *checker) domains(key string, list []string) {
	for _, d := range list {
		if _, err := address.Parse("postmaster@" + d); err != nil {
			k.add(key, "%q is not a domain", d)
		}
	}
}

func (k *checker) addresses(key string, list []string) {
	for i, a := range list {
		if _, err := address.Parse(a); err != nil {
			k.add(key, "number %d is not a mail address", i+1)
		}
	}
}

func (k *checker) top() {
	c := k.c
	k.need("hostname", c.Hostname, "the name this server says in EHLO, as in mx-out.example.org")
	k.need("data", c.Data, "the folder of the node's state, as in /var/lib/postern")
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "text", "json")
	if c.Redis.URL == "" && !c.Redis.Managed {
		k.add("redis.url", "is missing: write redis://127.0.0.1:6379/0, or set redis.managed = true")
	}
	if c.Redis.URL != "" && c.Redis.Managed {
		k.add("redis.managed", "can't stand beside redis.url: Postern either starts a Redis of its own or uses yours")
	}
	if u, err := url.Parse(c.Redis.URL); c.Redis.URL != "" && (err != nil || (u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix")) {
		k.add("redis.url", "is not a Redis URL: write redis://host:6379/0, rediss:// or unix:///path")
	} else if err == nil && u.User != nil {
		if _, inside := u.User.Password(); inside {
			k.add("redis.url", "holds a password: put it in redis.password as file:PATH or env:NAME")
		}
	}
	if u, err := url.Parse(c.Redis.URL); err == nil {
		for _, option := range []string{"read_only", "route_by_latency", "route_randomly", "replica_only"} {
			if u.Query().Has(option) {
				k.add("redis.url", "%s reads from replicas, which miss an opt-out that was just taken: remove it", option)
			}
		}
	}
	k.secret("redis.password", c.Redis.Password)
	if t := time.Duration(c.Redis.Timeout); t > 10*time.Second {
		k.add("redis.timeout", "%s is too long: a client waits for it, 10s is the most", t)
	}
	k.public()
	k.hostPort("operator.listen", c.Operator.Listen)
	k.operator()
	k.oidc()
	if c.Limits.MaxMessage < 64<<10 {
		k.add("limits.max_message", "%d is under 64 KiB, the least a relay must take (RFC 5321 4.5.3.1.7)", c.Limits.MaxMessage)
	}
	if c.Limits.MaxRecipients < 100 {
		k.add("limits.max_recipients", "%d is under 100, the least a relay must take (RFC 5321 4.5.3.1.8)", c.Limits.MaxRecipients)
	}
	if len(c.Listeners) == 0 {
		k.add("listener", "none is configured: without [[listener]] no mail comes in")
	}
	if len(c.Smarthosts) == 0 {
		k.add("smarthost", "none is configured: without [[smarthost]] no mail goes out")
	}
}

func (k *checker) public() {
	c := k.c
	k.hostPort("public.listen", c.Public.Listen)
	u, err := url.Parse(c.Public.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" {
		k.add("public.url", "%q is not an https address: mailbox providers follow no other in List-Unsubscribe (RFC 8058)", c.Public.URL)
	}
	for _, n := range []struct {
		key   string
		value int
	}{{"form_per_client", c.Public.FormPerClient}, {"form_per_mailbox", c.Public.FormPerMailbox}, {"form_total", c.Public.FormTotal}, {"broken_links", c.Public.BrokenLinks}} {
		if n.value < 1 || n.value > 100_000 {
			k.add("public."+n.key, "%d is not between 1 and 100000", n.value)
		}
	}
	if (c.Public.Cert == "") != (c.Public.Key == "") {
		k.add("public.cert", "cert and key stand together or not at all")
	}
	k.file("public.cert", c.Public.Cert)
	k.file("public.key", c.Public.Key)
}

func (k *checker) operator() {
	o := k.c.Operator
	if u, err := url.Parse(o.URL); o.URL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "") {
		k.add("operator.url", "%q is no address of a host: write https://postern.example.org", o.URL)
	}
	host, _, _ := net.SplitHostPort(o.Listen)
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsLoopback() && !strings.HasPrefix(o.URL, "https://") {
		k.add("operator.url", "operator.listen is reached from outside: passwords would travel in clear, put a TLS proxy before it and its https address here")
	}
	if o.SessionMax < o.SessionIdle {
		k.add("operator.session_max", "%s is shorter than session_idle", time.Duration(o.SessionMax))
	}
	if o.APIPerMinute < 1 {
		k.add("operator.api_per_minute", "%d is no number of requests from 1", o.APIPerMinute)
	}
	k.networks("operator.webhook_networks", o.WebhookNetworks)
}

// ownHost wants the https address of a host of the controller's own: by it the
// pages tell whose they are.
func (k *checker) ownHost(key, value string, hosts map[string]bool) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		k.add(key, "%q is not an https address: mailbox providers follow no other in List-Unsubscribe (RFC 8058)", value)
	case hosts[strings.ToLower(u.Hostname())]:
		k.add(key, "its host is that of public.url or of another controller: leave it out, or give the controller a host of its own")
	default:
		hosts[strings.ToLower(u.Hostname())] = true
	}
}

func (k *checker) controllers() {
	seen, hosts := map[string]bool{}, map[string]bool{}
	if u, err := url.Parse(k.c.Public.URL); err == nil {
		hosts[strings.ToLower(u.Hostname())] = true
	}
	if len(k.c.Controllers) == 0 {
		k.add("controller", "none is configured: name at least one [[controller]]")
	}
	for i, c := range k.c.Controllers {
		at := fmt.Sprintf("controller[%d].", i)
		k.need(at+"id", c.ID, "a short word that never changes: it goes into subject ids")
		if seen[c.ID] {
			k.add(at+"id", "%q is given twice", c.ID)
		}
		seen[c.ID] = true
		k.need(at+"name", c.Name, "the company's name as persons know it")
		if _, err := address.Parse(c.Contact); err != nil {
			k.add(at+"contact", "is not a mail address: persons are told to write there")
		}
		if _, err := time.LoadLocation(c.TimeZone); err != nil {
			k.add(at+"time_zone", "%q is not a time zone: write one as in Europe/Berlin", c.TimeZone)
		}
		if len(c.Country) != 2 {
			k.add(at+"country", "%q is not a country code: write two letters, as in DE", c.Country)
		}
		if c.PublicURL != "" {
			k.ownHost(at+"public_url", c.PublicURL, hosts)
		}
		k.domains(at+"domains", c.Domains)
		k.addresses(at+"operators", c.Operators)
		if c.ReplyPath != "" {
			k.addresses(at+"reply_path", []string{c.ReplyPath})
		}
		for _, day := range c.Holidays {
			if _, err := time.Parse(time.DateOnly, day); err != nil {
				k.add(at+"holidays", "%q is not a day: write it as 2026-12-24", day)
			}
		}
	}
}

func (k *checker) controller(key, id string) {
	for _, c := range k.c.Controllers {
		if c.ID == id {
			return
		}
	}
	k.add(key, "no [[controller]] has the id %q", id)
}

func (k *checker) streams() {
	names, numbers := map[string]bool{}, map[uint16]bool{}
	for i, s := range k.c.Streams {
		at := fmt.Sprintf("stream[%d].", i)
		k.need(at+"name", s.Name, "listeners and headers call the stream by it")
		if names[s.Name] {
			k.add(at+"name", "%q is given twice", s.Name)
		}
		if s.Number == 0 || numbers[s.Number] {
			k.add(at+"number", "%d is 0 or given twice: every stream has a number of its own for ever, since tokens carry it", s.Number)
		}
		names[s.Name], numbers[s.Number] = true, true
		k.controller(at+"controller", s.Controller)
		k.oneOf(at+"kind", s.Kind, "marketing", "transactional", "service", "personal")
		k.oneOf(at+"mode", s.Mode, "observe", "annotate", "enforce")
		k.oneOf(at+"sign", s.Sign, "", "dkim", "smarthost")
		k.oneOf(at+"mixed", s.Mixed, "dsn", "refuse")
		k.oneOf(at+"bounce", s.Bounce, "keep", "verp")
		k.oneOf(at+"unsubscribe", s.Unsubscribe, "replace", "keep")
		k.oneOf(at+"signed", s.Signed, "resign", "refuse")
		k.oneOf(at+"store_down", s.StoreDown, "pass", "defer")
		k.oneOf(at+"advisory", s.Advisory, "count", "header", "refuse")
		k.domains(at+"from_domains", s.FromDomains)
		if stream.Kind(s.Kind) == stream.Marketing {
			k.need(at+"purpose", s.Purpose, "consent is given for a purpose (GDPR Art. 6(1)(a))")
			k.need(at+"title", s.Title, "persons see it on the unsubscribe page")
			if !strings.Contains(s.ListID, ".") {
				k.add(at+"list_id", "%q is not a List-Id: write a name under a domain of yours, as in news.example.org (RFC 2919)", s.ListID)
			}
		}
	}
}

// grant checks the streams a client or account may use.
func (k *checker) grant(at string, g GrantConfig) {
	if len(g.Streams) == 0 {
		k.add(at+"streams", "is missing: name the streams this client may use")
	}
	known := map[string]bool{}
	for _, s := range k.c.Streams {
		known[s.Name] = true
	}
	for _, name := range g.Streams {
		if !known[name] {
			k.add(at+"streams", "no [[stream]] has the name %q", name)
		}
		if name == g.Default {
			g.Default = ""
		}
	}
	if g.Default != "" {
		k.add(at+"default", "%q is not among this client's streams", g.Default)
	}
	k.domains(at+"from_domains", g.FromDomains)
}

func (k *checker) listeners() {
	names := map[string]bool{}
	for i, l := range k.c.Listeners {
		at := fmt.Sprintf("listener[%d].", i)
		k.need(at+"name", l.Name, "logs and metrics call the listener by it")
		if names[l.Name] {
			k.add(at+"name", "%q is given twice", l.Name)
		}
		names[l.Name] = true
		unix := strings.HasPrefix(l.Address, "/")
		if !unix {
			k.hostPort(at+"address", l.Address)
		}
		k.oneOf(at+"protocol", l.Protocol, "smtp", "lmtp")
		k.oneOf(at+"tls", l.TLS, "none", "starttls", "implicit")
		if l.TLS != "none" {
			k.need(at+"cert", l.Cert, "TLS needs a certificate and its key")
			k.need(at+"key", l.Key, "TLS needs a certificate and its key")
		}
		k.file(at+"cert", l.Cert)
		k.file(at+"key", l.Key)
		if l.RequireAuth && l.TLS == "none" {
			k.add(at+"require_auth", "passwords travel only inside TLS: set tls to starttls or implicit (RFC 4954)")
		}
		k.networks(at+"proxy", l.Proxy)
		k.networks(at+"xforward", l.XForward)
		k.networks(at+"xclient", l.XClient)
		if len(l.Clients) == 0 && !l.RequireAuth {
			k.add(at+"client", "nobody may relay here: add [[listener.client]], or set require_auth with [[account]]s")
		}
		for j, c := range l.Clients {
			cat := fmt.Sprintf("%sclient[%d].", at, j)
			k.need(cat+"name", c.Name, "logs, metrics and reports call the client by it")
			if len(c.Networks) == 0 && !unix {
				k.add(cat+"networks", "is missing: say from which networks this client may relay")
			}
			k.networks(cat+"networks", c.Networks)
			k.grant(cat, c.GrantConfig)
		}
	}
}

func (k *checker) accounts() {
	for i, a := range k.c.Accounts {
		at := fmt.Sprintf("account[%d].", i)
		k.need(at+"name", a.Name, "the user name of AUTH")
		if !strings.HasPrefix(a.Hash, "$argon2id$") {
			k.add(at+"hash", "is not an argon2id hash: `postern account hash` makes one from a password")
		}
		k.grant(at, a.GrantConfig)
	}
}

func (k *checker) smarthosts() {
	for i, s := range k.c.Smarthosts {
		at := fmt.Sprintf("smarthost[%d].", i)
		k.hostPort(at+"address", s.Address)
		k.oneOf(at+"tls", s.TLS, "none", "opportunistic", "required")
		k.file(at+"ca", s.CA)
		k.secret(at+"password", s.Password)
		if s.User != "" && s.TLS != "required" {
			k.add(at+"tls", "a log-in needs tls = \"required\": a password never travels in clear")
		}
	}
}

func (k *checker) mailboxes() {
	names := map[string]bool{}
	for i, m := range k.c.Mailboxes {
		at := fmt.Sprintf("mailbox[%d].", i)
		k.need(at+"name", m.Name, "logs and cases call the mailbox by it")
		if names[m.Name] {
			k.add(at+"name", "%q is given twice", m.Name)
		}
		names[m.Name] = true
		k.controller(at+"controller", m.Controller)
		k.hostPort(at+"address", m.Address)
		k.oneOf(at+"tls", m.TLS, "implicit", "starttls", "none")
		host, _, _ := net.SplitHostPort(m.Address)
		if m.TLS == "none" && host != "localhost" && !strings.HasPrefix(host, "127.") && host != "::1" {
			k.add(at+"tls", "\"none\" is for loopback only: the password would travel in clear (RFC 8314)")
		}
		k.file(at+"ca", m.CA)
		k.need(at+"user", m.User, "the IMAP log-in")
		k.secret(at+"password", m.Password)
		k.oauth(at, m)
		k.domains(at+"arc_sealers", m.ARCSealers)
		k.addresses(at+"addresses", m.Addresses)
		if len(m.Addresses) == 0 {
			k.add(at+"addresses", "is missing: list the mailbox's own addresses, they must never get an automatic answer (RFC 3834)")
		}
		for _, f := range m.Folders {
			if f == m.Done {
				k.add(at+"done", "%q is also polled: what is done would be read again", f)
			}
		}
	}
}

// oauth checks a mailbox's log-in: a password or tokens, one of them.
func (k *checker) oauth(at string, m MailboxConfig) {
	o := m.OAuth
	if o == (OAuthConfig{}) {
		if m.Password == "" {
			k.add(at+"password", "is missing: write file:PATH or env:NAME, or configure [mailbox.oauth]")
		}
		return
	}
	at += "oauth."
	if m.Password != "" {
		k.add(at+"token_url", "stands beside a password: keep one of them")
	}
	k.secret(at+"client_secret", o.ClientSecret)
	k.secret(at+"refresh_token", o.RefreshToken)
	if o.Mechanism != "" {
		k.oneOf(at+"mechanism", o.Mechanism, "xoauth2", "oauthbearer")
	}
	if _, err := o.source(); err != nil {
		k.add(at+"token_url", "%v", err)
	}
}

func (k *checker) signing() {
	for i, d := range k.c.DKIM {
		at := fmt.Sprintf("dkim[%d].", i)
		k.need(at+"domain", d.Domain, "the signing domain (d=)")
		k.need(at+"selector", d.Selector, "its public key stands in DNS at selector._domainkey.domain")
		k.need(at+"key", d.Key, "`postern dkim keygen` makes one")
		k.file(at+"key", d.Key)
	}
}
