package delivery

import (
	"context"

	"postern/gateway/address"
	"postern/gateway/spool"
)

// Copy is one SMTP transaction to the next hop: the same bytes for all its
// recipients. Body may alias the message's body; neither slice is changed.
type Copy struct {
	Recipients  []int // indexes into Message.Recipients
	ReversePath address.Address
	Header      []byte // with all fields and signatures, without the empty line
	Body        []byte
	UTF8        bool
	EightBit    bool
}

// Refusal says that a recipient may not be sent to now.
type Refusal struct {
	Recipient int
	Reason    string // the gateway's verdict reason
	Status    string // enhanced status code, class 4 or 5
	Defer     bool   // true: ask again later (store unavailable), false: denied for good
}

// Preparer is asked right before every attempt: it gives the verdict again and
// builds what leaves (design D5, D6). It is called concurrently. An error
// defers all of due.
type Preparer interface {
	Prepare(ctx context.Context, m *spool.Message, due []int) ([]Copy, []Refusal, error)
}

// Request is one message to be prepared for its due recipients.
type Request struct {
	Message *spool.Message
	Due     []int
}

// Prepared is what Prepare gave for one Request.
type Prepared struct {
	Copies   []Copy
	Refusals []Refusal
	Err      error
}

// BatchPreparer is a Preparer that answers for several messages at once, in
// their order, which spares round trips to the consent store.
type BatchPreparer interface {
	PrepareAll(ctx context.Context, reqs []Request) []Prepared
}

// prepare asks for several messages.
func (d *Deliverer) prepare(ctx context.Context, reqs []Request) []Prepared {
	if b, ok := d.prep.(BatchPreparer); ok && len(reqs) > 1 {
		return b.PrepareAll(ctx, reqs)
	}
	out := make([]Prepared, len(reqs))
	for i, r := range reqs {
		out[i].Copies, out[i].Refusals, out[i].Err = d.prep.Prepare(ctx, r.Message, r.Due)
	}
	return out
}
