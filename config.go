package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/gateway/stream"
	"postern/intake"
)

// Config is the one configuration file (design D17). Every field's comment is
// its documentation; deploy/postern.example.toml shows each key.
type Config struct {
	Hostname string `toml:"hostname"` // EHLO name and Received; a name the next hop can resolve
	Data     string `toml:"data"`     // folder of the node's state, 0700
	Keys     string `toml:"keys"`     // key file; default: keys.toml in the data folder

	Log      LogConfig      `toml:"log"`
	Redis    RedisConfig    `toml:"redis"`
	Public   PublicConfig   `toml:"public"`
	Operator OperatorConfig `toml:"operator"`
	Limits   LimitsConfig   `toml:"limits"`
	Spool    SpoolConfig    `toml:"spool"`
	Delivery DeliveryConfig `toml:"delivery"`
	Cases    CasesConfig    `toml:"cases"`
	Ledger   LedgerConfig   `toml:"ledger"`

	Controllers []ControllerConfig `toml:"controller"`
	Streams     []StreamConfig     `toml:"stream"`
	Listeners   []ListenerConfig   `toml:"listener"`
	Accounts    []AccountConfig    `toml:"account"`
	Smarthosts  []SmarthostConfig  `toml:"smarthost"`
	Mailboxes   []MailboxConfig    `toml:"mailbox"`
	DKIM        []DKIMConfig       `toml:"dkim"`
	Connectors  []ConnectorConfig  `toml:"connector"`
	Customers   []CustomerConfig   `toml:"customer"`
	Hooks       []HookConfig       `toml:"hook"`
	LegalHolds  []LegalHoldConfig  `toml:"legal_hold"`

	path  string // of the file it came from
	lines lineIndex
}

// LogConfig says what is logged, to standard error.
type LogConfig struct {
	Level  string `toml:"level"`  // debug, info, warn, error; default info
	Format string `toml:"format"` // text or json; default text
}

// RedisConfig is the shared store (design D11).
type RedisConfig struct {
	URL                string   `toml:"url"`                 // redis://, rediss:// or unix://; several hosts by ?addr=
	Password           Secret   `toml:"password"`            // file:PATH or env:NAME
	Timeout            Duration `toml:"timeout"`             // for one policy look-up; default 2s, at most 10s
	Managed            bool     `toml:"managed"`             // start the installed redis-server as a child
	AllowVolatile      bool     `toml:"allow_volatile"`      // take a store that forgets: the demo only
	DurabilityAsserted bool     `toml:"durability_asserted"` // the operator's word where INFO and CONFIG can't be read
}

// PublicConfig is the listener that data subjects reach (design D18).
type PublicConfig struct {
	Listen         string `toml:"listen"`        // host:port; a TLS proxy stands before it unless cert is set
	URL            string `toml:"url"`           // https base that stands in List-Unsubscribe
	MailtoDomain   string `toml:"mailto_domain"` // domain of u+TOKEN@, delivered to a polled mailbox
	Cert           string `toml:"cert"`          // PEM files for TLS of its own
	Key            string `toml:"key"`
	FormPerClient  int    `toml:"form_per_client"`  // requests and status links of one client address in an hour; default 20
	FormPerMailbox int    `toml:"form_per_mailbox"` // forms of a day that lead to mail to the address typed; default 3
	FormTotal      int    `toml:"form_total"`       // requests by the form in an hour; default 500
	BrokenLinks    int    `toml:"broken_links"`     // links that lead nowhere one client may try in an hour; default 60

	TrustProxy bool   `toml:"trust_proxy"` // rate limits take the client from X-Forwarded-For
	PolicyURL  string `toml:"policy_url"`  // told in refusals, for people who read bounces
}

// OperatorConfig is the console, health and metrics.
type OperatorConfig struct {
	Listen      string   `toml:"listen"`       // default 127.0.0.1:8026
	URL         string   `toml:"url"`          // where operators reach the console; https: cookies for it alone
	SessionIdle Duration `toml:"session_idle"` // an unused session ends; default 30m
	SessionMax  Duration `toml:"session_max"`  // any session ends; default 12h
	TrustProxy  bool     `toml:"trust_proxy"`  // limits take the client from X-Forwarded-For

	CorrectionTexts bool `toml:"correction_texts"` // corrections of labels are exported with the words of the mail
	APIPerMinute    int  `toml:"api_per_minute"`   // requests of one API token; default 600

	WebhookNetworks []string `toml:"webhook_networks"` // inner networks in which programs may have events told, beside the public Internet

	OIDC OIDCConfig `toml:"oidc"`
}

