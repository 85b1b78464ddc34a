package portal

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/throttle"
	"postern/queue"
)

// Cases is what the pages do with cases. *queue.Queue is one.
type Cases interface {
	LinkKind(ctx context.Context, token string) (string, error)

	Challenged(ctx context.Context, token string) (queue.Question, error)
	Confirm(ctx context.Context, token string, yes bool) error

	SendStatusLink(ctx context.Context, number string, typed address.Address) error
	Status(ctx context.Context, token string) (queue.Status, error)
	AddMessage(ctx context.Context, token, words string) error
	Withdraw(ctx context.Context, token string) error

	OpenPackage(ctx context.Context, token string) (queue.PackageFacts, error)
	FetchPackage(ctx context.Context, token, code string) (queue.Download, error)

	TaskByToken(ctx context.Context, token string) (queue.TaskView, error)
	AnswerTask(ctx context.Context, token string, a queue.TaskAnswer) error

	OpenByForm(ctx context.Context, f queue.FormRequest) (queue.Ref, error)

	Notice(controller, lang string) (queue.ProcessingNotice, bool)
	NoticeParts(n queue.ProcessingNotice) (title string, parts []queue.NoticePart, err error)
	NoticeVersions(ctx context.Context, controller string) ([]queue.PublishedNotice, error)
}

var _ Cases = (*queue.Queue)(nil)

// Reader reads what a text asks. *classifier.Classifier is one.
type Reader interface {
	Classify(in classifier.Input) classifier.Result
}

// Options of the pages. The zero value works.
type Options struct {
	// BasePath stands before every path where a proxy serves the pages below
	// one, as in "/mail". Default "".
	BasePath string
	// Timeout bounds the work for one answer, uploads and downloads apart.
	// Default 8 s.
	Timeout time.Duration
	// PerClient is how many requests and status links one client address
	// (IPv6: /64) may ask for in an hour. Default 20.
	PerClient int
	// PerMailbox is how many forms of a day lead to mail to the address typed.
	// What comes beyond is kept as a case without mail. Default 3.
	PerMailbox int
	// Total is how many requests are taken by the form in an hour. Default 500.
	Total int
	// Broken is how many links that lead nowhere one client may try in an
	// hour. Default 60.
	Broken int
	// Uploads is how many colleagues may send files at once; each takes up to
	// 33 MiB of memory. Default 4.
	Uploads int
	// Limits counts for all nodes together. Where it fails nothing is done.
	// Default: each process counts by itself.
	Limits throttle.Taker
	// EvenTime is the least time of an answer that must not tell whether an
	// address is known. Default 400 ms.
	EvenTime time.Duration
	// TrustProxy takes the client's address from X-Forwarded-For. Default: no.
	TrustProxy bool
	// Metrics takes the counters. Default: none.
	Metrics prometheus.Registerer
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log takes what an operator must know. Default: discarded.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.BasePath = strings.TrimRight(o.BasePath, "/")
	if o.Timeout <= 0 {
		o.Timeout = 8 * time.Second
	}
	if o.EvenTime <= 0 {
		o.EvenTime = 400 * time.Millisecond
	}
	for _, n := range []struct {
		value *int
		def   int
	}{{&o.PerClient, 20}, {&o.PerMailbox, 3}, {&o.Total, 500}, {&o.Broken, 60}, {&o.Uploads, 4}} {
		if *n.value <= 0 {
			*n.value = n.def
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
