package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/reply"
)

// FormRequest is a request typed at the public page. Nothing proves who typed
// it.
type FormRequest struct {
	Controller string
	Address    address.Address
	Right      classifier.Label // what was chosen, "" for something else
	Asker      string           // "subject", "agent", "company" or "authority"
	Text       string
	Language   string            // of the page
	Result     classifier.Result // what the classifier reads in Text; zero where there is none
	Quiet      bool              // no mail to the address: it had enough of them today
}

// provable are the labels that need proof of who asks: what they lead to would
// harm the person if somebody else asked (GDPR Art. 12(6)).
var provable = []classifier.Label{classifier.Access, classifier.Rectification, classifier.Erasure, classifier.Restriction, classifier.Portability, classifier.AutomatedDecision}

// stopping are the ways to say stop: they bind at once and need no proof.
var stopping = []classifier.Label{classifier.Objection, classifier.WithdrawConsent, classifier.Unsubscribe, classifier.OptOutSale}

// OpenByForm makes a case of a request typed at the public page, by the path a
// mail takes: opt-outs in it bind at once. The address is asked whether it was
// its owner (Challenge), or gets the receipt where there is nothing to prove.
// The same request again is the same case while that is live. A mail that
// can't leave is no error: the request is kept and an operator sees it.
func (q *Queue) OpenByForm(ctx context.Context, f FormRequest) (Ref, error) {
	if _, ok := q.d.Streams().Controller(f.Controller); !ok {
		return Ref{}, fmt.Errorf("open case by form: controller %q is not configured", f.Controller)
	}
	if f.Address.IsZero() {
		return Ref{}, errors.New("open case by form: there is no address to answer to")
	}
	in, challenge := q.formMail(f)
	key := sha(strings.Join([]string{"form", f.Controller, f.Address.Wide(), string(f.Right), f.Asker, strings.Join(strings.Fields(f.Text), " ")}, "\x00"))
	ref, c, err := q.openOnce(ctx, in, key)
	if err != nil || !challenge || f.Quiet {
		return ref, err
	}
	// Whoever said "that was not me" is not asked again.
	if !slices.Contains(c.Flags, FlagNotMe) && !slices.Contains(c.Flags, FlagIdentified) && (c.State == Received || c.State == Identity) {
		if err := q.Challenge(ctx, ref.Number, f.Address, "rule"); err != nil {
			q.o.Log.Warn("who typed a request could not be asked whether it was them", "case", ref.Number, "err", err)
		}
	}
	return ref, nil
}

// formMail is a typed request as a mail, and whether its address is to be asked.
func (q *Queue) formMail(f FormRequest) (Incoming, bool) {
	res := f.Result
	res.Kind, res.Asker = classifier.KindRequest, f.Asker
	if f.Language != "" {
		res.Language = f.Language
	}
	if f.Right != "" {
		res.Abstain = false
		if !res.Has(f.Right) {
			res.Decided = append([]classifier.Label{f.Right}, res.Decided...)
		}
	}
	res.Abstain = res.Abstain || len(res.Decided) == 0
	in := Incoming{
		Controller: f.Controller, Mailbox: ByHandMailbox, Received: q.o.Now(), From: f.Address, ReturnPath: f.Address.Plain(), Text: f.Text,
		Grade: Unknown, GradeWhy: "by form", NoReplyWhy: "by-form", Result: res,
	}
	_, processor := q.rules().Processors[f.Controller]
	_, never := reply.May(reply.Asked{MayReply: true, ReturnPath: in.ReturnPath, From: f.Address, OwnDomains: q.ownDomains()})
	mayWrite := never == "" && !processor && !alerting(in) && f.Asker != "authority" && q.rules().AckStream[f.Controller] != ""
	has := func(set []classifier.Label) bool {
		return slices.ContainsFunc(res.Decided, func(l classifier.Label) bool { return slices.Contains(set, l) })
	}
	challenge := mayWrite && f.Asker == "subject" && (len(res.Decided) == 0 || has(provable)) && q.rules().LinkBase[f.Controller] != ""
	in.MayReply = mayWrite && !f.Quiet && (!challenge || has(stopping))
	return in, challenge
}

// openOnce opens a case under a key, or gives the live one that has it.
func (q *Queue) openOnce(ctx context.Context, in Incoming, key string) (Ref, *Case, error) {
	for n := range 200 { // each round is a former case of the same words that has ended
		in.Folder = "form/" + key + "/" + strconv.Itoa(n)
		in.ContentHash = sha("form\x00" + in.Folder)
		ref, err := q.Open(ctx, in)
		if err != nil {
			return Ref{}, nil, err
		}
		no := ref.Number
		if !ref.New {
			if no, err = q.living(ctx, no, in.Controller); err != nil {
				return Ref{}, nil, err
			}
		}
		if no == "" {
			continue
		}
		c, _, _, err := q.load(ctx, no)
		if err != nil {
			return Ref{}, nil, err
		}
		if ref.New || c.State.Live() {
			return Ref{no, ref.New}, c, nil
		}
	}
	return Ref{}, nil, errors.New("open case by form: the same request was made too often")
}