// LimitsConfig bounds what clients may take.
type LimitsConfig struct {
	MaxMessage          int64    `toml:"max_message"`            // octets; default 26214400
	MaxRecipients       int      `toml:"max_recipients"`         // per message; default 1000
	MaxConnections      int      `toml:"max_connections"`        // default 1500
	MaxConnectionsPerIP int      `toml:"max_connections_per_ip"` // default 200
	Memory              int64    `toml:"memory"`                 // octets of messages being received at once; default 67108864
	IdleTimeout         Duration `toml:"idle_timeout"`           // default 5m (RFC 5321 4.5.3.2.7)
	MessagesPerMinute   int      `toml:"messages_per_minute"`    // per client; 0: no limit
	RecipientsPerMinute int      `toml:"recipients_per_minute"`  // per client; 0: no limit
}

// SpoolConfig bounds the spool.
type SpoolConfig struct {
	MaxBytes    int64 `toml:"max_bytes"`    // default 10 GiB
	MaxMessages int64 `toml:"max_messages"` // default 1000000
	Encrypt     bool  `toml:"encrypt"`      // at rest, with a key derived from the vault key
}

// DeliveryConfig is when to try again (SMTP-10).
type DeliveryConfig struct {
	FirstRetry Duration `toml:"first_retry"` // default 30m
	MaxRetry   Duration `toml:"max_retry"`   // default 2h
	Expire     Duration `toml:"expire"`      // default 120h
	Workers    int      `toml:"workers"`     // default 20
}

// ControllerConfig is one company (GDPR Art. 4(7)).
type ControllerConfig struct {
	ID         string   `toml:"id"`
	Name       string   `toml:"name"`
	Postal     string   `toml:"postal"`
	Contact    string   `toml:"contact"`
	PrivacyURL string   `toml:"privacy_url"`
	PublicURL  string   `toml:"public_url"` // https base of its own pages and links; default public.url
	Authority  string   `toml:"authority"`
	Country    string   `toml:"country"`
	Language   string   `toml:"language"`
	TimeZone   string   `toml:"time_zone"`
	Domains    []string `toml:"domains"`
	Operators  []string `toml:"operators"`  // get reminders and alarms by mail
	ReplyPath  string   `toml:"reply_path"` // reverse-path of answers, a polled mailbox; default contact
	Holidays   []string `toml:"holidays"`   // further days off, as 2026-12-24

	HandlingConfig
}

// StreamConfig is one flow of mail with one purpose (design D1).
type StreamConfig struct {
	Name        string   `toml:"name"`
	Number      uint16   `toml:"number"` // permanent: tokens carry it
	Kind        string   `toml:"kind"`   // marketing, transactional, service, personal
	Controller  string   `toml:"controller"`
	Purpose     string   `toml:"purpose"`
	ListID      string   `toml:"list_id"`
	Title       string   `toml:"title"`
	FromDomains []string `toml:"from_domains"`
	Sign        string   `toml:"sign"`        // "", dkim, smarthost
	Mode        string   `toml:"mode"`        // observe, annotate, enforce; default observe
	Mixed       string   `toml:"mixed"`       // dsn (default) or refuse
	Bounce      string   `toml:"bounce"`      // keep (default) or verp
	Unsubscribe string   `toml:"unsubscribe"` // the client's own List-Unsubscribe: replace (default) or keep
	Signed      string   `toml:"signed"`      // a signature already there: resign (default) or refuse
	StoreDown   string   `toml:"store_down"`  // transactional with the store away: pass (default) or defer
	FeedbackID  string   `toml:"feedback_id"`
	Advisory    string   `toml:"advisory"` // undeclared marketing: count (default), header, refuse
	Language    string   `toml:"language"`
	Expire      Duration `toml:"expire"`
	Retired     bool     `toml:"retired"`
}

// ListenerConfig is one SMTP or LMTP listener (design D18, D21).
type ListenerConfig struct {
	Name        string         `toml:"name"`
	Address     string         `toml:"address"`  // host:port, or a path for a unix socket
	Protocol    string         `toml:"protocol"` // smtp (default) or lmtp
	TLS         string         `toml:"tls"`      // none (default), starttls, implicit
	Cert        string         `toml:"cert"`
	Key         string         `toml:"key"`
	RequireAuth bool           `toml:"require_auth"`
	Proxy       []string       `toml:"proxy"`    // networks that speak the PROXY protocol
	XForward    []string       `toml:"xforward"` // networks whose XFORWARD is believed
	XClient     []string       `toml:"xclient"`  // networks whose XCLIENT is believed
	Clients     []ClientConfig `toml:"client"`
}

