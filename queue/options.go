package queue

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/classifier"
	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/stream"
)

// Optout binds an opt-out; *consent.Registry is one. Suppress is idempotent
// on the suppression's ID.
type Optout interface {
	Suppress(ctx context.Context, s consent.Suppression) (string, error)
}

// ManyOptouts is an Optout that binds several opt-outs in one go, faster than
// one by one; *consent.Registry is one. SuppressAll gives their ids in order.
type ManyOptouts interface {
	SuppressAll(ctx context.Context, list []consent.Suppression) ([]string, error)
}

// Releaser ends an opt-out that an operator found wrong; *consent.Registry is
// one. RevertOptOuts needs an Optout that is one too.
type Releaser interface {
	Release(ctx context.Context, r consent.Release) error
}

// Exchanger puts a lasting opt-out in the place of one that waits for an
// erasure; *consent.Registry is one. Without it the waiting one stays.
type Exchanger interface {
	Exchange(ctx context.Context, old string, s consent.Suppression) (string, error)
}

// Outgoing is one mail of a case on its way to the relay's spool.
type Outgoing = gateway.Outgoing

// Sender puts a mail into the relay's spool, durable when it returns; the
// spool id is returned.
type Sender interface {
	Submit(ctx context.Context, m Outgoing) (string, error)
}

// Trail keeps proof; *ledger.Ledger is one. Append is idempotent on the
// record's ID.
type Trail interface {
	Append(ctx context.Context, records ...ledger.Record) error
}

// Deps are the rooms below that a Queue calls.
type Deps struct {
	Optout  Optout
	Sender  Sender
	Trail   Trail
	Streams func() *stream.Set                                             // the streams as configured now
	Tokens  func(text string) (address.SubjectID, uint16, error)           // opens an unsubscribe token: subject and stream number
	Mailed  func(context.Context, string, address.SubjectID) (bool, error) // was this subject ever mailed for the controller; nil: unknown, taken as no
	// UndoLink makes a link by which a person takes back one opt-out until ends,
	// "" if it can't; nil: the notice asks for an answer by mail.
	UndoLink func(controller string, subject address.SubjectID, suppressionID string, ends time.Time) string
	Notify   func(context.Context, Notice) error // tells operators; nil: the log alone
	// Remove takes a file out of a mail where it lies and leaves a note in its
	// place. planned is told the hash of what will lie there before it does.
	// Errors wrap ErrByHand where a person has to, ErrUnknown where the mail is
	// gone; nil: a person always has to.
	Remove func(ctx context.Context, in Incoming, file int, note string, planned func(hash string) error) (hash string, err error)
	// Person names the human behind an actor, the same for all names one person
	// has, "" where no person is: for acts that take two. nil: each name is one.
	Person func(ctx context.Context, actor string) (string, error)
}

// Notice is something an operator has to know.
type Notice struct {
	Kind       string // "half", "three-quarters", "three-days", "overdue", "alert", "dead", "optout-flood"
	Case       string // case number, "" where it concerns none
	Controller string
	Due        time.Time
	Reason     string // closed word
	Owner      string // of the case
	Deputy     string // who stands in while the owner is away
}