// GrantConfig is what a client or account may do.
type GrantConfig struct {
	Streams     []string `toml:"streams"`
	Default     string   `toml:"default"`
	FromDomains []string `toml:"from_domains"`

	MaxConnections      int   `toml:"max_connections"`       // at once; 0: no limit of its own
	MaxRecipients       int   `toml:"max_recipients"`        // per message; 0: that of [limits]
	MaxMessage          int64 `toml:"max_message"`           // octets; 0: that of [limits]
	MessagesPerMinute   int   `toml:"messages_per_minute"`   // 0: that of [limits]
	RecipientsPerMinute int   `toml:"recipients_per_minute"` // 0: that of [limits]
}

// ClientConfig grants relaying to networks without log-in. On a unix socket
// networks stay empty.
type ClientConfig struct {
	Name     string   `toml:"name"`
	Networks []string `toml:"networks"`
	GrantConfig
}

// AccountConfig grants relaying after AUTH inside TLS.
type AccountConfig struct {
	Name string `toml:"name"`
	Hash string `toml:"hash"` // argon2id, as `postern account hash` prints it
	GrantConfig
}

// SmarthostConfig is one next hop (design D19).
type SmarthostConfig struct {
	Name           string  `toml:"name"`
	Address        string  `toml:"address"`
	Priority       int     `toml:"priority"` // lower is asked first
	TLS            string  `toml:"tls"`      // none, opportunistic (default), required
	CA             string  `toml:"ca"`       // PEM file of the pinned CA
	ServerName     string  `toml:"server_name"`
	User           string  `toml:"user"`
	Password       Secret  `toml:"password"`
	MaxConnections int     `toml:"max_connections"` // default 20
	PerSecond      float64 `toml:"per_second"`      // transactions; 0: no limit
}

// MailboxConfig is one polled mailbox (standards section 12).
type MailboxConfig struct {
	Name         string   `toml:"name"`
	Controller   string   `toml:"controller"`
	Address      string   `toml:"address"` // host:port
	TLS          string   `toml:"tls"`     // implicit (default), starttls, none
	CA           string   `toml:"ca"`
	User         string   `toml:"user"`
	Password     Secret   `toml:"password"`
	Folders      []string `toml:"folders"`   // default INBOX and that for junk
	Done         string   `toml:"done"`      // default "Postern"
	Addresses    []string `toml:"addresses"` // the mailbox's own addresses
	AuthServID   string   `toml:"authserv_id"`
	ARCSealers   []string `toml:"arc_sealers"`  // domains that forward to us and whose ARC seal is believed (RFC 8617)
	PollEvery    Duration `toml:"poll_every"`   // default 1m
	Confidential bool     `toml:"confidential"` // DPO, HR, whistleblowing: no text in any notice
	Role         string   `toml:"role"`         // who may see its cases; default "confidential" where it is

	OAuth OAuthConfig `toml:"oauth"` // in place of a password
}

// OAuthConfig logs in with access tokens that are renewed before they end
// (RFC 6749, IM-11). Without a refresh token the client's own credentials ask.
type OAuthConfig struct {
	TokenURL     string `toml:"token_url"` // https
	ClientID     string `toml:"client_id"`
	ClientSecret Secret `toml:"client_secret"`
	RefreshToken Secret `toml:"refresh_token"` // where it is a file, a new token replaces it there
	Scope        string `toml:"scope"`
	Mechanism    string `toml:"mechanism"` // xoauth2 or oauthbearer; default what the server offers
}

// DKIMConfig is one signing key (AUTHN-1).
type DKIMConfig struct {
	Domain   string `toml:"domain"`
	Selector string `toml:"selector"`
	Key      string `toml:"key"` // PEM file: RSA 2048 or Ed25519
}

// Duration is a time.Duration written as "90s", "5m", "120h".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads, and whole days as "7d".
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	var days int
	if n, err := fmt.Sscanf(s, "%dd", &days); n == 1 && err == nil && s == fmt.Sprintf("%dd", days) {
		*d = Duration(time.Duration(days) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: write 90s, 5m, 12h or 7d", s)
	}
	*d = Duration(v)
	return nil
}

// Secret says where a secret is kept: "file:PATH" or "env:NAME". It never
// prints what it found.
type Secret string

// String hides the secret.
func (s Secret) String() string { return "[redacted]" }

// GoString hides the secret.
func (s Secret) GoString() string { return "[redacted]" }

// Read fetches the secret; "" where none is configured.
func (s Secret) Read() (string, error) {
	kind, where, _ := strings.Cut(string(s), ":")
	switch {
	case s == "":
		return "", nil
	case kind == "file" && where != "":
		b, err := os.ReadFile(where)
		if err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	case kind == "env" && where != "":
		v, ok := os.LookupEnv(where)
		if !ok {
			return "", fmt.Errorf("secret: the environment variable %s is not set", where)
		}
		return v, nil
	}
	return "", fmt.Errorf("a secret does not stand in the file: write file:PATH or env:NAME")
}

// defaults fills what the file left out.
func (c *Config) defaults() {
	set(&c.Keys, filepath.Join(c.Data, "keys.toml"))
	set(&c.Log.Level, "info")
	set(&c.Log.Format, "text")
	set(&c.Redis.Timeout, Duration(2*time.Second))
	set(&c.Operator.Listen, "127.0.0.1:8026")
	set(&c.Operator.SessionIdle, Duration(30*time.Minute))
	set(&c.Operator.SessionMax, Duration(12*time.Hour))
	set(&c.Operator.APIPerMinute, 600)
	set(&c.Limits.MaxMessage, 25<<20)
	set(&c.Limits.MaxRecipients, 1000)
	set(&c.Limits.MaxConnections, 1500)
	set(&c.Limits.Memory, 64<<20)
	set(&c.Limits.MaxConnectionsPerIP, 200)
	set(&c.Limits.IdleTimeout, Duration(5*time.Minute))
	set(&c.Spool.MaxBytes, 10<<30)
	set(&c.Spool.MaxMessages, 1_000_000)
	set(&c.Delivery.FirstRetry, Duration(30*time.Minute))
	set(&c.Delivery.MaxRetry, Duration(2*time.Hour))
	set(&c.Delivery.Expire, Duration(120*time.Hour))
	set(&c.Delivery.Workers, 20)
	c.casesDefaults()
	c.ledgerDefaults()
	set(&c.Public.FormPerClient, 20)
	set(&c.Public.FormPerMailbox, 3)
	set(&c.Public.FormTotal, 500)
	set(&c.Public.BrokenLinks, 60)
	if u, err := url.Parse(c.Public.URL); err == nil {
		set(&c.Public.MailtoDomain, u.Hostname())
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		set(&s.Mode, string(stream.Observe))
		set(&s.Mixed, "dsn")
		set(&s.Bounce, "keep")
		set(&s.Unsubscribe, "replace")
		set(&s.Signed, "resign")
		set(&s.StoreDown, "pass")
		set(&s.Advisory, "count")
	}
	for i := range c.Controllers {
		set(&c.Controllers[i].Language, "en")
		set(&c.Controllers[i].TimeZone, "UTC")
	}
	for i := range c.Listeners {
		set(&c.Listeners[i].Protocol, "smtp")
		set(&c.Listeners[i].TLS, "none")
	}
	for i := range c.Smarthosts {
		set(&c.Smarthosts[i].TLS, "opportunistic")
		set(&c.Smarthosts[i].MaxConnections, 20)
		set(&c.Smarthosts[i].Name, c.Smarthosts[i].Address)
	}
	for i := range c.Mailboxes {
		m := &c.Mailboxes[i]
		set(&m.TLS, "implicit")
		set(&m.Done, "Postern")
		set(&m.PollEvery, Duration(time.Minute))
		if len(m.Folders) == 0 {
			m.Folders = []string{"INBOX", intake.JunkFolder}
		}
	}
}

// set gives *v the default def where it is still zero.
func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// publicURL is the base of a controller's pages and mailed links.
func (c *Config) publicURL(controller string) string {
	for _, k := range c.Controllers {
		if k.ID == controller && k.PublicURL != "" {
			return strings.TrimRight(k.PublicURL, "/")
		}
	}
	return c.Public.URL
}

// streamSet builds the immutable table that the rooms share.
func (c *Config) streamSet() (*stream.Set, error) {
	controllers := make([]stream.Controller, len(c.Controllers))
	for i, k := range c.Controllers {
		controllers[i] = stream.Controller{
			ID: k.ID, Name: k.Name, Postal: k.Postal, Contact: k.Contact, PrivacyURL: k.PrivacyURL,
			Authority: k.Authority, Country: k.Country, Language: k.Language, TimeZone: k.TimeZone, Domains: k.Domains,
			PublicURL: strings.TrimRight(k.PublicURL, "/"),
		}
	}
	streams := make([]stream.Stream, len(c.Streams))
	for i, s := range c.Streams {
		streams[i] = stream.Stream{
			Name: s.Name, Number: s.Number, Kind: stream.Kind(s.Kind), Controller: s.Controller,
			Purpose: s.Purpose, ListID: s.ListID, Title: s.Title, FromDomains: s.FromDomains,
			Sign: s.Sign, Mode: stream.Mode(s.Mode), Mixed: s.Mixed, Bounce: s.Bounce,
			Unsubscribe: s.Unsubscribe, Signed: s.Signed, StoreDown: s.StoreDown,
			FeedbackID: s.FeedbackID, Advisory: s.Advisory, Language: s.Language,
			Expire: time.Duration(s.Expire), Retired: s.Retired,
		}
	}
	return stream.NewSet(controllers, streams)
}

// String is the duration as time.Duration writes it.
func (d Duration) String() string { return time.Duration(d).String() }