// Options of a Queue. VaultKeys and Keyring are needed, all else has a default.
type Options struct {
	VaultKey     []byte               // 32 bytes: wraps the key of each case
	OldVaultKeys [][]byte             // former ones, newest first; they only open
	Keyring      *address.Keyring     // subject ids
	AckStream    map[string]string    // controller id → name of the service stream its replies leave under; without one no reply is sent
	VaultDir     string               // folder of sealed files, shared by all nodes; "": systems may give 1 MiB a case
	Operators    map[string][]string  // controller id → addresses that get reminders and alarms by mail
	Processors   map[string]Processor // controller id → for whom the gateway only passes requests on
	Connections  []Connection         // the company's own systems
	Handling     map[string]Handling  // controller id → how its requests are handled
	Customers    []Customer           // companies whose processor a controller is
	LegalHolds   []LegalHold          // cases in which nothing may be deleted
	Hooks        []Hook               // told of case events and notices
	// Subscribed gives further hooks that come and go while the queue runs; it
	// is asked at every event. nil: none.
	Subscribed func(context.Context) ([]Hook, error)
	Roles      map[string]string // mailbox name → role that may see its cases; none: every operator
	TextDir    string            // files that override reply texts; "": none

	// TextOverride gives a text as operators edited it, in force now; nil: none
	// is edited. An empty subject keeps that of the catalogue.
	TextOverride func(language, step string) (subject, text string, ok bool)

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default slog.Default

	Node     string        // name of this process among the workers; default host name and pid
	Workers  int           // concurrent jobs; default 2
	Tick     time.Duration // how often clocks and retries are looked at; default 1 s
	Lease    time.Duration // work of a silent worker is taken over after this; default 1 min
	Attempts int           // tries before work goes to the dead letters; default 12
	Backoff  time.Duration // before the second try, doubled each time up to an hour; default 1 s

	QuietFor      time.Duration // between receipts to one sender in old cases; default 7 days (AR-4)
	NoticeEvery   time.Duration // between opt-out notices to one subject; default 30 days (design D13)
	AcksPerSender int           // receipts to one sender in a day; default 3 (AR-4)
	AcksPerHour   int           // receipts in an hour overall; default 200

	ReplyPath map[string]string // controller id → the address whose mailbox gets bounces of answers, as "case@example.org"; "": its contact
	LinkBase  map[string]string // controller id → base URL of the pages behind one-time links, as "https://mail.example.org/case/"

	SendHold      time.Duration               // a letter may be taken back this long; default 30 s
	ProofWithin   time.Duration               // for the person to confirm by the one-time link; default 30 days
	PauseIdentity map[string]bool             // controller id → the clock stands still while proof is awaited (DSR-6); default off
	AutoRefuse    bool                        // refuse by rule who did not confirm in time; default: an operator is told
	Policy        map[classifier.Label]Policy // what a label may do by itself; default as design D13
	Holidays      map[string][]string         // controller id → further days off, as "2026-12-24"

	FloodCount  int           // opt-outs of one source within FloodWindow that ring the alarm; default 50
	FloodWindow time.Duration // default 1 hour

	Metrics prometheus.Registerer // nil: none

	DownloadFor time.Duration // how long a package may be fetched; default 14 days
	TaskDue     time.Duration // for a colleague to answer; default 7 days
	StatusFor   time.Duration // how long a link to the page of a case works; default 7 days
	LiftNotice  time.Duration // before its end a person is told that a restriction ends, in whole days; default 7 days

	KeepCases time.Duration // an ended case is deleted this long after it ended; default 3 years (ST-1)
	KeepFiles time.Duration // files of an ended case; default 90 days (ST-1)
	KeepAside time.Duration // mail that became no case; default 90 days

	Volatile bool // Redis may forget: no WAITAOF (demo only)
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "node"
		}
		o.Node = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	o.Workers = orInt(o.Workers, 2)
	o.Tick = orTime(o.Tick, time.Second)
	o.Lease = orTime(o.Lease, time.Minute)
	o.Attempts = orInt(o.Attempts, 12)
	o.Backoff = orTime(o.Backoff, time.Second)
	o.QuietFor = orTime(o.QuietFor, 7*24*time.Hour)
	o.NoticeEvery = orTime(o.NoticeEvery, 30*24*time.Hour)
	o.AcksPerSender = orInt(o.AcksPerSender, 3)
	o.AcksPerHour = orInt(o.AcksPerHour, 200)
	o.FloodCount = orInt(o.FloodCount, 50)
	o.FloodWindow = orTime(o.FloodWindow, time.Hour)
	o.KeepCases = orTime(o.KeepCases, 3*366*24*time.Hour)
	o.KeepFiles = orTime(o.KeepFiles, 90*24*time.Hour)
	o.KeepAside = orTime(o.KeepAside, 90*24*time.Hour)
	o.DownloadFor = orTime(o.DownloadFor, 14*24*time.Hour)
	o.TaskDue = orTime(o.TaskDue, 7*24*time.Hour)
	o.StatusFor = orTime(o.StatusFor, 7*24*time.Hour)
	o.LiftNotice = orTime(o.LiftNotice, 7*24*time.Hour)
	o.SendHold = orTime(o.SendHold, 30*time.Second)
	o.ProofWithin = orTime(o.ProofWithin, 30*24*time.Hour)
	return o
}

func orInt(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}

func orTime(v, def time.Duration) time.Duration {
	if v <= 0 {
		return def
	}
	return v
}
